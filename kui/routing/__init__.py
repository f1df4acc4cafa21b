"""From a path to an endpoint: path converters, the lookup tree, routes as values, the router."""

from __future__ import annotations

from .groups import MultimethodRoutes, Routes
from .methods import Middleware, decorate
from .modules import FileRoutes
from .router import NoSuchRoute, Router
from .routes import HttpRoute, SocketRoute

__all__ = [
    "FileRoutes",
    "HttpRoute",
    "Middleware",
    "MultimethodRoutes",
    "NoSuchRoute",
    "Router",
    "Routes",
    "SocketRoute",
    "decorate",
]
