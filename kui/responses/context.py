"""The application and the handler of the current request, as far as responses need them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from kui.connections import HTTPConnection, request_var, websocket_var
from kui.http.urls import route_path

__all__ = ["current_app", "current_handler"]


class Converting(Protocol):
    """What the responses use of an application."""

    @property
    def json_encoder(self) -> Mapping[type, Callable[[Any], Any]]:
        """Functions that make something JSON can hold of what it cannot."""

    @property
    def response_converter(self) -> Any:
        """The `ResponseConverter`, which is defined above this module."""

    @property
    def templates(self) -> Any:
        """The template engine, a `BaseTemplates`, which is defined above this module; or None."""

    @property
    def router(self) -> Any:
        """The `RouteTable`, which is defined above this module."""


def current_app() -> Converting | None:
    """Return the Kui app of the current request or WebSocket; None outside of both, or in an app of another framework."""
    connection: HTTPConnection | None = request_var.get(None) or websocket_var.get(None)
    app: Converting | None = None if connection is None else connection.get("app")
    # Other frameworks put an app of theirs there.
    return None if getattr(app, "response_converter", None) is None else app


def current_handler() -> str:
    """Return the name of the handler of the current request for an error, and whether middlewares are around it."""
    app = current_app()
    request = request_var.get(None)
    if app is None or request is None:
        return "the handler"
    routes = app.router.http_routes
    route = routes.route(route_path(request.scope), request.method)
    if route is None:
        return "a middleware"
    name = f"the handler {route.handler.name_for(request.method)}"
    around = (*app.router.http_middlewares, *route.middlewares)
    return f"{name}, or a middleware around it," if around else name
