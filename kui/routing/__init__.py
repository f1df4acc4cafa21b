"""Find the endpoint of a path: path converters, the lookup tree, routes as values, the router."""

from __future__ import annotations

from .around import Middleware, Middlewares, decorate
from .groups import MultimethodRoutes, Routes
from .router import NoSuchRoute, RouteTable
from .routes import HttpRoute, SocketRoute

__all__ = [
    "HttpRoute",
    "Middleware",
    "Middlewares",
    "MultimethodRoutes",
    "NoSuchRoute",
    "RouteTable",
    "Routes",
    "SocketRoute",
    "decorate",
]
