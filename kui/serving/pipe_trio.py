"""The sockets of a server on trio: accept, read, write, and one task for each connection.

A request runs in its connection's task, in a context of its own. `connection` decides what is read and written; `pipes`
defines the interface of a pipe.
"""

from __future__ import annotations

import contextvars
import select
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, Final, Self

import anyio
import anyio.abc
import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from kui.concurrency.waits import stepwise

from .accepting import Accepting
from .burst import Burst
from .connection import Connection, Next
from .pipes import CHUNK, CREDIT, BytesLike, Pipe, Turns, hung_up, peer_of
from .readable_trio import Poller, Readable, TrioReadable
from .state import ServerState
from .timing import NEVER, Ticker
from .tls import secured

__all__ = ["Connections", "TrioPipe", "accept"]

_RESET: Final = struct.pack("ii", 1, 0)
# Their names as globals: up to CPython 3.11 a member of an Enum is slow to look up.
_WAIT, _END = Next.WAIT, Next.END
_AT_ONCE: Final = 64
"""How many connections are accepted without a checkpoint."""


class TrioPipe:
    """A `Pipe` over a socket.

    :param readable: tells when the socket can be read.
    :param stall: seconds that a write may make no progress; 0 for no limit.
    """

    __slots__ = (
        "_broken",
        "_burst",
        "_closed",
        "_in_step",
        "_outbox",
        "_readable",
        "_sock",
        "_stall",
        "_stalls_at",
        "_ticker",
        "_turns",
        "_yielding",
        "client",
        "credit",
        "protocol",
        "secure",
        "server",
    )

    def __init__(
        self, sock: socket.socket, readable: Readable, ticker: Ticker, stall: float
    ) -> None:
        self.client, self.server = peer_of(sock)
        self.protocol: str | None = None
        self.secure = False
        self.credit = CREDIT
        self._burst = Burst(sock)
        self._yielding = False
        self._in_step = False  # True while the task of the request runs
        self._sock = sock
        self._readable = readable
        self._ticker = ticker
        self._stall = stall or NEVER
        self._stalls_at = NEVER
        self._turns = Turns()
        self._outbox = b""
        self._broken = False
        self._closed = False

    def take(self) -> bytes | None:
        """See `Pipe`."""
        try:
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            self._readable.emptied()
            return None
        if len(data) < CHUNK:
            self._readable.emptied()
        self.credit -= 1
        return data

    async def wait(self) -> None:
        """See `Pipe`."""
        if self._outbox and not self._turns.taken:
            await self._write_rest(())
        if not self._readable.ready:
            self.credit = CREDIT
            await self._readable.wait()

    def wake(self) -> None:
        """See `Pipe`."""
        if not self._closed:
            self._readable.wake()

    async def yield_(self) -> None:
        """See `Pipe`."""
        self.credit = CREDIT
        self._yielding = True
        try:
            await checkpoint()
        finally:
            self._yielding = False

    def run_step(self, context: contextvars.Context, step: Callable[[Any], Any], value: Any) -> Any:
        """Run a step of the request in `context`; at its end send what the kernel holds back."""
        self._in_step = True
        try:
            return context.run(step, value)
        finally:
            self._in_step = False
            if self._burst.lasts and not self._yielding:
                self._burst.end()

    async def write(self, *parts: BytesLike, more: bool = False) -> None:
        """See `Pipe`."""
        if self.credit <= 0:
            await self.yield_()
        if self._turns.taken:
            await self._turns.wait()
            await self._write_rest(parts)
            return
        if self._outbox or self._broken:
            await self._write_rest(parts)
            return
        flags = self._flag_of_more() if more and self._in_step else 0
        for index, part in enumerate(parts):
            try:
                sent = self._sock.send(part, flags)
            except BlockingIOError:
                sent = 0
            if sent < len(part):
                await self._write_rest((memoryview(part)[sent:], *parts[index + 1 :]))
                return
        self.credit -= 1

    def _flag_of_more(self) -> int:
        if self._burst.lasts:
            return self._burst.hold()
        self._burst.begin()
        return 0

    def _send(self, part: BytesLike) -> int:
        if self._broken:
            raise ConnectionAbortedError("an earlier message was not sent to its end")
        try:
            return self._sock.send(part)
        except BlockingIOError:
            return 0

    async def _write_rest(self, parts: tuple[BytesLike, ...]) -> None:
        """Wait for the turn, and send the outbox and the parts. A cancellation within the parts breaks the pipe."""
        self._turns.take()
        self.credit = CREDIT
        try:
            await self._empty_outbox()
            try:
                for part in parts:
                    view = memoryview(part)[self._send(part) :]
                    while view:
                        await self._until_writable()
                        view = view[self._send(view) :]
            except BaseException:
                self._broken = True
                raise
            await self._empty_outbox()
        finally:
            self._stalls_at = NEVER
            self._turns.pass_on()

    async def _empty_outbox(self) -> None:
        while self._outbox:
            self._outbox = self._outbox[self._send(self._outbox) :]
            if self._outbox:
                await self._until_writable()

    async def _until_writable(self) -> None:
        if self._closed:
            raise ConnectionAbortedError("the connection was cut")
        self._stalls_at = self._ticker.now + self._stall
        try:
            await wait_writable(self._sock)
        except trio.ClosedResourceError:
            if self._closed:
                raise ConnectionAbortedError("the connection was cut") from None

    def push(self, data: bytes) -> None:
        """See `Pipe`."""
        if self._outbox or self._turns.taken:
            self._outbox += data
            if len(self._outbox) > CHUNK:  # the client makes the protocol answer and does not read
                self.abort()
        else:
            with suppress(OSError):  # the next read or write raises it
                self._outbox = data[self._send(data) :]

    def finish(self) -> None:
        """See `Pipe`."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See `Pipe`."""
        if not self._closed:
            self._closed = True
            self._readable.close()
            notify_closing(self._sock)
            self._sock.close()

    def abort(self) -> None:
        """See `Pipe`."""
        if not self._closed:
            self._burst.end()
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()

    def stalled(self, now: float) -> bool:
        """See `Pipe`."""
        return now >= self._stalls_at

    def hung_up(self) -> bool:
        """See `Pipe`."""
        return self._closed or hung_up(self._sock.fileno())


class Connections:
    """The connections of a server, each in a task. All have ended at the end of the block.

    ::

        async with Connections(state) as connections:
            await accept(listener, accepting, connections.start)
    """

    def __init__(self, state: ServerState, tls: ssl.SSLContext | None = None) -> None:
        self._state = state
        self._tls = tls
        self._poller = Poller() if hasattr(select, "epoll") else None
        self._stack = AsyncExitStack()
        self._group: anyio.abc.TaskGroup

    async def __aenter__(self) -> Self:
        if self._poller is not None:
            polling = await self._stack.enter_async_context(anyio.create_task_group())
            polling.start_soon(self._poller.run)
            self._stack.callback(self._poller.stop)
        self._group = await self._stack.enter_async_context(anyio.create_task_group())
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        if error[0] is not None:
            self._state.cancelled = True
        return await self._stack.__aexit__(*error)

    def start(self, sock: socket.socket) -> None:
        """Serve a connection."""
        self._group.start_soon(self._run, sock)

    def cancel(self) -> None:
        """Cancel the tasks of all connections."""
        self._state.cancelled = True
        self._group.cancel_scope.cancel()

    async def _run(self, sock: socket.socket) -> None:
        full = self._state.is_full()
        raw = TrioPipe(sock, self._readable(sock), self._state.ticker, self._state.limits.send)
        try:
            pipe = await secured(self._state, raw, self._tls)
            if pipe is not None:
                await self._serve(pipe, raw, full)
        except Exception as error:
            self._state.failed(error)
        finally:
            raw.close()

    def _readable(self, sock: socket.socket) -> Readable:
        return TrioReadable(sock) if self._poller is None else self._poller.watch(sock)

    async def _serve(self, pipe: Pipe, raw: TrioPipe, full: bool) -> None:
        connection = Connection(self._state, pipe)
        if full:
            connection.turn_away()
        fresh = contextvars.copy_context()
        look = True
        try:
            while True:
                now = connection.advance(look)
                look = True
                if now is _WAIT:
                    await pipe.wait()
                elif now is _END or not await stepwise(
                    partial(raw.run_step, fresh.copy()), connection.serve()
                ):
                    return
                else:
                    look = pipe.secure  # where it may have been read, and not decrypted yet
        finally:
            connection.close()


async def accept(
    listener: socket.socket, accepting: Accepting, start: Callable[[socket.socket], None]
) -> None:
    """Accept connections on a listening socket until cancelled, and call `start` with each."""
    while True:
        await wait_readable(listener)
        for _ in range(_AT_ONCE):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                await accepting.failed(error)
                break
            accepting.prepare(sock)
            start(sock)
