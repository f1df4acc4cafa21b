"""One WebSocket's states: its handshake, what it sends, how it ends. The `SocketReader` owns its `receive`.

What servers do differently ends here: how they tell that the client has gone, or that they do not, and that their own
`send` waits for ever beside a full queue. What a handler sees of it is in `kui/websockets/`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import anyio
import anyio.lowlevel
from baize.typing import Message, Receive, Send

from kui.concurrency.children import Children, this_task
from kui.concurrency.cleanup import GRACE
from kui.concurrency.http.exchange import disconnect_errors
from kui.concurrency.loops import GRID

from .interrupt import InterruptibleSend
from .socket_reader import SocketReader
from .socket_states import (
    CLOSED,
    CLOSING,
    CONNECTING,
    DENYING,
    OPEN,
    SocketState,
    WebSocketDisconnect,
    how_it_ended,
)

__all__ = ["LINGER", "Socket"]

CREDIT: Final = 256
"""Messages that may be sent without a checkpoint."""
LINGER: Final = 1.0
"""Seconds of silence for which the client's answer to a close is waited for."""


class Socket:
    """The states of one WebSocket.

    Some time after a send, if the handler is not receiving, the reader's pump begins to read, so that the next send learns of
    the end of the connection, and one that is under way is not held back by the server's full queue.

    `children` is where such tasks are started. Without it the handler alone reads, and a send learns of a client
    that has gone only from servers that say so.
    """

    __slots__ = (
        "_closer",
        "_credit",
        "_has_sent",
        "_interruptible",
        "_leaving",
        "_send",
        "_sending",
        "_watched",
        "_watchers",
        "accepted",
        "children",
        "connected",
        "over",
        "peer_gone",
        "reader",
        "state",
    )

    def __init__(self, receive: Receive, send: Send) -> None:
        self.state: SocketState = CONNECTING
        self.over: tuple[int, str] | None = None
        """The close code and reason, as soon as the connection is over for the handler."""
        self.connected = False
        """True once `websocket.connect` has been received."""
        self.accepted = False
        """True once the handshake has been accepted, whatever has happened since."""
        self.peer_gone = False
        """True once `websocket.disconnect` has been received, or nothing more can arrive."""
        self.children: Children | None = None
        self.reader = SocketReader(self, receive)
        self._send = send
        self._interruptible: InterruptibleSend | None = None
        self._sending: Awaitable[None] | None = None  # the last send that was begun
        self._credit = 0  # how many more messages may be sent without a thought
        self._watched = False  # True if a send learns of the end
        self._has_sent = False
        self._closer: object = None  # the task that called close()
        self._leaving: tuple[int, str] | None = None  # what to close with as soon as it is open
        self._watchers: list[Callable[[], object]] | None = None

    # ---- the handshake

    async def connect(self) -> Message:
        """Receive `websocket.connect`, the first message of every connection, unless that was done.

        :raises WebSocketDisconnect: the client has gone already.
        """
        if not self.connected:
            await self.reader.connect()
            if not self.connected:
                raise self.disconnect()
        return {"type": "websocket.connect"}

    async def accept(self, message: Message) -> None:
        """Send `websocket.accept`.

        :raises RuntimeError: it was accepted or refused before.
        :raises WebSocketDisconnect: the client has gone.
        """
        if self.state is not CONNECTING:
            raise self.refusal("accept()")
        if not self.connected:
            await self.connect()
        self.state = OPEN
        self.accepted = True
        self.reader.open()
        try:
            await self._send(message)
        except disconnect_errors() as error:
            raise await self._lost() from error
        except Exception:
            self.peer_gone = True  # the server has not taken it, and takes nothing else
            self._end(CLOSED, 1006, "")
            raise
        if self._leaving is not None:
            self.leave(*self._leaving)

    async def deny(self, message: Message) -> None:
        """Send a message of the `websocket.http.response` extension, in its order.

        :raises RuntimeError: it was accepted or refused before.
        """
        if self.state not in (CONNECTING, DENYING):
            raise self.refusal("a response")
        self.state = DENYING
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.state = CLOSED
        try:
            await self._send(message)
        except disconnect_errors():
            self.peer_gone = True

    # ---- messages

    async def send(self, kind: Literal["text", "bytes"], data: str | bytes) -> None:
        """Send one whole message; several tasks may send at once.

        :raises WebSocketDisconnect: the connection is over.
        :raises RuntimeError: it was not accepted, or was closed by this task.
        """
        if self._credit:
            self._credit -= 1
        else:
            await self._earn_credit()
        sending = self._sending = self._send({"type": "websocket.send", kind: data})
        try:
            await sending
        except disconnect_errors() as error:
            raise await self._lost() from error

    async def _earn_credit(self) -> None:
        """Have a later send learn of the end; let other tasks run between many sends."""
        if self.state is not OPEN:
            raise self.refusal("send")
        self._has_sent = True
        if not self._watched:
            self._watched = True
            if self.children is not None:
                self.children.later(GRID, self._look)
        else:
            # hypercorn's send is no checkpoint once the client has gone.
            await anyio.lowlevel.checkpoint()
            if self.over is not None:
                raise self.refusal("send")
        self._credit = CREDIT

    def _look(self) -> None:
        """Some time after a send, start the reader if the handler does not receive."""
        if self.over is not None or self.children is None:
            return
        if not self.reader.handler_reads:
            self.reader.start()
        elif self._in_send:
            self.children.later(GRID, self._look)
        else:
            self.unheard()  # the next send sees to it again

    @property
    def _in_send(self) -> bool:
        # A server that holds a send back holds back all later ones: if the last has returned, all have.
        sending = self._sending
        return inspect.iscoroutine(sending) and inspect.getcoroutinestate(sending) != "CORO_CLOSED"

    @property
    def has_sent(self) -> bool:
        """True if the handler has sent since `unheard` was called, or is sending."""
        return self._has_sent or self._in_send

    def unheard(self) -> None:
        """Reading has stopped; the next `send()` restarts the reader."""
        self._credit = 0
        self._watched = self._has_sent = False

    def make_interruptible(self) -> None:
        """Let no send of this socket outlast its client."""
        if self._interruptible is None:
            self._send = self._interruptible = InterruptibleSend(self._send)

    def interrupt(self) -> None:
        """Give up the sends that are under way, where that is possible."""
        if self._interruptible is not None:
            self._interruptible.interrupt()

    async def _lost(self) -> WebSocketDisconnect:
        """Return what to raise when the server's send has said that the client has gone."""
        if self.over is None and self.children is not None:
            gone = anyio.Event()
            self.watch(gone.set)
            with anyio.move_on_after(LINGER):
                await gone.wait()  # which tells the code
        if self.over is None:
            self.peer_left({"code": 1006})
        return self.disconnect()

    # ---- the end

    async def close(self, code: int, reason: str, *, by_handler: bool = False) -> None:
        """Close the connection, or refuse the handshake (403), if neither has happened before.

        `by_handler`: its task has no business with the socket any more, and is told so if it goes on; otherwise
        any other user of the socket gets WebSocketDisconnect. Cancelled, it is closed all the same, but the client may not
        be told.
        """
        if self.state not in (OPEN, CONNECTING):
            return
        if by_handler:
            self._closer = this_task()
        if self.state is OPEN:
            self._end(CLOSING, code, reason)
            self.reader.start()  # so that the close frame does not wait for a client that has gone
        else:
            self.peer_gone = True
            self._end(CLOSED, code, reason)
        await self._send_close()

    def leave(self, code: int, reason: str) -> None:
        """Close from outside of the handler, at once and without waiting; it gets WebSocketDisconnect.

        A connection that is not open yet is closed when it is accepted.
        """
        if self.state is CONNECTING:
            self._leaving = (code, reason)
        elif self.state is OPEN:
            self._end(CLOSING, code, reason)
            if self.children is not None:
                self.children.start(self._say_close)

    async def finish(self) -> None:
        """Let the client confirm that the connection is closed; discard what it has still sent.

        Servers wait for ever for room in their queue when an application returns while it is full. So a client
        that keeps sending is read from until the end, and one that is silent for a second is not.
        """
        self._closer = None
        if self.children is not None and self.state is CLOSING:
            await self.reader.drain(LINGER)

    def peer_left(self, message: Message) -> None:
        """Take note of a `websocket.disconnect`."""
        self.peer_gone = True
        if self.over is None:
            self._end(CLOSED, *how_it_ended(message))
        self.state = CLOSED
        self.interrupt()

    def _end(self, state: SocketState, code: int, reason: str) -> None:
        self.state = state
        self.over = (code, reason)
        self._credit = 0
        self.reader.end()
        watchers, self._watchers = self._watchers, None
        for call in watchers or ():
            call()

    async def _send_close(self) -> None:
        code, reason = self.over or (1006, "")
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except disconnect_errors():
            self.peer_gone = True  # it was faster

    async def _say_close(self) -> None:
        with anyio.move_on_after(GRACE):
            await self._send_close()

    # ---- what others ask

    @property
    def closed_here(self) -> bool:
        """True if the running task has closed it."""
        return self._closer is not None and self._closer is this_task()

    def disconnect(self) -> WebSocketDisconnect:
        """Return the exception that says how the connection ended. To be raised once it is over."""
        return WebSocketDisconnect(*(self.over or (1006, "")))

    def refusal(self, what: str) -> Exception:
        """Return the exception for `what`, which cannot be done in this state."""
        if self.state is CONNECTING:
            return RuntimeError(f"{what} before accept: call `await websocket.accept()` first")
        if self.over is None:
            state = self.state.value
            return RuntimeError(f"{what} while the WebSocket is {state}: return from the handler")
        if self.closed_here:
            return RuntimeError(f"{what} after close: return from the handler, or close later")
        return self.reader.failure or self.disconnect()

    @property
    def is_watched(self) -> bool:
        """True if a caller of `watch` waits to be told of the end."""
        return bool(self._watchers)

    def watch(self, call: Callable[[], object]) -> None:
        """Call `call()` once the connection is over: at once if it is.

        What the client sends meanwhile is kept; while more than that is unread,
        nothing is known of the client.
        """
        if self.over is not None:
            call()
            return
        if self._watchers is None:
            self._watchers = []
        self._watchers.append(call)
        self.reader.alert = True
        self.reader.start()

    def unwatch(self, call: Callable[[], object]) -> None:
        """Take back `watch`; nothing happens if it has been called already."""
        if self._watchers and call in self._watchers:
            self._watchers.remove(call)
            self.reader.alert = bool(self._watchers)
