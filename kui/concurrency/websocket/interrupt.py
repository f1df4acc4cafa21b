"""A server's `send` that can be given up when the client has gone.

hypercorn's send waits for ever for the flow control of an HTTP/2 connection that is closed. Where that may be, each send
has a scope of its own, which costs some microseconds.
"""

from __future__ import annotations

import anyio
from baize.typing import Message, Send

__all__ = ["Interrupted", "InterruptibleSend"]


class Interrupted(OSError):
    """It is unknown if the message was sent: the client has gone, or is too slow."""


class InterruptibleSend:
    """ASGI's `send`, several at once.

    ::

        send = InterruptibleSend(send)
        await send(message)  # raises Interrupted when send.interrupt() is called
    """

    __slots__ = ("_scopes", "_send")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._scopes: set[anyio.CancelScope] = set()

    async def __call__(self, message: Message) -> None:
        """Send a message.

        :raises Interrupted: `interrupt` was called meanwhile.
        """
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await self._send(message)
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            raise Interrupted("the client has gone, or does not read")

    def interrupt(self) -> None:
        """Cancel every send that is under way; later ones are not affected."""
        for scope in list(self._scopes):
            scope.cancel()
