"""Work in threads, each purpose with a limiter of its own, so that none can starve another (rules 1 and 6).

A thread sees a copy of its caller's context. Synchronous generators, which keep one context for life, are `drive`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import anyio.lowlevel
import anyio.to_thread

__all__ = ["FILES", "GENERATORS", "HANDLERS", "UPLOADS", "Limiter", "in_thread"]

P = ParamSpec("P")
T = TypeVar("T")


class Limiter:
    """How many threads one purpose may hold at once, on each event loop.

    ::

        thumbnails = Limiter(4)
        data = await in_thread(shrink, image, limiter=thumbnails)
    """

    __slots__ = ("_of_loop", "tokens")

    def __init__(self, tokens: int) -> None:
        if tokens < 1:
            raise ValueError("a limiter needs at least one thread")
        self.tokens = tokens
        self._of_loop: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar(
            f"kui limiter {id(self)}"
        )

    def get(self) -> anyio.CapacityLimiter:
        """The limiter of the running event loop."""
        try:
            return self._of_loop.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self.tokens)
            self._of_loop.set(limiter)
            return limiter


HANDLERS: Final = Limiter(40)
"""`def` handlers and callbacks of the user."""
GENERATORS: Final = Limiter(100)
"""Synchronous generators: one thread for each that is working on its next chunk."""
FILES: Final = Limiter(20)
"""Reads of files to be sent."""
UPLOADS: Final = Limiter(20)
"""Writes of uploads to disk."""


class _Stopped(Exception):
    """Carries a StopIteration out of a thread; it cannot be raised into a coroutine."""


async def in_thread(
    func: Callable[..., T],
    *args: object,
    limiter: Limiter = HANDLERS,
    abandon_on_cancel: bool = False,
) -> T:
    """Call `func(*args)` in a worker thread, in a copy of the caller's context, and return what it returns.

    :param limiter: whose threads it uses; waits while all of them are taken.
    :param abandon_on_cancel: when cancelled, leave the thread to itself and let go at once; otherwise a
        cancellation is raised only after the thread has come back.
    :raises RuntimeError: `func` raised StopIteration, which cannot cross into a coroutine (PEP 479).
    """

    def call() -> T:
        try:
            return func(*args)
        except StopIteration as stop:
            raise _Stopped from stop

    try:
        return await anyio.to_thread.run_sync(
            call, limiter=limiter.get(), abandon_on_cancel=abandon_on_cancel
        )
    except _Stopped as stopped:
        raise RuntimeError("a function in a thread raised StopIteration") from stopped.__cause__
