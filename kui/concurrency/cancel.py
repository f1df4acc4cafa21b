"""Cancel scopes around work whose client may leave or whose time is limited.

The middlewares that use them, and what a handler sees, are defined in `kui/middlewares/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

import anyio

from .http.exchange import ClientDisconnect, Exchange
from .http.watch import Watch
from .task_group import FrameworkTasks, framework_tasks
from .waits import on_first_wait
from .websocket.socket import Socket

__all__ = ["Connected", "OpenSocket", "WaitingClient", "until"]

T = TypeVar("T")


class Connected(ABC):
    """A block that is cancelled as soon as the client has gone. Its end then raises the disconnect error.

    The disconnect error is also raised if the block ends by itself after the client has gone. An exception of the
    block, or a cancellation from outside, is raised unchanged, never in a group. Task groups and threads inside of
    the block are cancelled as in any cancel scope of anyio.

    ::

        async with WaitingClient(exchange):
            await work()
    """

    __slots__ = ("_group",)
    _group: FrameworkTasks

    @abstractmethod
    def begin(self, group: FrameworkTasks) -> None:
        """Register `group`, so that it is cancelled when the client goes."""

    @abstractmethod
    def end(self, group: FrameworkTasks) -> None:
        """Unregister `group`."""

    @abstractmethod
    def gone(self) -> Exception | None:
        """Return the exception to raise if the client has gone, otherwise None."""

    async def __aenter__(self) -> None:
        self._group = await framework_tasks().__aenter__()
        self.begin(self._group)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self.end(self._group)
        suppressed = await self._group.__aexit__(kind, error, trace)
        if error is None or suppressed:
            gone = self.gone()
            if gone is not None:
                raise gone
        return suppressed


class WaitingClient(Connected):
    """A block for an HTTP request. Its end raises ClientDisconnect if the client has gone.

    A disconnect is not seen while the buffer of the unread request body is full (64 KiB or 16 messages).
    """

    __slots__ = ("_exchange", "_watch")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._watch: Watch | None = None

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await `work()` in such a block and return its result.

        The watching task is started when `work` first waits; work that never waits costs no task.

        :raises ClientDisconnect: the client has gone.
        """
        async with framework_tasks() as group:
            watch = self._watch = Watch(self._exchange, group)
            self._exchange.listen(group.cancel)
            try:
                result = await on_first_wait(work(), watch.begin)
            finally:
                self.end(group)
        gone = self.gone()
        if gone is not None:
            raise gone
        return result

    def begin(self, group: FrameworkTasks) -> None:
        self._watch = Watch(self._exchange, group)
        self._exchange.listen(group.cancel)
        self._watch.begin()

    def end(self, group: FrameworkTasks) -> None:
        self._exchange.unlisten(group.cancel)
        if self._watch is not None:
            self._watch.end()

    def gone(self) -> Exception | None:
        if self._exchange.client_gone:
            return ClientDisconnect("the client left before the work for it was done")
        return None


class OpenSocket(Connected):
    """A block for a WebSocket. Its end raises WebSocketDisconnect if the connection is over."""

    __slots__ = ("_socket",)

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await `work()` in such a block, and return its result.

        :raises WebSocketDisconnect: the connection is over.
        """
        async with self:
            return await work()

    def begin(self, group: FrameworkTasks) -> None:
        self._socket.watch(group.cancel)

    def end(self, group: FrameworkTasks) -> None:
        self._socket.unwatch(group.cancel)

    def gone(self) -> Exception | None:
        state = self._socket.state
        return None if state.ending is None else state.disconnect()


async def until(deadline: float, work: Callable[[], Awaitable[T]]) -> tuple[T] | None:
    """Await `work()` and return its result in a tuple; return None if it was cancelled at `deadline`.

    An exception of `work` is raised, and so is a cancellation from outside, even if it arrives at the deadline.

    :param deadline: in the time of the event loop, in seconds.
    """
    with anyio.CancelScope(deadline=deadline):
        return (await work(),)
    return None
