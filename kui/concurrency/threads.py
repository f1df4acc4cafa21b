"""Run work in threads. Each purpose has a limiter of its own, so that none can starve another.

A thread runs in a copy of its caller's context. Synchronous generators in threads are defined in `sync`.
"""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

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
    "call",
    "in_thread",
    "is_async",
]

T = TypeVar("T")


class Limiter:
    """Limits how many threads one purpose may use at once in each event loop.

    :param threads: a whole number of at least 1, or `math.inf`.
    :raises ValueError: `threads` is neither.

    ::

        thumbnails = Limiter(4)
        data = await in_thread(shrink, image, limiter=thumbnails)
    """

    __slots__ = ("_of_loop", "threads")

    def __init__(self, threads: float) -> None:
        if not (isinstance(threads, int) or threads == math.inf) or threads < 1:
            raise ValueError(f"threads is how many there may be, at least 1, not {threads!r}")
        self.threads = threads
        self._of_loop: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar(
            "kui.limiter"
        )

    def get(self) -> anyio.CapacityLimiter:
        """Return the limiter of the running event loop."""
        try:
            return self._of_loop.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self.threads)
            self._of_loop.set(limiter)
            return limiter


HANDLERS: Final = Limiter(40)
"""For `def` handlers and other callbacks of the user."""
GENERATORS: Final = Limiter(100)
"""For synchronous generators. One uses a thread only while it works on its next chunk."""
CLOSING_THREADS: Final = Limiter(20)
"""For closing synchronous generators, so that a close never waits for a generator that works."""
FILE_THREADS: Final = Limiter(20)
"""For reading files that are sent."""
UPLOAD_THREADS: Final = Limiter(20)
"""For writing uploads to disk."""

_UNLIMITED: Final = Limiter(math.inf)  # for jobs, which take a token of their limiter themselves


async def in_thread(
    func: Callable[..., T],
    *args: object,
    limiter: Limiter = HANDLERS,
    abandon_on_cancel: bool = False,
) -> T:
    """Call `func(*args)` in a worker thread, in a copy of the caller's context, and return its result.

    :param limiter: limits how many threads are used; the call waits while all of them are taken.
    :param abandon_on_cancel: if True, a cancellation is raised at once and the thread is abandoned, but counts for
        the limiter until `func` returns. If False, the cancellation of a scope is raised only after `func` has
        returned; asyncio's own `task.cancel()` does not wait for the thread.
    :raises RuntimeError: `func` raised StopIteration, which cannot be raised in a coroutine (PEP 479).
    :raises Exception: any other exception of `func`.

    ::

        size = await in_thread(os.path.getsize, path)
    """
    work = partial(_in_tuple, func, args)
    if abandon_on_cancel:
        (value,) = await Job(work).run(limiter)
    else:
        (value,) = await anyio.to_thread.run_sync(work, limiter=limiter.get())
    return value


async def call(function: Callable[..., Any], *args: object, **named: object) -> Any:
    """Call a function and return its result: an `async def` in this task, a `def` in a worker thread.

    An awaitable that a `def` returns is awaited in this task.

    :raises Exception: what the function raises.
    """
    if is_async(function):
        return await function(*args, **named)
    value = await in_thread(partial(function, **named) if named else function, *args)
    return await value if inspect.isawaitable(value) else value


def is_async(function: object) -> bool:
    """True if `function` is an `async def`, or an object whose `__call__` is one."""
    while isinstance(function, partial):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return inspect.iscoroutinefunction(function)
    method = getattr(function, "__call__", None)  # noqa: B004  # whether it is async, not whether it is there
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)


def _in_tuple(func: Callable[..., T], args: tuple[object, ...]) -> tuple[T]:
    """Return the result in a tuple, because trio lets no coroutine out of a thread."""
    try:
        return (func(*args),)
    except StopIteration as stop:
        raise RuntimeError("a function in a thread raised StopIteration") from stop


class Job(Generic[T]):
    """One call in a thread, which is abandoned when the task that waits for it is cancelled.

    A cancellation is raised from `run` at once. Then either `func` is never called, or `left` is True: the thread
    still runs `func`, counts for its limiter until `func` returns, and then calls `afterwards()`.
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
        """True if the thread was abandoned during the call."""
        return self._began and self._cancelled

    async def run(self, limiter: Limiter) -> T:
        """Wait for a thread of the limiter, run the call in it, and return its result.

        :raises Exception: what `func` raises.
        """
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
