"""Templates: the engines with which `TemplateResponse` renders pages.

Jinja is imported when the first `Jinja2Templates` is made.
"""

from .engines import BaseTemplates, Jinja2Templates

__all__ = ["BaseTemplates", "Jinja2Templates"]
