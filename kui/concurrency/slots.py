"""A number of slots, and a queue of bounded length for them."""

from __future__ import annotations

from collections import deque

import anyio

__all__ = ["ConcurrencySlots", "Full"]


class Full(Exception):
    """There is no slot, and no room in the queue either."""


class ConcurrencySlots:
    """`count` slots, for which `waiting` tasks at most may wait; first come, first served.

    ::

        slots = ConcurrencySlots(10, waiting=100)
        if not slots.take():
            await slots.wait()
        try:
            ...
        finally:
            slots.give_back()
    """

    __slots__ = ("_count", "_free", "_queue", "_waiting")

    def __init__(self, count: int, waiting: int = 0) -> None:
        self._count = self._free = count
        self._waiting = waiting
        self._queue: deque[anyio.Event] = deque()

    @property
    def idle(self) -> bool:
        """True if no slot is taken, and therefore no task waits."""
        return self._free == self._count

    def take(self) -> bool:
        """Take a slot, if there is one.

        :raises Full: there is none, nor room in the queue.
        """
        if self._free:
            self._free -= 1
            return True
        if len(self._queue) >= self._waiting:
            raise Full
        return False

    async def wait(self) -> None:
        """Wait in the queue until there is a slot. Cancelled, it takes none, and leaves the queue."""
        turn = anyio.Event()
        self._queue.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.give_back()
            else:
                self._queue.remove(turn)
            raise

    def give_back(self) -> None:
        """Give a slot back: to the first task in the queue, if there is one."""
        if self._queue:
            self._queue.popleft().set()
        else:
            self._free += 1
