"""One WebSocket: its state and the two halves over it. The class that handlers use is in `kui/websockets/`."""

from __future__ import annotations

from collections.abc import Callable

from baize.typing import Message, Receive, Send

from .receiving import ReceivingHalf
from .sending import LINGER, SendingHalf
from .states import CONNECTING, Incoming, WebSocketState

__all__ = ["Socket"]


class Socket:
    """The state of one WebSocket, its receiving half and its sending half.

    If `state.children` is None, no pump can be started: only the handler reads, and a send learns of a disconnect only
    if the server's `send` raises.

    :param server_gives_up: True if the server limits the time of each `send` itself, and raises an OSError after it.
    """

    __slots__ = ("receiving", "sending", "state")

    def __init__(self, receive: Receive, send: Send, *, server_gives_up: bool = False) -> None:
        self.state = state = WebSocketState()
        self.receiving = receiving = ReceivingHalf(state, receive)
        self.sending = SendingHalf(state, send, receiving, server_gives_up)
        state.tell = (receiving.end_comes, self.sending.end_comes)

    async def accept(self, message: Message) -> None:
        """Receive the handshake, unless it was received before, and accept it. Raises as `SendingHalf.accept`."""
        if self.state.incoming is Incoming.HANDSHAKE and self.state.outgoing is CONNECTING:
            await self.receiving.connect()
        await self.sending.accept(message)
        self.receiving.open()

    def terminate(self, code: int, reason: str) -> None:
        """Close from outside of the handler, without waiting. The handler gets WebSocketDisconnect.

        A connection that is not open yet is closed when it is accepted. A send that waits is given up after 1 s.
        """
        if self.state.outgoing is CONNECTING:
            self.state.planned = (code, reason)
        else:
            self.state.close(code, reason)
        self.sending.hasten()

    async def finish(self) -> None:
        """Wait until the client has gone, or has sent nothing for 1 s. What it sends is discarded.

        This must be done before the application returns, because servers wait for ever if their queue is full then.
        """
        await self.receiving.drain(LINGER)

    def watch(self, call: Callable[[], object]) -> None:
        """Call `call()` once the connection is over. See `ReceivingHalf.watch`."""
        self.receiving.watch(call)

    def unwatch(self, call: Callable[[], object]) -> None:
        """Remove a callback of `watch`. Does nothing if it was called already."""
        self.state.unlisten(call)
