"""Find the application and the handler of the current request, for responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from kui.connections import HTTPConnection, request_var, websocket_var

__all__ = ["current_app", "current_handler"]


class Converting(Protocol):
    """The part of an application that responses use."""

    @property
    def json_encoder(self) -> Mapping[type, Callable[[Any], Any]]:
        """Functions, by type, that make a value that JSON has of one that it has not."""

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
    """Return the Kui app of the current request or WebSocket.

    Return None if there is neither, or if the app is one of another framework.
    """
    connection: HTTPConnection | None = request_var.get(None)
    if connection is None:  # `or` would compute the length of this mapping
        connection = websocket_var.get(None)
    app: Converting | None = None if connection is None else connection.scope.get("app")
    # Other frameworks put their own app there.
    return None if getattr(app, "response_converter", None) is None else app


def current_handler() -> str:
    """Return the name of the current request's handler for an error message, which also mentions its middlewares."""
    app = current_app()
    request = request_var.get(None)
    if app is None or request is None:
        return "the handler"
    route = request.scope.get("route")
    if route is None:
        return "a middleware"
    name = f"the handler {route.handler.name_for(request.method)}"
    around = (*app.router.http_middlewares, *route.middlewares)
    return f"{name}, or a middleware around it," if around else name
