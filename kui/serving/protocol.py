"""What every connection says of itself to the app, and how HTTP/2 begins: shared by HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["ASGI", "EXTENSIONS", "PREFACE", "TOO_MANY"]

ASGI: Final = {"version": "3.0", "spec_version": "2.5"}
EXTENSIONS: Final[dict[str, dict[str, Any]]] = {
    "http.response.early_hint": {},
    "http.response.trailers": {},
}

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins with that knows without being told that the server speaks HTTP/2 (RFC 9113, 3.4)."""

TOO_MANY: Final = "there are too many connections"
"""What a request is told that is turned away because of `ConnectionLimits.connections`."""
