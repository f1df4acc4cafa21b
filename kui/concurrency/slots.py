"""A limited number of slots, with a queue of bounded length for tasks that wait for one."""

from __future__ import annotations

from collections import deque

import anyio

__all__ = ["ConcurrencySlots", "Full"]


class Full(Exception):
    """Raised if all slots are taken and the queue is full."""


class ConcurrencySlots:
    """A number of slots that tasks take and give back. Waiting tasks get them in the order in which they came.

    :param count: how many slots there are.
    :param waiting: how many tasks may wait for a slot.

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
        """True if no slot is taken, so that no task waits either."""
        return self._free == self._count

    def take(self) -> bool:
        """Take a slot and return True; return False if all are taken and the caller must call `wait`.

        :raises Full: all slots are taken and the queue is full.
        """
        if self._free:
            self._free -= 1
            return True
        if len(self._queue) >= self._waiting:
            raise Full
        return False

    async def wait(self) -> None:
        """Wait in the queue until a slot is free, and take it. If cancelled, take none and leave the queue."""
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
        """Give a slot back. The first task in the queue, if any, gets it."""
        if self._queue:
            self._queue.popleft().set()
        else:
            self._free += 1
