"""Tasks of ours beside a block of somebody else's (rule 1), which is not to notice them (rule 5)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVarTuple

import anyio

__all__ = ["Beside"]

Args = TypeVarTuple("Args")


class Beside:
    """A task group for tasks that live no longer than the block, and whose presence changes nothing it raises.

    What the block raises leaves as itself, never in a group that this one made. `scope.cancel()`
    ends the block; its Cancelled is taken out of what is raised, also out of a group of the user's,
    and one from outside is let through, whole.

    ::

        async with Beside() as beside:
            beside.start_soon(listen)
            await work()
    """

    __slots__ = ("_tasks", "_used", "scope")
    scope: anyio.CancelScope

    def __init__(self) -> None:
        self._tasks = anyio.create_task_group()
        self._used = False

    async def __aenter__(self) -> Beside:
        await self._tasks.__aenter__()
        self.scope = self._tasks.cancel_scope
        return self

    def start_soon(
        self, func: Callable[[*Args], Coroutine[Any, Any, object]], *args: *Args
    ) -> None:
        """Start `func(*args)` in a task that is cancelled when the block ends."""
        self._used = True
        self._tasks.start_soon(func, *args)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if self._used:
            self.scope.cancel()
        try:
            return await self._tasks.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            cancelled = anyio.get_cancelled_exc_class()
            left = [each for each in group.exceptions if not isinstance(each, cancelled)]
            if len(left) != 1:
                raise
            (raised,) = left
        if raised is error:
            return False
        raise raised
