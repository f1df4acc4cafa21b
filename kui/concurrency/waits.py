"""See a coroutine wait, from outside of it.

Each wait of a coroutine passes through the code that awaits it, as the value that it yields to the event loop. The
functions here look at these values, so that what only waiting work needs costs other work nothing.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

__all__ = ["as_coroutine", "is_checkpoint", "on_every_wait", "on_first_wait"]

T = TypeVar("T")


def on_first_wait(work: Awaitable[T], call: Callable[[], object]) -> Awaitable[T]:
    """Await `work` and return its result; call `call()` once, when it first waits."""
    return _first_wait(work if isinstance(work, Coroutine) else as_coroutine(work), call)


@types.coroutine
def _first_wait(work: Coroutine[Any, Any, T], call: Callable[[], object]) -> Generator[Any, Any, T]:
    try:
        trap = work.send(None)
        call()
        while True:
            try:
                value = yield trap
            except BaseException as error:
                trap = work.throw(error)
            else:
                trap = work.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


@types.coroutine
def on_every_wait(
    work: Coroutine[Any, Any, T], call: Callable[[], object]
) -> Generator[Any, Any, T]:
    """Await `work` and return its result; call `call()` whenever it waits, but not at trio's checkpoints."""
    try:
        trap = work.send(None)
        while True:
            if not is_checkpoint(trap):
                call()
            try:
                value = yield trap
            except BaseException as error:
                trap = work.throw(error)
            else:
                trap = work.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def as_coroutine(work: Awaitable[T]) -> T:
    """Await `work`, whatever kind of awaitable it is."""
    return await work


def is_checkpoint(trap: object) -> bool:
    """True if this is what a checkpoint of trio yields, which the run loop resumes at once.

    trio has no public name for it. Where its name should change, a checkpoint counts as a wait.
    """
    return getattr(trap, "__name__", None) == "CancelShieldedCheckpoint"
