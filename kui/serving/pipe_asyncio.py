"""The sockets of a server on asyncio and uvloop: accept, read, write, and a task for each request.

A connection that waits for its next request is a protocol without a task. Each request has a new task, because a task
that served several would carry a cancellation of one request into the next. `connection` decides what is read and
written; `pipes` defines the interface of a pipe.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Self

from .accepting import Accepting
from .burst import Burst
from .connection import Connection, Next
from .pipes import CHUNK, CREDIT, BytesLike, Turns, hung_up, peer_of
from .state import ServerState
from .tasks_asyncio import RequestTasks
from .timing import NEVER, Ticker
from .tls import secured

__all__ = ["AsyncioPipe", "Connections", "accept"]

_RESET: Final = struct.pack("ii", 1, 0)
# Their names as globals: up to CPython 3.11 a member of an Enum is slow to look up.
_WAIT, _SERVE, _END = Next
_AT_ONCE: Final = 16
"""How many connections are accepted without a checkpoint."""


class AsyncioPipe(asyncio.BufferedProtocol):
    """A `Pipe` that is the protocol of a transport.

    Bytes are written directly to the socket, and given to the transport only if the kernel does not take them at once.
    So when a write returns, the kernel has the bytes, as on trio. `on_change`, if it is not None, is called when bytes
    or the end have arrived and no task waits for them.

    :param stall: seconds that a write may make no progress; 0 for no limit.
    """

    __slots__ = (
        "_broken",
        "_burst",
        "_closed",
        "_drained",
        "_ended",
        "_loop",
        "_lost",
        "_outbox",
        "_pending",
        "_reading",
        "_sock",
        "_stall",
        "_stalls_at",
        "_ticker",
        "_transport",
        "_turns",
        "_unread",
        "_waiter",
        "_yielding",
        "client",
        "credit",
        "on_change",
        "protocol",
        "secure",
        "server",
    )
    _transport: asyncio.Transport

    def __init__(self, sock: socket.socket, ticker: Ticker, stall: float) -> None:
        self.client, self.server = peer_of(sock)
        self.protocol: str | None = None
        self.secure = False
        self.credit = CREDIT
        self.on_change: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._burst = Burst(sock)
        self._yielding = False
        self._sock = sock
        self._ticker = ticker
        self._stall = stall or NEVER
        self._stalls_at = NEVER
        self._pending = 0  # how many bytes waited in the transport when the deadline was set
        self._turns = Turns()
        self._outbox = b""
        self._unread = b""
        self._reading = True
        self._ended = False
        self._lost = False
        self._broken = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    # ---- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not an asyncio.Transport, but have all its methods.
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=0)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer[: CHUNK - len(self._unread)] if self._unread else _buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(_buffer[:nbytes])
        self._unread = self._unread + data if self._unread else data
        if len(self._unread) >= CHUNK:
            self._reading = False
            self._transport.pause_reading()
        if self.on_change is not None:
            self.on_change()
        else:
            self._changed()

    def eof_received(self) -> bool:
        self._ended = True
        self._changed()
        return True  # keeps the transport open for sending

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self.resume_writing()
        self._changed()

    def pause_writing(self) -> None:
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _changed(self) -> None:
        if self._waiter is not None:
            self.wake()
        elif self.on_change is not None:
            self.on_change()

    # ---- a pipe

    def take(self) -> bytes | None:
        """See `Pipe`."""
        if self._unread:
            data, self._unread = self._unread, b""
            if not self._reading and not self._lost:
                self._reading = True
                self._transport.resume_reading()
            self.credit -= 1
            return data
        if self._lost or self._closed:
            raise ConnectionResetError("the connection was lost")
        return b"" if self._ended else None

    async def wait(self) -> None:
        """See `Pipe`."""
        if self._outbox and not self._turns.taken:
            outbox, self._outbox = self._outbox, b""
            self._send(outbox)
        self.credit = CREDIT
        if self._unread or self._lost or self._ended:
            return
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """See `Pipe`."""
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif self.on_change is not None:
            self.on_change()

    async def yield_(self) -> None:
        """See `Pipe`."""
        self.credit = CREDIT
        self._yielding = True
        try:
            await asyncio.sleep(0)
        finally:
            self._yielding = False

    async def write(self, *parts: BytesLike, more: bool = False) -> None:
        """See `Pipe`."""
        if self.credit <= 0:
            await self.yield_()
        if self._turns.taken:
            await self._turns.wait()
            await self._write_in_turn(parts)
            return
        if self._outbox or self._drained is not None:
            await self._write_in_turn(parts)
            return
        flags = self._flag_of_more() if more else 0
        for index, part in enumerate(parts):
            self._send(part, flags)
            if self._drained is not None:
                await self._write_in_turn(parts[index + 1 :])
                return
        self.credit -= 1

    def _send(self, part: BytesLike, flags: int = 0) -> None:
        """Give bytes to the kernel, and the rest, if any, to the transport; `_drained` is not None then."""
        if self._broken:
            raise ConnectionAbortedError("an earlier message was not sent to its end")
        if self._closed or self._lost:
            raise ConnectionResetError("the connection was lost")
        try:
            sent = self._sock.send(part, flags)
        except BlockingIOError:
            sent = 0
        if sent < len(part):
            self._transport.write(memoryview(part)[sent:])

    def _flag_of_more(self) -> int:
        if self._burst.lasts:
            return self._burst.hold()
        self._burst.begin()
        self._loop.call_soon(self._end_burst)
        return 0

    def _end_burst(self) -> None:
        """End the burst, because the tasks that were running wait now (or only let others run)."""
        if self._yielding:
            self._loop.call_soon(self._end_burst)
        else:
            self._burst.end()

    async def _write_in_turn(self, parts: tuple[BytesLike, ...]) -> None:
        """Wait until the transport is empty, then send the outbox and the parts, one by one."""
        self._turns.take()
        self.credit = CREDIT
        try:
            try:
                await self._until_drained()
                await self._empty_outbox()
                for part in parts:
                    self._send(part)
                    await self._until_drained()
                await self._empty_outbox()
            except BaseException:
                self._broken = True
                raise
        finally:
            self._stalls_at = NEVER
            self._turns.pass_on()

    async def _empty_outbox(self) -> None:
        while self._outbox:
            outbox, self._outbox = self._outbox, b""
            self._send(outbox)
            await self._until_drained()

    async def _until_drained(self) -> None:
        while self._drained is not None:
            self._pending = self._transport.get_write_buffer_size()
            self._stalls_at = self._ticker.now + self._stall
            await asyncio.shield(self._drained)
        if self._lost:
            raise ConnectionResetError("the connection was lost")

    def push(self, data: bytes) -> None:
        """See `Pipe`."""
        if self._outbox or self._turns.taken or self._drained is not None:
            self._outbox += data
            if len(self._outbox) > CHUNK:  # the client makes the protocol answer and does not read
                self.abort()
        else:
            with suppress(OSError):  # the next read or write raises it
                self._send(data)

    def finish(self) -> None:
        """See `Pipe`."""
        if not (self._closed or self._transport.is_closing()):
            with suppress(OSError):
                self._transport.write_eof()

    def close(self) -> None:
        """See `Pipe`."""
        if not self._closed:
            self._closed = True
            self.on_change = None
            if self._transport.get_write_buffer_size():
                self._transport.abort()  # `close` would wait for a client that does not read
            else:
                self._transport.close()
            self._changed()

    def abort(self) -> None:
        """See `Pipe`."""
        if not self._lost:
            self._burst.end()
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._closed = True
            self.on_change = None
            self._transport.abort()
            self._changed()
            self.resume_writing()

    def stalled(self, now: float) -> bool:
        """See `Pipe`."""
        if now < self._stalls_at:
            return False
        left = self._transport.get_write_buffer_size()
        if left < self._pending:
            self._pending = left
            self._stalls_at = now + self._stall
            return False
        return True

    def hung_up(self) -> bool:
        """See `Pipe`."""
        return self._lost or self._closed or hung_up(self._sock.fileno())


_buffer: Final = memoryview(bytearray(CHUNK))
"""The read buffer of all transports. Each delivers what it has read before another one reads."""


class Connections:
    """The connections of a server and the tasks of their requests. All have ended at the end of the block.

    ::

        async with Connections(state) as connections:
            await accept(listener, accepting, connections.start)
    """

    def __init__(self, state: ServerState, tls: ssl.SSLContext | None = None) -> None:
        self._state = state
        self._tls = tls
        self._context = contextvars.copy_context()
        self._tasks = RequestTasks(state.failed)
        state.new_tasks = partial(RequestTasks, state.failed)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        if error[0] is not None:
            self.cancel()
        await self._tasks.__aexit__(*error)

    def start(self, sock: socket.socket) -> None:
        """Serve a connection."""
        self._tasks.start_soon(self._connect, sock)

    def cancel(self) -> None:
        """Cancel the tasks of all requests."""
        self._state.cancelled = True
        self._tasks.cancel()

    async def _connect(self, sock: socket.socket) -> None:
        full = self._state.is_full()
        raw = AsyncioPipe(sock, self._state.ticker, self._state.limits.send)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: raw, sock)
            pipe = await secured(self._state, raw, self._tls)
        except Exception as error:
            if not isinstance(error, OSError):
                self._state.failed(error)
            sock.close()
            return
        if pipe is not None:
            connection = Connection(self._state, pipe)
            if full:
                connection.turn_away()
            _Driver(self, connection, raw).advance()

    def begin(self, connection: Connection, ended: Callable[[bool | None], None]) -> None:
        """Serve the request of a connection in a task and a context of its own."""
        self._tasks.start(connection.serve(), ended, self._context.copy())

    def failed(self, error: Exception) -> None:
        """Log that a connection has failed."""
        self._state.failed(error)


class _Driver:
    """Serves the requests of a connection, each in a task of its own.

    :param pipe: the pipe of the socket, which tells when bytes have arrived; `connection` may use TLS over it.
    """

    __slots__ = ("_connection", "_connections", "_pipe")

    def __init__(self, connections: Connections, connection: Connection, pipe: AsyncioPipe) -> None:
        self._connections = connections
        self._connection = connection
        self._pipe = pipe

    def advance(self) -> None:
        """Parse what may have arrived while no request is served."""
        try:
            now = self._connection.advance()
        except Exception as error:
            self._connections.failed(error)
            now = _END
        if now is _WAIT:
            self._pipe.on_change = self.advance
            return
        self._pipe.on_change = None
        if now is _SERVE:
            self._connections.begin(self._connection, self._ended)
        else:
            self._connection.close()

    def _ended(self, another: bool | None) -> None:
        """After a request, look for the next one, or close the connection."""
        if another:
            self.advance()
        else:
            self._connection.close()


async def accept(
    listener: socket.socket, accepting: Accepting, start: Callable[[socket.socket], None]
) -> None:
    """Accept connections on a listening socket until cancelled, and call `start` with each."""
    loop = asyncio.get_running_loop()
    for count in itertools.count(1):
        try:
            sock, _ = await loop.sock_accept(listener)
        except OSError as error:
            await accepting.failed(error)
        else:
            accepting.prepare(sock)
            start(sock)
        if count % _AT_ONCE == 0:  # asyncio's sock_accept does not yield while clients are waiting
            await asyncio.sleep(0)
