"""Describe an app (OpenAPI 3.1 and 3.2) by the declarations of its handlers, and show the description on a page."""

from .application import OpenAPI
from .marks import Responses, operation

__all__ = ["OpenAPI", "Responses", "operation"]
