"""Work that is not worth its while any more: its client has gone, or its time is over.

What a handler sees of it is defined in `kui/middlewares/`; the scopes are here.
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
    """A block that is cancelled as soon as the client has gone; then its end raises what says so.

    An exception of the block's own is raised as itself, in no group, and so is a cancellation from
    outside. A block that ends although the client has gone meanwhile raises as well. Task groups
    within it, and threads, are treated as anyio treats them.

    ::

        async with WaitingClient(exchange):
            await work()
    """

    __slots__ = ("_group",)
    _group: FrameworkTasks

    @abstractmethod
    def begin(self, group: FrameworkTasks) -> None:
        """Have `group` cancelled when the client goes."""

    @abstractmethod
    def end(self, group: FrameworkTasks) -> None:
        """Take that back."""

    @abstractmethod
    def gone(self) -> Exception | None:
        """Return what to raise, if the client has gone."""

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
    """A block for a client that waits for its response. At the end it raises ClientDisconnect.

    The client is watched while what it has sent unread fits the buffer.
    """

    __slots__ = ("_exchange", "_watch")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._watch: Watch | None = None

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await `work()` as such a block and return its result; work that does not wait is not watched.

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
    """A block for a client at the other end of a WebSocket. At the end it raises WebSocketDisconnect."""

    __slots__ = ("_socket",)

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await `work()` as such a block, and return its result."""
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
    """Await `work()` and return its result in a tuple; None if it was cancelled at `deadline`, in the loop's time.

    What the work raises is raised, and so is a cancellation from outside that comes in the same moment.
    """
    with anyio.CancelScope(deadline=deadline):
        return (await work(),)
    return None
