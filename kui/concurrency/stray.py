"""Tell a cancellation of the running task from one that only looks like it.

Defined here is where a cancellation comes from. What becomes of the failure is decided by the caller.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Final

import anyio

from .loops import on_asyncio

__all__ = ["AwaitedTaskCancelled", "failure_of", "strays_fail"]


class AwaitedTaskCancelled(RuntimeError):
    """A task that this code awaited was cancelled. The task that awaited it was not.

    asyncio raises the same CancelledError for both. Kui treats this one as a failure like any other.
    """


class _StraysFail:
    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, asyncio.CancelledError) and _is_stray():
            raise _of_a_task() from error


strays_fail: Final = _StraysFail()
"""A block around the code of a user that turns a stray CancelledError into AwaitedTaskCancelled.

A cancellation of the running task, by `task.cancel()` or by a cancel scope, passes unchanged.

Example::

    try:
        with strays_fail:
            await callback()
    except Exception:
        logger.exception("A callback failed")
"""


def failure_of(error: BaseException) -> Exception | None:
    """Return the failure that an exception is, a stray CancelledError among them; None for one that must pass.

    For an `except` clause around the code of a user where the block of `strays_fail` would cost more than it::

        except BaseException as error:
            failure = failure_of(error)
            if failure is None:
                raise
    """
    if isinstance(error, Exception):
        return error
    if isinstance(error, asyncio.CancelledError) and _is_stray():
        failure = _of_a_task()
        failure.__cause__ = error
        return failure
    return None


def _of_a_task() -> AwaitedTaskCancelled:
    return AwaitedTaskCancelled(
        "a task that was awaited here was cancelled: catch CancelledError where you await it"
    )


def _is_stray() -> bool:
    """True if the running task has not been cancelled, neither by itself nor by a scope around it."""
    if not on_asyncio():
        return False
    task = asyncio.current_task()
    if task is None or task.cancelling():
        return False
    return anyio.current_effective_deadline() > -math.inf
