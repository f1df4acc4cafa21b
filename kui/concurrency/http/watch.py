"""The task that watches a client while its response is produced (docs/design.md, "One request").

It is started when the work first waits, and receives while no other task does. Its owner says when it must wake up and
what it does then, and cancels the work when the client leaves.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import anyio

from kui.concurrency.loops import on_asyncio
from kui.concurrency.waits import on_every_wait

from .receive_buffer import ReceiveBuffer

__all__ = ["WATCH_AFTER", "Watch"]

WATCH_AFTER: Final = 0.005
"""Seconds that the work must have waited before a watch begins on asyncio, where a timer costs less than a task."""


class Starter(Protocol):
    """The part of `FrameworkTasks` and of a task group that a watch uses."""

    def start_soon(self, func: Callable[[], Coroutine[Any, Any, None]], /) -> object:
        """Start `func()` in a task."""
        ...


class Watch:
    """Watches the client of `buffer` in a task of `group`, from `begin` until `end`.

    :param due: returns the time at which to call `tick` next, in the loop's time; called again after each message.
    :param tick: called at that time.

    ::

        async with framework_tasks() as group:
            buffer.listen(group.cancel)
            watch = Watch(buffer, group)
            await on_first_wait(work(), watch.begin)
            watch.end()
    """

    __slots__ = ("_begun", "_due", "_group", "_inbox", "_receives", "_scope", "_tick", "_timer")

    def __init__(
        self,
        buffer: ReceiveBuffer,
        group: Starter,
        due: Callable[[], float] = lambda: math.inf,
        tick: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._inbox = buffer
        self._group = group
        self._due = due
        self._tick = tick
        self._begun = False
        self._receives = True  # True while the task that ticks receives as well
        self._timer: asyncio.TimerHandle | None = None
        self._scope: anyio.CancelScope | None = None

    def begin(self) -> None:
        """Begin to watch: on trio now, on asyncio after the work has waited for 5 ms."""
        if on_asyncio():
            self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        self._begun = True
        self._inbox.watch()
        if self._tick is not None or not on_asyncio():
            self._group.start_soon(self._run)

    def end(self) -> None:
        """Stop watching. The task itself ends with its group."""
        if self._timer is not None:
            self._timer.cancel()
        if self._begun:
            self._begun = False
            self._inbox.unwatch()

    def look_again(self) -> None:
        """Call `due` again, because its answer has changed. Does nothing before the watch has begun."""
        if self._scope is not None:
            self._scope.deadline = min(self._scope.deadline, self._due())

    async def _run(self) -> None:
        buffer, due, tick = self._inbox, self._due, self._tick
        while True:
            with anyio.CancelScope(deadline=due()) as self._scope:
                await buffer.change()
            scope = self._scope
            if tick is not None and scope.cancel_called:
                await on_every_wait(tick(), self._hand_over)

    def _hand_over(self) -> None:
        """Start another task that receives, because `tick` waits, perhaps for a client that does not read."""
        if self._receives and not on_asyncio():
            self._receives = False
            self._group.start_soon(self._receive)

    async def _receive(self) -> None:
        while True:
            await self._inbox.change()
