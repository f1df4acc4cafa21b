"""The description of an app (OpenAPI 3.1 and 3.2), made of what its handlers declare, and the page that shows it."""

from .application import OpenAPI
from .marks import Responses, operation

__all__ = ["OpenAPI", "Responses", "operation"]
