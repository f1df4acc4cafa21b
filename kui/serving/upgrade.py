"""The handshake of a WebSocket over HTTP/1.1 (RFC 6455, section 4.2)."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from baize.typing import Message

from .http1_request import Request
from .http1_response import STATUS_LINES, Http1Response
from .pipes import Pipe
from .responses import Headers, Phase
from .timing import Ticker

__all__ = ["Upgrade", "subprotocols", "wrong_handshake"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def wrong_handshake(headers: Headers) -> tuple[int, str] | None:
    """Return the status and the reason with which a handshake must be refused; None if it is correct."""
    fields = dict(headers)
    if fields.get(b"sec-websocket-version", b"").strip() != b"13":
        return 426, "WebSockets of version 13 are served"
    try:
        key = base64.b64decode(fields.get(b"sec-websocket-key", b"").strip(), validate=True)
    except ValueError:
        key = b""
    return None if len(key) == 16 else (400, "Sec-WebSocket-Key is 16 bytes in base64")


def _accept_key(headers: Headers) -> bytes:
    key = dict(headers)[b"sec-websocket-key"].strip()
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def subprotocols(headers: Headers) -> list[str]:
    """Return the subprotocols that the client offers, in the client's order."""
    values = b",".join(value for name, value in headers if name == b"sec-websocket-protocol")
    return [part.strip() for part in values.decode("latin-1").split(",") if part.strip()]


class Upgrade:
    """The `Handshake` over HTTP/1.1."""

    __slots__ = ("_pipe", "_request", "_response", "_ticker")

    def __init__(self, pipe: Pipe, request: Request, ticker: Ticker) -> None:
        self._pipe = pipe
        self._request = request
        self._response = Http1Response(request, keep_alive=False)
        self._ticker = ticker

    async def accept(self, headers: Headers) -> None:
        """See `Handshake`."""
        lines = [
            STATUS_LINES[101] + b"upgrade: websocket",
            b"connection: Upgrade",
            b"sec-websocket-accept: " + _accept_key(self._request.headers),
            b"date: " + self._ticker.date,
            *[b"%b: %b" % header for header in headers],
        ]
        await self._pipe.write(b"\r\n".join(lines) + b"\r\n\r\n")

    async def respond(self, message: Message) -> bool:
        """See `Handshake`."""
        parts = self._response.send(message, self._ticker.date)
        if parts:
            await self._pipe.write(*parts)
        return self._response.phase is Phase.DONE
