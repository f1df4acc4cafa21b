"""From a path to an endpoint: path converters, the lookup tree, routes as values, the router."""

from __future__ import annotations

from .router import NoSuchRoute, Router
from .routes import HttpRoute, SocketRoute

__all__ = ["HttpRoute", "NoSuchRoute", "Router", "SocketRoute"]
