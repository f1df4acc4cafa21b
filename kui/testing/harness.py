"""Cancel code at each of its checkpoints, to test that it may be cancelled anywhere.

A scenario is run repeatedly, and interrupted at its 1st, 2nd, ... checkpoint, until it ends uninterrupted. Its
coroutine is stepped by hand, so that nothing must be instrumented. The caller asserts what must hold afterwards.
"""

from __future__ import annotations

import asyncio
import gc
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from inspect import isawaitable
from types import SimpleNamespace
from typing import Any, Literal, TypeVar, overload

import anyio
import anyio.lowlevel

from kui.concurrency.loops import on_asyncio

__all__ = ["SteppedRun", "every_checkpoint"]

S = TypeVar("S")


@overload
async def every_checkpoint(
    scenario: Callable[[SimpleNamespace], Coroutine[Any, Any, object]],
    check: Callable[[SimpleNamespace], object],
    *,
    how: Literal["scope", "native"] | Callable[[SimpleNamespace], object] = "scope",
    limit: int = 2000,
) -> int: ...
@overload
async def every_checkpoint(
    scenario: Callable[[S], Coroutine[Any, Any, object]],
    check: Callable[[S], object],
    *,
    how: Literal["scope", "native"] | Callable[[S], object] = "scope",
    state: Callable[[], S],
    limit: int = 2000,
) -> int: ...
async def every_checkpoint(
    scenario: Callable[[Any], Coroutine[Any, Any, object]],
    check: Callable[[Any], object],
    *,
    how: Literal["scope", "native"] | Callable[[Any], object] = "scope",
    state: Callable[[], Any] = SimpleNamespace,
    limit: int = 2000,
) -> int:
    """Run `scenario` until it has been interrupted at each of its checkpoints, and once more to its end.

    A checkpoint is a moment at which the scenario's own task yields to the event loop. Its child tasks are interrupted
    wherever they are at that moment.

    :param scenario: an async function that gets a new state each time, and stores in it what `check` needs. Exceptions
        other than the cancellation are raised; if the interruption may cause one, the scenario must catch it.
    :param check: a function, async or not, that is called with the state after each run, and asserts what must hold for
        any end of the run, such as that resources are closed.
    :param how: "scope" cancels a cancel scope around the scenario. "native", on asyncio only, calls `task.cancel()`, as
        uvicorn and hypercorn do; the scenario must then let CancelledError pass. A function is called with the state,
        for example to disconnect a client.
    :param state: creates the state; by default an empty `types.SimpleNamespace`.
    :param limit: the largest number of checkpoints.
    :return: the number of checkpoints.
    :raises AssertionError: `check` raised it, or the run left a task behind, or swallowed a native
        cancellation. A note on every exception names the checkpoint and its place in the code.
    :raises RuntimeError: the scenario has more than `limit` checkpoints.

    ::

        async def scenario(state):
            state.pool = Pool(1)
            async with state.pool.connection():
                await anyio.sleep(0)


        def check(state):
            assert state.pool.free == 1


        await every_checkpoint(scenario, check)
    """
    for at in range(1, limit + 1):
        current = state()
        run = SteppedRun(scenario(current), at)
        before = _tasks()
        try:
            if how == "scope":
                await _cancelled_by_scope(run)
            elif how == "native":
                await _cancelled_natively(run)
            else:
                run.hit = partial(how, current)
                await run
            await _assert_no_task_left(before)
            verdict = check(current)
            if isawaitable(verdict):
                await verdict
        except Exception as error:
            error.add_note(run.describe())
            raise
        if run.seen < at:
            return run.seen
    raise RuntimeError(f"the scenario has more than {limit} checkpoints: {run.describe()}")


class SteppedRun:
    """Awaits a coroutine, and calls `hit` at its `at`-th suspension, just before it yields to the loop."""

    __slots__ = ("at", "coroutine", "hit", "seen", "where")

    def __init__(self, coroutine: Coroutine[Any, Any, object], at: int) -> None:
        self.coroutine = coroutine
        self.at = at
        self.seen = 0
        self.where: list[str] = []
        self.hit: Callable[[], object] = lambda: None

    def __await__(self) -> Generator[Any, Any, object]:
        coroutine = self.coroutine
        try:
            trap = coroutine.send(None)
            while True:
                self.seen += 1
                if self.seen == self.at:
                    self.where = _frames(coroutine)
                    self.hit()
                try:
                    value = yield trap
                except BaseException as error:
                    trap = coroutine.throw(error)
                else:
                    trap = coroutine.send(value)
        except StopIteration as stop:
            return stop.value

    def describe(self) -> str:
        if self.seen < self.at:
            return f"this run was not hit; it has {self.seen} checkpoints"
        return f"hit at checkpoint {self.at}: " + " > ".join(self.where)


async def _cancelled_by_scope(run: SteppedRun) -> None:
    with anyio.CancelScope() as scope:
        run.hit = scope.cancel
        await run


async def _cancelled_natively(run: SteppedRun) -> None:
    async def victim() -> None:
        task = asyncio.current_task()
        assert task is not None
        run.hit = task.cancel
        await run

    task = asyncio.ensure_future(victim())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
        assert run.seen < run.at, "the cancellation was swallowed"


def _tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() if on_asyncio() else set()


async def _assert_no_task_left(before: set[asyncio.Task[Any]]) -> None:
    if on_asyncio():  # on trio each task has a parent, which waits for it
        await asyncio.sleep(0)  # a task that was cancelled at the end may end now
        left = _tasks() - before
        assert not left, f"tasks left behind: {left}"


def _frames(coroutine: object) -> list[str]:
    """Return the frames of a suspended coroutine, the outermost first, as `file:line in function`."""
    found: list[str] = []
    while coroutine is not None:
        for prefix in ("cr", "gi", "ag"):
            frame = getattr(coroutine, f"{prefix}_frame", None)
            if frame is not None:
                name = frame.f_code.co_filename.rsplit("/", 1)[-1]
                found.append(f"{name}:{frame.f_lineno} in {frame.f_code.co_name}")
                awaited = "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await"
                coroutine = getattr(coroutine, awaited, None)
                break
        else:
            coroutine = _behind(coroutine)
    return found


def _behind(awaitable: object) -> object:
    """Return the async generator of an `__anext__`, `athrow` or `aclose` awaitable, which has no attribute for it."""
    names = ("async_generator_asend", "async_generator_athrow", "coroutine_wrapper")
    if type(awaitable).__name__ not in names:
        return None
    kinds = (types.AsyncGeneratorType, types.CoroutineType)
    return next((each for each in gc.get_referents(awaitable) if isinstance(each, kinds)), None)
