"""Virtual time: if all tasks wait, the clock jumps to the next deadline; while a thread works, it stands still.

On trio it is trio's `MockClock`, on asyncio an event loop with the same behaviour. Both are for code in one process: a
wait for a socket or for another process counts as idle, so that its timeout expires at once.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

import trio
import trio.testing

# anyio has no public way to tell which worker threads a loop waits for, and a virtual clock must not jump meanwhile.
from anyio._backends._asyncio import WorkerThread

__all__ = [
    "VirtualClockLoop",
    "call_soon_from_thread",
    "is_virtual",
    "virtual_clock",
    "virtual_trio_clock",
]

T = TypeVar("T")
Args = TypeVarTuple("Args")


def virtual_clock(backend: str) -> tuple[str, dict[str, Any]]:
    """Return `backend` ("asyncio" or "trio") with a virtual clock, as anyio takes it.

    Use it in the fixtures `anyio_backend` and `kui_backend`, and for `anyio.run`. A clock can be used for one run only:
    a fixture must call this for each test.

    :raises ValueError: there is no such backend.

    Example::

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return virtual_clock(request.param)
    """
    if backend == "asyncio":
        return backend, {"loop_factory": VirtualClockLoop}
    if backend == "trio":
        return backend, {"clock": virtual_trio_clock()}
    raise ValueError(f"there are the backends 'asyncio' and 'trio', not {backend!r}")


def is_virtual() -> bool:
    """Return True if the running loop has a virtual clock."""
    if trio.lowlevel.in_trio_run():
        return isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)
    return isinstance(asyncio.get_running_loop(), VirtualClockLoop)


def call_soon_from_thread() -> Callable[[Callable[[], object]], None]:
    """Return a function with which another thread schedules a call in the running loop.

    It does nothing once the loop has ended.
    """
    if trio.lowlevel.in_trio_run():
        token = trio.lowlevel.current_trio_token()

        def call_in_trio(func: Callable[[], object]) -> None:
            try:
                token.run_sync_soon(func)
            except trio.RunFinishedError:
                pass

        return call_in_trio
    loop = asyncio.get_running_loop()

    def call_in_asyncio(func: Callable[[], object]) -> None:
        try:
            loop.call_soon_threadsafe(func)
        except RuntimeError:  # the loop is closed
            pass

    return call_in_asyncio


# ---- trio


def virtual_trio_clock() -> trio.testing.MockClock:
    """Return a `trio.testing.MockClock` that jumps at once, but not while a thread works."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    jump = clock._autojump  # noqa: SLF001  # trio has no public way

    def unless_a_thread_works() -> None:
        if any(map(_waits_for_thread, _all_tasks())):
            # Check again after a millisecond in which nothing has happened; the thread wakes the loop.
            clock.autojump_threshold = 0.001
        else:
            clock.autojump_threshold = 0
            jump()

    # MockClock is final, and only trio calls it: there is no public place for this check.
    clock._autojump = unless_a_thread_works  # type: ignore[method-assign]  # as said: no other way  # noqa: SLF001  # trio has no public way
    return clock


def _all_tasks() -> Iterator[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    left = [root] if root is not None else []
    while left:
        task = left.pop()
        yield task
        for nursery in task.child_nurseries:
            left.extend(nursery.child_tasks)


def _waits_for_thread(task: trio.lowlevel.Task) -> bool:
    # A waiting task has a function that aborts its wait; that of a thread is recognised by its name. If
    # it is missing, the task was cancelled and cannot be aborted: it waits for a thread, or at the end
    # of a nursery.
    abort = task._abort_func  # noqa: SLF001  # trio has no public way
    if abort is None:
        return not any(nursery._parent_waiting_in_aexit for nursery in task.child_nurseries)  # noqa: SLF001  # trio has no public way
    return abort.__qualname__.startswith("to_thread_run_sync.")


# ---- asyncio


class _AutojumpSelector(selectors.DefaultSelector):
    """A selector that advances the loop's clock if nothing is ready."""

    loop: VirtualClockLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self.loop.threads_work():
            return super().select(None)
        self.loop.jump(timeout)
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop whose time jumps to the next timer when all tasks wait.

    It does not jump while a thread works that `asyncio.to_thread`, `run_in_executor` or
    `anyio.to_thread` has started. Time begins at 0.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._executing = 0
        selector = _AutojumpSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Advance the clock by `seconds`.

        :raises ValueError: they are negative.
        """
        if seconds < 0:
            raise ValueError("time does not go backwards")
        self._now += seconds

    def threads_work(self) -> bool:
        """True if a worker thread is running that this loop waits for."""
        if self._executing:
            return True
        for thread in threading.enumerate():
            if isinstance(thread, WorkerThread) and thread.loop is self:
                # Both lists change in this loop's thread only, so that there is no race.
                if thread not in thread.idle_workers and not thread.stopping:
                    return True
        return False

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Args]], T], *args: *Args
    ) -> asyncio.Future[T]:
        """Do as the base class does; the clock stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._executing += 1
        future.add_done_callback(self._executed)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do as the base class does; the clock stands still until it is done."""
        self._executing += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._executing -= 1

    def _executed(self, future: asyncio.Future[Any]) -> None:
        self._executing -= 1
