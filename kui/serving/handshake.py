"""What a WebSocket needs of the version of HTTP that it was asked for in: `upgrade` has that of HTTP/1.1,
`http2_websocket` that of HTTP/2.
"""

from __future__ import annotations

from typing import Protocol

from baize.typing import Message

from .responses import Headers

__all__ = ["Handshake"]


class Handshake(Protocol):
    """How the answer to a request for a WebSocket is written."""

    async def accept(self, headers: Headers) -> None:
        """Switch to frames. Raises OSError as `Pipe.write`."""

    async def respond(self, message: Message) -> bool:
        """Write a message of a response instead, an `http.response` one; True if that was the last.

        :raises Misuse: it may not be sent now, or is wrong.
        :raises OSError: as `Pipe.write`.
        """
