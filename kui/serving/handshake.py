"""The interface by which a WebSocket answers its handshake. `upgrade` implements it for HTTP/1.1, and
`http2_websocket` for HTTP/2.
"""

from __future__ import annotations

from typing import Protocol

from baize.typing import Message

from .responses import Headers

__all__ = ["Handshake"]


class Handshake(Protocol):
    """Writes the answer to the request that opens a WebSocket."""

    async def accept(self, headers: Headers) -> None:
        """Accept the WebSocket; frames follow.

        :raises OSError: as for `Pipe.write`.
        """

    async def respond(self, message: Message) -> bool:
        """Write an `http.response` message of a response that refuses; return True if it was the last.

        :raises Misuse: the message must not be sent now, or is wrong.
        :raises OSError: as for `Pipe.write`.
        """
