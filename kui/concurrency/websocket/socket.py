"""One WebSocket: its state, and the two halves over it. What a handler sees of it is in `kui/websockets/`."""

from __future__ import annotations

from collections.abc import Callable

from baize.typing import Message, Receive, Send

from .receiving import ReceivingHalf
from .sending import LINGER, SendingHalf
from .states import CONNECTING, Incoming, WebSocketState

__all__ = ["Socket"]


class Socket:
    """The state of one WebSocket, its receiving half and its sending half.

    Without `state.children` the handler alone reads, and a send learns of a client that has gone only from servers that
    say so.
    """

    __slots__ = ("receiving", "sending", "state")

    def __init__(self, receive: Receive, send: Send) -> None:
        self.state = state = WebSocketState()
        self.receiving = receiving = ReceivingHalf(state, receive)
        self.sending = SendingHalf(state, send, receiving)
        state.tell = (receiving.end_comes, self.sending.end_comes)

    async def accept(self, message: Message) -> None:
        """Receive the handshake, unless that was done, and accept it. Raises as `SendingHalf.accept`."""
        if self.state.incoming is Incoming.HANDSHAKE and self.state.outgoing is CONNECTING:
            await self.receiving.connect()
        await self.sending.accept(message)
        self.receiving.open()

    def terminate(self, code: int, reason: str) -> None:
        """Close from outside of the handler, at once and without waiting; it gets WebSocketDisconnect.

        A connection that is not open yet is closed when it is accepted. A send that waits has 1 s.
        """
        if self.state.outgoing is CONNECTING:
            self.state.planned = (code, reason)
        else:
            self.state.close(code, reason)
        self.sending.hasten()

    async def finish(self) -> None:
        """Let the client confirm that this side has closed; discard what it has still sent.

        Servers wait for ever for room in their queue when an application returns while it is full. So a client
        that keeps sending is read from until the end, and one that is silent for a second is not.
        """
        await self.receiving.drain(LINGER)

    def watch(self, call: Callable[[], object]) -> None:
        """Call `call()` once the connection is over: see `ReceivingHalf.watch`."""
        self.receiving.watch(call)

    def unwatch(self, call: Callable[[], object]) -> None:
        """Take back `watch`; nothing happens if it has been called already."""
        self.state.unlisten(call)
