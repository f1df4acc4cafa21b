"""Distinguish a cancellation of the running task from a CancelledError of a task that it has awaited.

On asyncio both are the same exception. The second one (a stray CancelledError) is a failure, which the caller handles.
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
    """Raised if a task that was awaited here was cancelled, while the task that awaited it was not.

    asyncio raises CancelledError in both cases. Kui treats this case as an ordinary failure.
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
"""A block around a user's code that raises AwaitedTaskCancelled in place of a stray CancelledError.

A cancellation of the running task, by `task.cancel()` or by a cancel scope, passes unchanged.

Example::

    try:
        with strays_fail:
            await callback()
    except Exception:
        logger.exception("A callback failed")
"""


def failure_of(error: BaseException) -> Exception | None:
    """Return `error` if it is an Exception, an AwaitedTaskCancelled for a stray CancelledError, otherwise None.

    It does what `strays_fail` does in an `except` clause, which costs nothing if nothing is raised::

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
    """True if neither `task.cancel()` was called for the running task nor a scope around it is cancelled."""
    if not on_asyncio():
        return False
    task = asyncio.current_task()
    if task is None or task.cancelling():
        return False
    return anyio.current_effective_deadline() > -math.inf
