"""The receiving half of a WebSocket: it alone calls the server's `receive`, and queues messages for the handler.

The reader is the handler itself, or a task that queues what arrives (the pump). The state that this half shares with
the sending half is defined in `states`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeAlias

import anyio
import anyio.lowlevel
from baize.typing import Message, Receive

from kui.concurrency.children import this_task
from kui.concurrency.loops import GRID, clock

from .message_queue import MessageQueue
from .states import (
    Incoming,
    SocketEvent,
    SocketReader,
    WebSocketState,
    how_it_ended,
)

__all__ = ["UNREAD_FOR", "Kind", "ReceivingHalf"]

Kind: TypeAlias = Literal["", "text", "bytes"]

UNREAD_FOR: Final = 10.0
"""Seconds without a `receive` after which a handler that sends, while the queue is full, has its socket closed."""


# As in `states`: Python 3.11 finds a name faster than a member.
_BARRED: Final = SocketReader.BARRED
_NEW: Final = SocketReader.NEW
_UNHEARD: Final = SocketReader.UNHEARD
_HANDLER: Final = SocketReader.HANDLER
_HANDLER_ONCE: Final = SocketReader.HANDLER_ONCE
_PUMP: Final = SocketReader.PUMP
_IDLE: Final = (None, _UNHEARD, _NEW)
_MESSAGES: Final = Incoming.MESSAGES
_HANDSHAKE: Final = Incoming.HANDSHAKE


class ReceivingHalf:
    """Receives the messages of one WebSocket.

    A handler that receives awaits the server's own `receive`. While it does not receive and a disconnect must be seen,
    a task reads: the pump. The pump reads until the queue is full or the handler receives again. It is never cancelled
    while the connection is open, because some servers lose a message when their `receive` is cancelled.
    """

    __slots__ = (
        "_clock",
        "_last_receive",
        "_news",
        "_prepared",
        "_pumped_at",
        "_queue",
        "_receive",
        "_state",
        "_waiting",
        "discarded",
        "filter",
    )
    _queue: MessageQueue
    _clock: Callable[[], float]
    _last_receive: float

    def __init__(self, state: WebSocketState, receive: Receive) -> None:
        self.filter: Callable[[Message], bool] | None = None
        """Called with each message that the pump reads. If it returns True, the handler does not get the message."""
        self.discarded = 0
        """The number of messages that were discarded."""
        self._state = state
        self._receive = receive
        self._waiting: anyio.Event | None = None  # wakes the handler that waits for the pump
        # Wakes `drain`: a message was discarded, or none follows.
        self._news: anyio.Event | None = None
        self._prepared = False

    @property
    def full(self) -> bool:
        """True if the queue is full; a disconnect cannot be detected until the handler receives."""
        return self._prepared and self._queue.full

    # The handshake and the end.

    async def connect(self) -> Message:
        """Receive `websocket.connect`, the first message of each connection, unless it was received before.

        :raises WebSocketDisconnect: the client has gone already.
        """
        state = self._state
        while state.incoming is _HANDSHAKE:
            if self._state.reader is _PUMP:
                await self._wait(None)
                continue
            self._state.reader = _HANDLER
            try:
                self._note(await self._receive())
            finally:
                self._settle()
        if state.ending is not None:
            raise state.disconnect()
        return {"type": "websocket.connect"}

    def open(self) -> None:
        """Allow the handler to receive, because the handshake was accepted."""
        self._clock = clock()
        self._pumped_at = self._clock()
        if self._state.reader is _BARRED:
            self._state.reader = _NEW

    def end_comes(self) -> None:
        """Record that the connection is over: the handler gets the queued messages and nothing else.

        What the client still sends is read and discarded.
        """
        if self._state.reader is _HANDLER:
            self._state.reader = _HANDLER_ONCE
        elif self._state.reader in _IDLE:
            self._state.reader = _BARRED
        self._wake()
        if self._state.incoming is Incoming.UNWANTED:
            # To see a disconnect, so that the close frame does not wait for a client that has gone.
            self.start()

    async def drain(self, seconds: float) -> None:
        """Discard messages, after the end, until the client has gone or has sent nothing for `seconds`."""
        self._prepare()
        self._queue.clear()
        self.start()
        while self._state.incoming is not Incoming.ENDED:
            before = self.discarded
            self._news = anyio.Event()
            with anyio.move_on_after(seconds):
                await self._news.wait()
            if self.discarded == before:
                break

    # Noticing the end.

    def look(self) -> bool:
        """Start the pump because the handler sends again without receiving; return True if there is a reader.

        The pump is started at most four times a second, because the handler may be about to receive.
        """
        if self._state.reader in _IDLE and self._clock() < self._pumped_at + GRID:
            return False
        return self.start()

    def start(self) -> bool:
        """Start the pump unless there is a reader; return True if there is a reader now."""
        state = self._state
        if state.reader is _HANDLER:
            state.reader = _HANDLER_ONCE
        if state.reader is _HANDLER_ONCE or state.reader is _PUMP:
            return True
        if state.children is None:
            return False
        self._prepare()
        self._pumped_at = self._clock()
        if state.reader is None or state.reader is _UNHEARD:
            self._last_receive = self._pumped_at  # the handler may have received a little earlier
        state.reader = _PUMP
        state.children.start(self._pump)
        return True

    def watch(self, call: Callable[[], object]) -> None:
        """Call `call()` once the connection is over; at once if it is over already.

        What the client sends meanwhile is queued. While the queue is full, a disconnect cannot be detected.
        """
        self._state.listen(call)
        if self._state.ending is None:
            self.start()

    # The handler.

    async def receive(self, kind: Kind = "", ends: bool = False) -> Any:
        """Return the next message. If cancelled, no message is lost.

        :param kind: `"text"` or `"bytes"` returns that part of the message, and closes the connection with 1003 if the
            message has none. `""` returns the ASGI message.
        :param ends: if True, raise StopAsyncIteration in place of WebSocketDisconnect.
        :raises WebSocketDisconnect: the connection is over, and all messages that came before were received.
        :raises RuntimeError: the connection was not accepted, was closed by this task, or another task is receiving.
        :raises Exception: what the server's `receive` has raised.
        """
        state = self._state
        if state.reader is not _UNHEARD and state.reader is not None:
            return await self._receive_kept(kind, ends)
        state.reader = _HANDLER
        try:
            message = await self._receive()
        except BaseException:
            self._settle()
            raise
        if state.reader is _HANDLER:
            state.reader = None
            data = message.get(kind)
            if data is not None:
                return data
        self._note(message)
        self._settle()
        if state.ending is not None:
            raise self._over(ends)
        return self._unpack(message, kind, ends)

    async def _receive_kept(self, kind: Kind, ends: bool) -> Any:
        """Receive if a message may be queued, if the pump reads, or if the handler may not receive."""
        if self._state.reader is _NEW:
            self._state.reader = None
            return await self.receive(kind, ends)
        state = self._state
        if state.ending is None and state.incoming is not _MESSAGES:
            raise state.refusal("receive", False)
        if state.ending is not None and state.closer is this_task():
            raise self._over(ends)
        if (
            self._waiting is not None
            or self._state.reader is _HANDLER
            or self._state.reader is _HANDLER_ONCE
        ):
            raise RuntimeError(
                "another task is receiving already: let one receive, and hand on what others need"
            )
        self._prepare()
        self._last_receive = self._clock()
        if self._queue:
            await self._wait(anyio.lowlevel.checkpoint)
        while not self._queue:
            if state.ending is not None:
                raise self._over(ends)
            if self._state.reader is not _PUMP:
                self._state.reader = None
                return await self.receive(kind, ends)
            await self._wait(None)
        self._last_receive = self._clock()
        message = self._queue.take()
        if self._state.reader is _BARRED and not self._queue:
            self._settle()
        return self._unpack(message, kind, ends)

    async def _wait(self, wait: Callable[[], Awaitable[None]] | None) -> None:
        """Await `wait()`, or the next message of the pump if it is None. Meanwhile no other task may receive."""
        self._waiting = anyio.Event()
        try:
            await (self._waiting.wait if wait is None else wait)()
        finally:
            self._waiting = None

    def _unpack(self, message: Message, kind: Kind, ends: bool) -> Any:
        if not kind:
            return message
        data = message.get(kind)
        if data is None:
            wanted = "text" if kind == "text" else "binary"
            self._state.close(1003, f"a {wanted} message was expected")
            raise self._over(ends)
        return data

    def _over(self, ends: bool) -> Exception:
        state = self._state
        if ends and state.failure is None:
            return StopAsyncIteration()
        return state.refusal("receive", state.closer is not None and state.closer is this_task())

    def _note(self, message: Message) -> bool:
        """Record an event of the connection; return False if `message` is a message of the client."""
        kind = message["type"]
        if kind == "websocket.receive":
            return False
        if kind == "websocket.connect":
            self._state.happens(SocketEvent.CONNECT)
        else:
            self._state.leave(*how_it_ended(message))
        return True

    def _settle(self) -> None:
        """Record that the reader has stopped, and start the pump if the end must still be noticed."""
        self._wake()
        self._state.reader = None if self._state.incoming is _MESSAGES else _BARRED
        if self._state.is_watched:
            self.start()

    # The pump.

    def _prepare(self) -> None:
        """Create what only a connection with a pump needs."""
        if not self._prepared:
            self._prepared = True
            self._queue = MessageQueue()
            self._clock = clock()  # there may have been no handshake yet
            self._last_receive = -math.inf

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.set()
        if self._news is not None:
            self._news.set()

    async def _pump(self) -> None:
        state = self._state
        try:
            while state.incoming is not Incoming.ENDED:
                message = await self._receive()
                if self._note(message):
                    pass
                elif self.filter is not None and self.filter(message):
                    pass
                elif state.ending is not None or not await self._find_room():
                    self.discarded += 1
                else:
                    self._queue.put(message)
                    if self._waiting is not None and not state.is_watched:
                        break
                self._wake()
        except Exception as error:
            state.failure = error
            state.leave(1006)
        finally:
            self._state.reader = _BARRED
            state.look_again()
            self._wake()

    async def _find_room(self) -> bool:
        """Wait until the queue has room, and return True; return False if the connection is over.

        A handler that has only sent for 10 s, and not received, has its connection closed with 1008.
        """
        state = self._state
        if self._queue.full:
            state.look_again()
        while self._queue.full:
            if state.ending is not None:
                return False
            sends = state.has_sent or state.held_back
            if sends and self._clock() - self._last_receive >= UNREAD_FOR:
                state.close(1008, "too many messages that are not read")
                return False
            await self._queue.room(GRID)
        return True
