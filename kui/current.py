"""The current request, WebSocket and connection: context variables with their types, and proxies to their values.

A proxy reads, sets and deletes the attributes of the connection that is current where it is used. Its class is derived
from that of the connection, so that `help`, `dir` and editors show the attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, ClassVar, Final

from .connections import HTTPConnection
from .connections import request_var as _request_var
from .connections import websocket_var as _websocket_var
from .requests import HttpRequest
from .websockets.connection import WebSocket

__all__ = ["http_connection", "request", "request_var", "websocket", "websocket_var"]

request_var: Final[ContextVar[HttpRequest]] = _request_var
websocket_var: Final[ContextVar[WebSocket]] = _websocket_var
_get_request: Final = request_var.get
_get_websocket: Final = websocket_var.get


def _missing(kind: str) -> RuntimeError:
    return RuntimeError(
        f"there is no current {kind} here; use `{kind}` in a handler or in what it calls"
    )


class _Current:
    """A proxy of the current connection: it reads, sets and deletes the attributes of that connection."""

    __slots__ = ()
    find: ClassVar[Callable[[], HTTPConnection]]

    def __getattribute__(self, name: str) -> Any:
        try:
            found = type(self).find()
        except RuntimeError:
            if name[:2] == "__":  # tools read these attributes of any object
                return object.__getattribute__(self, name)
            raise
        return getattr(found, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(type(self).find(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(type(self).find(), name)

    def __getitem__(self, key: str) -> Any:
        return type(self).find()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(type(self).find())

    def __len__(self) -> int:
        return len(type(self).find())

    def __bool__(self) -> bool:
        """Return True if there is a current connection, for templates."""
        try:
            return bool(type(self).find())
        except RuntimeError:
            return False

    def __contains__(self, key: object) -> bool:
        return key in type(self).find()

    def __eq__(self, other: object) -> bool:
        kind = type(other)
        return type(self).find() is (kind.find() if issubclass(kind, _Current) else other)

    def __hash__(self) -> int:
        return hash(type(self).find())

    def __dir__(self) -> Iterable[str]:
        try:
            return dir(type(self).find())
        except RuntimeError:
            return object.__dir__(self)

    def __repr__(self) -> str:
        try:
            return repr(type(self).find())
        except RuntimeError:
            return "<no current connection>"


class _CurrentRequest(_Current, HttpRequest):
    """The request that is answered where this is used: an `HttpRequest`."""

    def __init__(self) -> None:
        """Set nothing: what is set goes to the current request."""

    @staticmethod
    def find() -> HttpRequest:
        try:
            return request_var.get()
        except LookupError:
            raise _missing("request") from None

    def __getattribute__(self, name: str) -> Any:
        """Do as the base class, but faster, because handlers read their request through it."""
        try:
            request = _get_request()
        except LookupError:
            return _Current.__getattribute__(self, name)
        return getattr(request, name)


class _CurrentWebSocket(_Current, WebSocket):
    """The connection that is served where this is used: a `WebSocket`."""

    def __init__(self) -> None:
        """Set nothing: what is set goes to the current connection."""

    @staticmethod
    def find() -> WebSocket:
        try:
            return websocket_var.get()
        except LookupError:
            raise _missing("websocket") from None

    def __getattribute__(self, name: str) -> Any:
        """Do as the base class, but faster."""
        try:
            websocket = _get_websocket()
        except LookupError:
            return _Current.__getattribute__(self, name)
        return getattr(websocket, name)


class _CurrentConnection(_Current, HTTPConnection):
    """The current request, or if there is none, the current WebSocket: an `HTTPConnection`."""

    def __init__(self) -> None:
        """Set nothing: what is set goes to the current connection."""

    @staticmethod
    def find() -> HTTPConnection:
        found: HTTPConnection | None = request_var.get(None)
        if found is None:
            found = websocket_var.get(None)
        if found is None:
            raise _missing("http_connection")
        return found


request: HttpRequest = _CurrentRequest()
websocket: WebSocket = _CurrentWebSocket()
http_connection: HTTPConnection = _CurrentConnection()
