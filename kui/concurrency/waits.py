"""Await a coroutine step by step, and notice when it waits.

A coroutine waits by yielding a value to the event loop, through the code that awaits it. The functions here see these
values, so that tasks and timers that only waiting work needs can be started at its first wait.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

__all__ = [
    "as_coroutine",
    "is_checkpoint",
    "on_every_wait",
    "on_first_wait",
    "resumed",
    "stepwise",
]

T = TypeVar("T")


def on_first_wait(work: Awaitable[T], call: Callable[[], object]) -> Awaitable[T]:
    """Await `work` and return its result; call `call()` once, when `work` first waits."""
    return _first_wait(work if isinstance(work, Coroutine) else as_coroutine(work), call)


@types.coroutine
def _first_wait(work: Coroutine[Any, Any, T], call: Callable[[], object]) -> Generator[Any, Any, T]:
    try:
        trap = work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    call()
    return (yield from resumed(work, trap))


def resumed(work: Coroutine[Any, Any, T], trap: object) -> Generator[Any, Any, T]:
    """Await the rest of `work` and return its result.

    :param trap: the value that `work` has yielded, and that the event loop has not got yet.
    """
    try:
        while True:
            try:
                value = yield trap
            except BaseException as error:  # raised in `work`, which may handle it
                trap = work.throw(error)
            else:
                trap = work.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


@types.coroutine
def stepwise(
    run: Callable[[Callable[[Any], Any], Any], Any], work: Coroutine[Any, Any, T]
) -> Generator[Any, Any, T]:
    """Await `work`, calling each step of it as `run(step, value)`, and return its result.

    :param run: calls the step and returns what it returns, the value that `work` yields to the event loop; for
        example, `context.run` runs every step in one Context.
    """
    try:
        trap = run(work.send, None)
        while True:
            try:
                value = yield trap
            except BaseException as error:  # raised in `work`, which may handle it
                trap = run(work.throw, error)
            else:
                trap = run(work.send, value)
    except StopIteration as stop:
        result: T = stop.value
        return result


def on_every_wait(work: Coroutine[Any, Any, T], call: Callable[[], object]) -> Awaitable[T]:
    """Await `work` and return its result; call `call()` whenever `work` waits, but not at trio's checkpoints."""

    def run(step: Callable[[Any], Any], value: Any) -> Any:
        trap = step(value)
        if not is_checkpoint(trap):
            call()
        return trap

    return stepwise(run, work)


async def as_coroutine(work: Awaitable[T]) -> T:
    """Return a coroutine that awaits any awaitable."""
    return await work


def is_checkpoint(trap: object) -> bool:
    """True if `trap` is the value that a checkpoint of trio yields. trio's run loop resumes such a task at once.

    trio has no public name for that value. If a release changes the name, a checkpoint counts as a wait.
    """
    return getattr(trap, "__name__", None) == "CancelShieldedCheckpoint"
