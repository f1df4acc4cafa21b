"""`TemplateResponse`: render a page with the template engine of the current application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import HttpResponse
from .context import current_app

__all__ = ["TemplateResponse"]


def TemplateResponse(
    name: str,
    context: Mapping[str, Any] | None = None,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str | None = None,
    charset: str | None = None,
) -> HttpResponse:
    """Return `app.templates.TemplateResponse(...)` of the current application.

    The parameters are those of `kui.asgi.BaseTemplates.TemplateResponse`. If an engine takes other parameters, call
    `engine.TemplateResponse(...)`.

    :raises RuntimeError: there is no request, or the application has no templates.
    :raises Exception: what the engine raises, such as jinja2.TemplateNotFound.

    Example: `return TemplateResponse("item.html", {"item": item})`.
    """
    app = current_app()
    if app is None:
        raise RuntimeError("TemplateResponse is for handlers; here, use the engine itself")
    if app.templates is None:
        raise RuntimeError('this needs templates: Kui(templates=Jinja2Templates("templates"))')
    response: HttpResponse = app.templates.TemplateResponse(
        name, context, status_code, headers, media_type, charset
    )
    return response
