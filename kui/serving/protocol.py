"""The parts of a scope that are the same for each connection, and the preface of HTTP/2."""

from __future__ import annotations

from typing import Any, Final

from kui.concurrency.http.send_limit import SERVER_GIVES_UP

__all__ = ["ASGI", "EXTENSIONS", "PREFACE", "SOCKET_EXTENSIONS", "TOO_MANY"]

ASGI: Final = {"version": "3.0", "spec_version": "2.5"}
EXTENSIONS: Final[dict[str, dict[str, Any]]] = {
    "http.response.early_hint": {},
    "http.response.trailers": {},
    SERVER_GIVES_UP: {},
}
SOCKET_EXTENSIONS: Final[dict[str, dict[str, Any]]] = {
    "websocket.http.response": {},
    SERVER_GIVES_UP: {},
}

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of an HTTP/2 connection (RFC 9113, section 3.4)."""

TOO_MANY: Final = "there are too many connections"
"""The reason in the response to a request on a connection beyond `ConnectionLimits.connections`."""
