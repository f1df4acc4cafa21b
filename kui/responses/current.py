"""The application that a response is made for, where there is one: its converters, its encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kui.connections import HTTPConnection, request_var, websocket_var

if TYPE_CHECKING:
    from kui.applications import Kui

__all__ = ["current_app"]


def current_app() -> Kui | None:
    """The application of the current request or WebSocket; None outside of both."""
    connection: HTTPConnection | None = request_var.get(None)
    if connection is None:
        connection = websocket_var.get(None)
    return None if connection is None else connection.get("app")
