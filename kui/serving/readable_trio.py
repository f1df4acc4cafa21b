"""Wait on trio until a socket can be read: for all connections of a server together, if the system has epoll.

trio asks the kernel anew for each wait, which takes longer than all that HTTP does with a plain
request. Here a socket is registered once, edge-triggered, and one task waits for all of them. That
task's turn of the loop is worth it for several connections; as long as there are few, trio is asked.
"""

from __future__ import annotations

import select
import socket
from typing import Final, Protocol

import trio
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    Task,
    current_task,
    notify_closing,
    reschedule,
    wait_readable,
    wait_task_rescheduled,
)

__all__ = ["EpollReadable", "Poller", "Readable", "TrioReadable"]

EVENTS_AT_ONCE: Final = 256
"""How many sockets are reported at once, until other tasks get a turn."""
FEW: Final = 4
"""Open sockets up to which trio is asked for each wait."""


class Readable(Protocol):
    """Tells if a socket can be read. Only one task may use it at a time."""

    @property
    def ready(self) -> bool:
        """True if a read may find something."""

    async def wait(self) -> None:
        """Wait until a read may find something, or until `wake` is called. If cancelled, nothing has changed."""

    def emptied(self) -> None:
        """Record that a read has found nothing, or less than it has asked for."""

    def wake(self) -> None:
        """Make a `wait` return."""

    def close(self) -> None:
        """Make a `wait` return, because the socket is about to be closed."""


class TrioReadable:
    """A `Readable` that asks trio each time."""

    __slots__ = ("_closed", "_sock")
    ready: Final = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._closed = False

    async def wait(self) -> None:
        """See `Readable`."""
        if self._closed:  # while the task was not waiting; trio knows no socket without a number
            return
        try:
            await wait_readable(self._sock)
        except trio.ClosedResourceError:  # by `wake` or `close`
            pass

    def emptied(self) -> None:
        """See `Readable`."""

    def wake(self) -> None:
        """See `Readable`. A task that waits to write is woken as well."""
        notify_closing(self._sock)

    def close(self) -> None:
        """See `Readable`."""
        self._closed = True
        self.wake()


class EpollReadable:
    """A `Readable` that a `Poller` tells, once there are more than few; its `watch` makes it.

    An edge is told once, so what it has said is remembered until a read has found nothing. A read
    of less than was asked for has found all (epoll(7)), but for the end, which has an edge of its own.
    """

    __slots__ = (
        "_alone",
        "_closed",
        "_ended",
        "_poller",
        "_task",
        "descriptor",
        "ready",
        "watched",
    )

    def __init__(self, poller: Poller, sock: socket.socket) -> None:
        self._poller = poller
        self._alone = TrioReadable(sock)
        self.descriptor = sock.fileno()
        self.watched = False
        """True if the poller reports the socket."""
        self._closed = False
        self._ended = False
        self._task: Task | None = None
        self.ready = False

    async def wait(self) -> None:
        """See `Readable`."""
        if self.ready:
            return
        if not self.watched:
            if not self._poller.crowded:
                await self._alone.wait()
                return
            self._poller.register(self)
        self._task = current_task()
        await wait_task_rescheduled(self._abort)

    def _abort(self, _: RaiseCancelT) -> Abort:
        self._task = None
        return Abort.SUCCEEDED

    def emptied(self) -> None:
        """See `Readable`."""
        self.ready = self._ended

    def changed(self, events: int) -> None:
        """Record that the kernel has reported an edge."""
        if events & ~select.EPOLLIN:
            self._ended = True
        self.ready = True
        self.wake()

    def wake(self) -> None:
        """See `Readable`."""
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)
        elif not self.watched:
            self._alone.wake()

    def close(self) -> None:
        """See `Readable`."""
        if not self._closed:
            self._closed = True
            self._ended = self.ready = True
            self.wake()
            self._poller.forget(self)


class Poller:
    """Tells each `EpollReadable` when its socket can be read.

    ::

        poller = Poller()
        group.start_soon(poller.run)
        readable = poller.watch(sock)
        ...
        poller.stop()

    A cancellation does not end it, for what has been cancelled may still read while it cleans up.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._open = 0
        self._watched: dict[int, EpollReadable] = {}
        self._scope = trio.CancelScope(shield=True)

    @property
    def crowded(self) -> bool:
        """True if there are more than few open sockets."""
        return self._open > FEW

    def watch(self, sock: socket.socket) -> EpollReadable:
        """Return the `Readable` of a socket. It must be closed before the socket is closed."""
        self._open += 1
        return EpollReadable(self, sock)

    def register(self, readable: EpollReadable) -> None:
        """Report a socket from now on. If it can be read already, the kernel reports that at once.

        :raises OSError: the system has no room for it. Nothing has changed then.
        """
        events = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
        self._epoll.register(readable.descriptor, events)
        readable.watched = True
        self._watched[readable.descriptor] = readable

    def forget(self, readable: EpollReadable) -> None:
        """Stop reporting a socket, which must still be open."""
        self._open -= 1
        if readable.watched:
            del self._watched[readable.descriptor]
            self._epoll.unregister(readable.descriptor)

    def stop(self) -> None:
        """End `run`."""
        self._scope.cancel()

    async def run(self) -> None:
        """Report sockets until `stop` is called."""
        with self._scope, self._epoll:
            while True:
                await wait_readable(self._epoll.fileno())
                for descriptor, events in self._epoll.poll(0, EVENTS_AT_ONCE):
                    readable = self._watched.get(descriptor)
                    if readable is not None:
                        readable.changed(events)
