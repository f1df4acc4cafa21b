"""Work in threads, each purpose with a limiter of its own, so that none can starve another.

A thread sees a copy of its caller's context. How a synchronous generator lives in threads, `sync` knows.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, TypeVar

import anyio.lowlevel
import anyio.to_thread

from .loops import Loop

__all__ = [
    "CLOSING_THREADS",
    "FILE_THREADS",
    "GENERATORS",
    "HANDLERS",
    "UPLOAD_THREADS",
    "Job",
    "Limiter",
    "in_thread",
]

T = TypeVar("T")


class Limiter:
    """How many threads one purpose may hold at once, on each event loop.

    :param threads: a whole number of at least 1, or `math.inf`.
    :raises ValueError: it is no number of threads.

    ::

        thumbnails = Limiter(4)
        data = await in_thread(shrink, image, limiter=thumbnails)
    """

    __slots__ = ("_of_loop", "threads")

    def __init__(self, threads: float) -> None:
        if not (isinstance(threads, int) or threads == math.inf) or threads < 1:
            raise ValueError(f"threads is how many there may be, at least 1, not {threads!r}")
        self.threads = threads
        self._of_loop = anyio.lowlevel.RunVar[anyio.CapacityLimiter]("kui.limiter")

    def get(self) -> anyio.CapacityLimiter:
        """Return the limiter of the running event loop."""
        try:
            return self._of_loop.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self.threads)
            self._of_loop.set(limiter)
            return limiter


HANDLERS: Final = Limiter(40)
"""`def` handlers and callbacks of the user."""
GENERATORS: Final = Limiter(100)
"""Synchronous generators: one thread for each that is working on its next chunk."""
CLOSING_THREADS: Final = Limiter(20)
"""Synchronous generators that are closed: never behind those that work."""
FILE_THREADS: Final = Limiter(20)
"""Reads of files to be sent."""
UPLOAD_THREADS: Final = Limiter(20)
"""Writes of uploads to disk."""

_UNLIMITED: Final = Limiter(math.inf)  # for jobs, which count for themselves


async def in_thread(
    func: Callable[..., T],
    *args: object,
    limiter: Limiter = HANDLERS,
    abandon_on_cancel: bool = False,
) -> T:
    """Call `func(*args)` in a worker thread, in a copy of the caller's context, and return what it returns.

    :param limiter: whose threads it uses; waits while all of them are taken.
    :param abandon_on_cancel: when cancelled, leave the thread to itself and let go at once; it counts
        for the limiter until it comes back. Otherwise a scope's cancellation is raised only after the
        thread has come back; asyncio's own `task.cancel()` does not wait for it.
    :raises RuntimeError: `func` raised StopIteration, which cannot cross into a coroutine (PEP 479).
    """
    call = partial(_without_stop_iteration, func, args)
    if abandon_on_cancel:
        return await Job(call).run(limiter)
    return await anyio.to_thread.run_sync(call, limiter=limiter.get())


def _without_stop_iteration(func: Callable[..., T], args: tuple[object, ...]) -> T:
    try:
        return func(*args)
    except StopIteration as stop:
        raise RuntimeError("a function in a thread raised StopIteration") from stop


class Job(Generic[T]):
    """One call in a thread, which may be left to itself when the task that waits for it is cancelled.

    Cancelled, `run` lets go at once. Then either `func` is never called, or `left` is true: the thread
    is still in it, counts for its limiter until it comes back, and then calls `afterwards()`.
    """

    __slots__ = ("_began", "_cancelled", "_ended", "_func", "_lock", "afterwards")

    def __init__(
        self, func: Callable[[], T], afterwards: Callable[[], object] = lambda: None
    ) -> None:
        self._func = func
        self.afterwards = afterwards
        self._lock = threading.Lock()
        self._began = self._ended = self._cancelled = False

    @property
    def began(self) -> bool:
        """True if the call has begun."""
        return self._began

    @property
    def left(self) -> bool:
        """True if the thread was left to itself."""
        return self._began and self._cancelled

    async def run(self, limiter: Limiter) -> T:
        """Wait for a thread, then for the call in it, and return its result."""
        tokens = limiter.get()
        await tokens.acquire_on_behalf_of(self)
        release = partial(tokens.release_on_behalf_of, self)
        try:
            return await anyio.to_thread.run_sync(
                self._call, Loop(), release, abandon_on_cancel=True, limiter=_UNLIMITED.get()
            )
        finally:
            with self._lock:
                self._cancelled = not self._ended
                left = self.left
            if not left:
                release()

    def _call(self, loop: Loop, release: Callable[[], None]) -> T:
        with self._lock:
            if self._cancelled:
                raise RuntimeError("this job was cancelled before it began")
            self._began = True
        try:
            return self._func()
        finally:
            with self._lock:
                self._ended = True
                left = self._cancelled
            if left:
                try:
                    self.afterwards()
                finally:
                    loop.soon(release)
