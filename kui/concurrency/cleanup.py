"""Shield cleanup from cancellation for a bounded time (docs/design.md, "Cleanup")."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import anyio
import anyio.lowlevel

__all__ = ["GRACE", "raise_cancellation", "shielded", "uninterrupted"]

GRACE: Final = 5.0
"""Seconds that a cleanup may take once it has been cancelled from outside."""

logger = logging.getLogger("kui.error")


class shielded:
    """Shield a block from cancellation for a limited time, so that its cleanup may wait.

    The block behaves the same on asyncio and on trio. A cancellation of an outer scope is delivered at the first
    checkpoint after the block. A block that takes longer than `seconds` is cancelled where it waits, and `kui.error`
    logs it. asyncio's own `task.cancel()` belongs to no scope, and is delivered in the block.

    The block must not contain a `yield` of a generator: the shield would then cover the code that advances the
    generator.

    :param seconds: how long the block may take, in seconds.
    :param what: the subject of the sentence in the log; by default "The cleanup in" and the function's name.
    :raises ValueError: `seconds` is not positive.

    Example::

        async def feed(send):
            connection = await connect()
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(poll, connection, send)
                    tasks.start_soon(listen, connection, send)
            finally:
                with shielded(5):
                    await connection.close()
    """

    __slots__ = ("_scope", "_seconds", "_what")

    def __init__(self, seconds: float = GRACE, what: str | None = None) -> None:
        if not seconds > 0:
            raise ValueError(f"a cleanup has a positive number of seconds, not {seconds!r}")
        self._seconds = seconds
        self._what = what

    def __enter__(self) -> Self:
        self._scope = anyio.CancelScope(shield=True, deadline=anyio.current_time() + self._seconds)
        self._scope.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        caught = bool(self._scope.__exit__(kind, error, trace))
        if self._scope.cancelled_caught:
            what = self._what or _function_around()
            logger.error("%s took longer than %g s, and was cut off", what, self._seconds)
        return caught

    @property
    def cancelled_caught(self) -> bool:
        """True if the block has overrun its time and was cancelled. Valid after the block only."""
        return self._scope.cancelled_caught


def _function_around() -> str:
    """Return the subject of a log sentence: the cleanup in the function that leaves the block."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame and frame.f_back
    return f"The cleanup in {frame.f_code.co_qualname}" if frame else "A cleanup"


async def uninterrupted(
    wait: Callable[[], Awaitable[object]], done: Callable[[], bool]
) -> BaseException | None:
    """Await `wait()` until `done()` is true, and repeat it after a cancellation.

    Return the cancellation by asyncio's `task.cancel()` if one arrived meanwhile, since no scope shields from it; the
    caller must raise it. Otherwise return None.
    """
    native = None
    with anyio.CancelScope(shield=True):
        while not done():
            try:
                await wait()
            except anyio.get_cancelled_exc_class() as error:
                native = error
    return native


async def raise_cancellation() -> None:
    """Raise the cancellation if a scope around the caller is cancelled; otherwise act as a checkpoint.

    The cancellation is delivered to a real wait, not to a mere checkpoint, so that a `CleanupShield` sees it before
    the cleanup begins, on trio too.
    """
    if anyio.current_effective_deadline() == float("-inf"):
        await anyio.sleep_forever()
    await anyio.lowlevel.checkpoint()
