"""Framework tasks around user code. An exception of that code is never wrapped in a group (docs/design.md, "Tasks").

On trio the tasks are children of a nursery. On asyncio a task needs no parent to be started, so a block without tasks
has only a cancel scope. anyio's TaskGroup would serve both, but on asyncio it leaves reference cycles, which the
garbage collector would have to find after each watched response.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVarTuple

import anyio

from .cleanup import uninterrupted
from .loops import cancel_scope, on_asyncio

if TYPE_CHECKING:
    import trio

__all__ = ["FrameworkTasks", "framework_tasks"]

Args = TypeVarTuple("Args")


def framework_tasks() -> FrameworkTasks:
    """Return a group of framework tasks for a block of user code; they end with the block (see `FrameworkTasks`).

    ::

        async with framework_tasks() as group:
            group.start_soon(listen, group.cancel)
            await work()
    """
    return _OnAsyncio() if on_asyncio() else _OnTrio()


class FrameworkTasks(ABC):
    """A group of framework tasks around a block. An exception of the block is raised unchanged.

    When the block ends, the tasks are cancelled and waited for. If a task raises, the block is cancelled, and the
    task's exception is raised unless the block raises one of its own. A cancellation by `cancel` ends at the block; it
    is also removed from an exception group that the block raises. A cancellation from outside is raised, and replaces
    an exception of the block if it arrives while the tasks end.
    """

    __slots__ = ()

    @abstractmethod
    def start_soon(self, func: Callable[[*Args], Coroutine[Any, Any, None]], *args: *Args) -> None:
        """Start `func(*args)` in a task."""

    @abstractmethod
    def cancel(self) -> None:
        """Cancel the block where it waits. May be called again, and from any task."""

    @abstractmethod
    def warn_after(self, seconds: float, call: Callable[[], object]) -> None:
        """Call `call()` if the block has not ended after `seconds`, also if the block is cancelled.

        Only the first call of this method counts.
        """

    @abstractmethod
    async def __aenter__(self) -> FrameworkTasks: ...

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None: ...


class _OnAsyncio(FrameworkTasks):
    __slots__ = ("_failure", "_scope", "_tasks", "_warning")

    def __init__(self) -> None:
        self._scope = cancel_scope()
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self._warning: asyncio.TimerHandle | None = None

    def start_soon(self, func: Callable[[*Args], Coroutine[Any, Any, None]], *args: *Args) -> None:
        task = asyncio.get_running_loop().create_task(func(*args))
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def cancel(self) -> None:
        self._scope.cancel()

    def warn_after(self, seconds: float, call: Callable[[], object]) -> None:
        if self._warning is None:
            self._warning = asyncio.get_running_loop().call_later(seconds, call)

    def _ended(self, task: asyncio.Task[None]) -> None:
        failure = None if task.cancelled() else task.exception()
        if failure is not None and self._failure is None:
            self._failure = failure
            self._scope.cancel()

    async def __aenter__(self) -> FrameworkTasks:
        self._scope.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if self._warning is not None:
            self._warning.cancel()
        raised = (await self._end() if self._tasks else None) or error
        if self._failure is not None and not isinstance(error, Exception):
            raised = self._failure
        if raised is not error:
            kind, trace = None if raised is None else type(raised), None
        if self._scope.__exit__(kind, raised, trace):
            return True
        if raised is not None and raised is not error:
            raise raised
        return False

    async def _end(self) -> BaseException | None:
        """Cancel the tasks and wait for them. Return asyncio's own cancellation, if one came meanwhile."""
        # Each is cancelled once; twice would cut its cleanup.
        cancelled: set[asyncio.Task[None]] = set()

        async def end_all() -> None:
            for task in self._tasks:
                if task not in cancelled:
                    cancelled.add(task)
                    task.cancel()
            await asyncio.wait(self._tasks)

        interrupted = await uninterrupted(end_all, lambda: all(task.done() for task in self._tasks))
        self._tasks.clear()  # their exceptions hold frames that hold this group: a reference cycle
        return interrupted


class _OnTrio(FrameworkTasks):
    __slots__ = ("_manager", "_nursery", "_warning")
    _nursery: trio.Nursery

    def __init__(self) -> None:
        import trio

        self._manager = trio.open_nursery()
        self._warning: anyio.CancelScope | None = None

    def start_soon(self, func: Callable[[*Args], Coroutine[Any, Any, None]], *args: *Args) -> None:
        self._nursery.start_soon(func, *args)

    def cancel(self) -> None:
        self._nursery.cancel_scope.cancel()

    def warn_after(self, seconds: float, call: Callable[[], object]) -> None:
        if self._warning is None:
            self._warning = scope = anyio.CancelScope(shield=True)
            self._nursery.start_soon(_call_within, scope, seconds, call)

    async def __aenter__(self) -> FrameworkTasks:
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if self._warning is not None:
            self._warning.cancel()
        if self._nursery.child_tasks:
            self._nursery.cancel_scope.cancel()
        try:
            return await self._manager.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            raised = self._unpacked(group, error)
        if raised is error:
            return False
        raise raised

    def _unpacked(
        self, group: BaseExceptionGroup[BaseException], error: BaseException | None
    ) -> BaseException:
        """Return the exception of the block or of a framework task, without the nursery's group around it."""
        if isinstance(error, Exception):
            return error
        cancelled = anyio.get_cancelled_exc_class()
        left = [each for each in group.exceptions if not isinstance(each, cancelled)]
        if len(left) > 1:
            return group
        if not left:
            return error or group.exceptions[0]
        if isinstance(error, BaseExceptionGroup) and error.subgroup(cancelled) is None:
            return error  # the nursery raises a copy of this group
        return left[0]


async def _call_within(
    scope: anyio.CancelScope, seconds: float, call: Callable[[], object]
) -> None:
    with scope:
        await anyio.sleep(seconds)
        call()
