"""What happens to work while it waits, seen from outside of it: that it waits, and that it is cancelled (rules 3, 4, 6).

Each wait of a coroutine passes through whoever awaits it. Here is one who looks: what only waiting work needs is
begun when it first waits, and cleanup is shielded from the moment in which a cancellation is delivered, before
the first `finally` below runs. Whose generator it is, and when it is closed, is decided in `drive`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

import anyio

from .cleanup import GRACE
from .loops import on_asyncio

__all__ = ["Grace", "on_first_wait"]

T = TypeVar("T")

logger = logging.getLogger("kui.error")


async def on_first_wait(work: Awaitable[T], call: Callable[[], object]) -> T:
    """Await `work`; call `call()` when it first waits. Work that never waits pays for nothing more."""
    return await _stepped(work if isinstance(work, Coroutine) else _awaited(work), call, None)


async def _awaited(work: Awaitable[T]) -> T:
    return await work


class Grace:
    """Work that has a bounded time for its cleanup when it is cancelled from outside.

    `cancelled` is the cancellation from outside that was delivered to it, until the work is over.
    A scope or timeout of the work's own is its own business, and changes nothing here.

    ::

        grace = Grace("the event stream")
        await grace.run(work())
    """

    __slots__ = ("_cancelling", "_native", "_scope", "cancelled", "name", "seconds")

    def __init__(self, name: str, seconds: float = GRACE) -> None:
        self.name = name
        self.seconds = seconds
        self.cancelled: BaseException | None = None
        self._native = False
        self._cancelling = 0
        self._scope = anyio.CancelScope()

    async def run(
        self, work: Coroutine[Any, Any, T], waits: Callable[[], object] | None = None
    ) -> T:
        """Await `work` and return its result; `waits()` is called when it first waits.

        A cancellation from outside is raised at the end, also when the work has swallowed it, or
        has overrun its time: then what it still waits for is cancelled, and `kui.error` says so.
        """
        self._cancelling = _cancelling()
        with self._scope as scope:
            result = await _stepped(work, waits, self)
            if self.cancelled is None:
                return result
        if scope.cancel_called:
            logger.error("The cleanup of %s took longer than %g s", self.name, self.seconds)
        assert self.cancelled is not None
        raise self.cancelled

    def begin(self) -> None:
        """Shield what follows, for as long as a cleanup may take."""
        self._scope.shield = True
        self._scope.deadline = anyio.current_time() + self.seconds

    def delivered(self, error: BaseException) -> None:
        """A cancellation is about to be raised in the work. Is it from outside? Then cleanup begins."""
        if self._scope.shield:
            return
        cancelled = (
            anyio.current_effective_deadline() == -math.inf
        )  # by a scope, and not by asyncio itself
        if not cancelled and _cancelling() <= self._cancelling:
            return  # somebody else's, such as a cancelled task that the work awaits
        self._scope.shield = True
        if cancelled and anyio.current_effective_deadline() == -math.inf:
            self._scope.shield = False  # by a scope within the work
            return
        self._native = not cancelled
        self.cancelled = error
        self.begin()

    def look_again(self) -> None:
        """Take the shield away if asyncio's own cancellation was a timeout's within the work, and is over."""
        if self._native and _cancelling() <= self._cancelling:
            self._native = False
            self.cancelled = None
            self._scope.shield = False
            self._scope.deadline = math.inf


def _cancelling() -> int:
    """How many calls of asyncio's `task.cancel()` the current task has still to answer."""
    if not on_asyncio():
        return 0
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


@types.coroutine
def _stepped(
    work: Coroutine[Any, Any, T], waits: Callable[[], object] | None, grace: Grace | None
) -> Generator[Any, Any, T]:
    """Await `work`, as `await` would, and look at everything that passes."""
    try:
        trap = work.send(None)
        if waits is not None:
            waits()
        while True:
            try:
                value = yield trap
            except BaseException as error:  # asyncio raises what the wait ended with
                if grace is not None and isinstance(error, anyio.get_cancelled_exc_class()):
                    grace.delivered(error)
                trap = work.throw(error)
            else:
                if grace is not None:  # trio hands over an outcome, and the trap unwraps it
                    failure = getattr(value, "error", None)
                    if isinstance(failure, anyio.get_cancelled_exc_class()):
                        grace.delivered(failure)
                trap = work.send(value)
            if grace is not None and grace.cancelled is not None:
                grace.look_again()
    except StopIteration as stop:
        result: T = stop.value
        return result
