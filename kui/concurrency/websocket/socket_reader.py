"""The one reader of a WebSocket's `receive`: the handler itself, or a task that keeps what arrives.

Here is who reads, and what is kept for whom. What the state of the connection is, and when it ends, is decided in
`sockets.py`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import anyio
import anyio.lowlevel
from baize.typing import Message, Receive

from kui.concurrency.loops import GRID, clock

from .message_queue import MessageQueue
from .socket_states import OPEN

if TYPE_CHECKING:
    from .sockets import Socket

__all__ = ["UNREAD_FOR", "Kind", "SocketReader"]

Kind: TypeAlias = Literal["", "text", "bytes"]

UNREAD_FOR: Final = 10.0
"""Seconds after its last `receive` in which a handler may let more arrive than is kept, and send all the same."""


class _Reader(enum.Enum):
    """Who reads the server's `receive`; None in its place if the next caller may."""

    NOBODY = enum.auto()
    """Nothing may be read, or something kept comes first."""
    NOBODY_YET = enum.auto()
    """The next caller may read, and the handler has never received anything."""
    HANDLER = enum.auto()
    PUMP = enum.auto()


# As in `socket_states`: Python 3.11 finds a name faster than a member.
_NOBODY: Final = _Reader.NOBODY
_NOBODY_YET: Final = _Reader.NOBODY_YET
_HANDLER: Final = _Reader.HANDLER
_PUMP: Final = _Reader.PUMP


class SocketReader:
    """What comes in on one WebSocket.

    A handler that receives awaits the server's own `receive`. While it does not, and a disconnect must be seen,
    a task takes over: the pump. It reads until the queue is full, or the handler takes what it has read from its hands, and is
    never cancelled while the connection lives, for not every server survives that without losing a message.
    """

    __slots__ = (
        "_clock",
        "_last_receive",
        "_news",
        "_prepared",
        "_queue",
        "_reader",
        "_receive",
        "_socket",
        "_waiting",
        "alert",
        "discarded",
        "failure",
        "filter",
    )
    _queue: MessageQueue
    _clock: Callable[[], float]
    _last_receive: float

    def __init__(self, socket: Socket, receive: Receive) -> None:
        self.alert = False
        """True if a message that the handler receives from the server itself needs a closer look."""
        self.filter: Callable[[Message], bool] | None = None
        """Called with each message that the pump reads; the handler does not get those for which it returns True."""
        self.failure: Exception | None = None
        """What the server's `receive` has raised in the pump."""
        self.discarded = 0
        """How many messages were discarded."""
        self._socket = socket
        self._receive = receive
        self._reader: _Reader | None = _NOBODY
        self._waiting: anyio.Event | None = None  # set when the handler that waits must look again
        self._news: anyio.Event | None = (
            None  # set when the client has gone, or a message was discarded
        )
        self._prepared = False

    # ---- what the socket tells

    @property
    def handler_reads(self) -> bool:
        """True if the handler awaits the server's own `receive`."""
        return self._reader is _HANDLER

    @property
    def held_back(self) -> bool:
        """True if the pump waits for the handler to receive; a disconnect cannot be detected meanwhile."""
        return self._prepared and self._queue.full

    async def connect(self) -> None:
        """Receive `websocket.connect`, or wait until the pump has; or until the client has gone."""
        socket = self._socket
        while not socket.connected and socket.over is None:
            if self._reader is _PUMP:
                await self._wait(None)
                continue
            self._reader = _HANDLER
            try:
                self._note(await self._receive())
            finally:
                self._settle()

    def open(self) -> None:
        """Let the handler receive: the handshake has been accepted."""
        if self._reader is _NOBODY:
            self._reader = _NOBODY_YET

    def end(self) -> None:
        """Let the handler have what is kept, and nothing else: the connection is over."""
        self.alert = True
        if self._reader is None or self._reader is _NOBODY_YET:
            self._reader = _NOBODY
        self._wake()

    def start(self) -> None:
        """Let the pump read, unless a reader is active or there are no tasks to start it in."""
        children = self._socket.children
        if children is None or self._reader is _HANDLER or self._reader is _PUMP:
            return
        if self._reader is not _NOBODY:
            self._prepare()
            # It has received before, and perhaps just now; or never yet.
            self._last_receive = self._clock() if self._reader is None else -math.inf
        self._reader = _PUMP
        children.start(self._pump)

    async def drain(self, seconds: float) -> None:
        """After the end of the connection, discard messages until the client has gone or is silent for `seconds`."""
        self._prepare()
        self._queue.clear()
        self.start()
        while not self._socket.peer_gone:
            before = self.discarded
            self._news = anyio.Event()
            with anyio.move_on_after(seconds):
                await self._news.wait()
            if self.discarded == before:
                break

    # ---- the handler

    async def receive(self, kind: Kind = "", ends: bool = False) -> Any:
        """Return the next message: its text or its bytes, or all of it. Cancelled, it takes none.

        :param kind: what it must have; otherwise the connection is closed with 1003.
        :param ends: raise StopAsyncIteration when the connection is over.
        :raises WebSocketDisconnect: the connection is over, and all that came before was received.
        :raises RuntimeError: it was not accepted, was closed by this task, or another task is receiving.
        """
        if self._reader is not None:
            return await self._receive_kept(kind, ends)
        self._reader = _HANDLER
        try:
            message = await self._receive()
        except BaseException:
            self._settle()
            raise
        self._reader = None
        data = message.get(kind)
        if data is None or self.alert:
            return await self._received(message, kind, ends)
        return data

    async def _received(self, message: Message, kind: Kind, ends: bool) -> Any:
        """Turn a message from the server, unless it is plain, into what the caller asked for."""
        self._note(message)
        self._settle()
        if self._socket.over is not None:
            raise self._over(ends)
        return await self._unpack(message, kind, ends)

    async def _receive_kept(self, kind: Kind, ends: bool) -> Any:
        """Receive where the server's own `receive` will not do, or is not known to."""
        if self._reader is _NOBODY_YET:
            self._reader = None
            return await self.receive(kind, ends)
        socket = self._socket
        if socket.over is None and socket.state is not OPEN:
            raise socket.refusal("receive")
        if socket.over is not None and socket.closed_here:
            raise self._over(ends)
        if self._waiting is not None or self._reader is _HANDLER:
            raise RuntimeError(
                "another task is receiving already: let one receive, and hand on what others need"
            )
        self._prepare()
        self._last_receive = self._clock()
        if self._queue:
            await self._wait(anyio.lowlevel.checkpoint)
        while not self._queue:
            if socket.over is not None:
                raise self._over(ends)
            if self._reader is not _PUMP:
                self._reader = None
                return await self.receive(kind, ends)
            await self._wait(None)
        self._last_receive = self._clock()
        message = self._queue.take()
        if self._reader is _NOBODY and not self._queue:
            self._settle()
        return await self._unpack(message, kind, ends)

    async def _wait(self, wait: Callable[[], Awaitable[None]] | None) -> None:
        """Await `wait()`, or else the next message of the pump, as the only receiver."""
        self._waiting = anyio.Event()
        try:
            await (self._waiting.wait if wait is None else wait)()
        finally:
            self._waiting = None

    async def _unpack(self, message: Message, kind: Kind, ends: bool) -> Any:
        if not kind:
            return message
        data = message.get(kind)
        if data is None:
            wanted = "text" if kind == "text" else "binary"
            await self._socket.close(1003, f"a {wanted} message was expected")
            raise self._over(ends)
        return data

    def _over(self, ends: bool) -> Exception:
        if ends and self.failure is None:
            return StopAsyncIteration()
        return self._socket.refusal("receive")

    def _note(self, message: Message) -> bool:
        """Take note of an event of the connection; return False if it is a message of the client."""
        kind = message["type"]
        if kind == "websocket.receive":
            return False
        if kind == "websocket.connect":
            self._socket.connected = True
        else:
            self._socket.peer_left(message)
        return True

    def _settle(self) -> None:
        """Set which reader may be next after one has stopped, and start the pump if the connection is watched."""
        self._wake()
        free = self._socket.state is OPEN and self._socket.over is None
        self._reader = None if free else _NOBODY
        if self._socket.is_watched:
            self.start()

    # ---- the pump

    def _prepare(self) -> None:
        """Make what only a connection with a pump needs."""
        if not self._prepared:
            self._prepared = True
            self._queue = MessageQueue()
            self._clock = clock()
            self._last_receive = -math.inf

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.set()
        if self._news is not None:
            self._news.set()

    async def _pump(self) -> None:
        try:
            while not self._socket.peer_gone:
                message = await self._receive()
                if self._note(message):
                    pass
                elif self.filter is not None and self.filter(message):
                    pass
                elif self._socket.over is not None or not await self._find_room():
                    self.discarded += 1
                else:
                    self._queue.put(message)
                    if self._waiting is not None and not self._socket.is_watched:
                        break
                self._wake()
        except Exception as error:
            self.failure = error
            self._socket.peer_left({"code": 1006})
        finally:
            self._reader = _NOBODY
            self._socket.unheard()
            self._wake()

    async def _find_room(self) -> bool:
        """Wait until the message in hand can be kept; or close, if the handler does nothing but send."""
        socket = self._socket
        if self._queue.full:
            socket.unheard()
        while self._queue.full:
            if socket.over is not None:
                return False
            if socket.has_sent and self._clock() - self._last_receive >= UNREAD_FOR:
                socket.leave(1008, "too many messages that are not read")
                return False
            await self._queue.room(GRID)
        return True
