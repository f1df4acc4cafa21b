"""The tasks of requests on asyncio: a task group that costs a third of anyio's.

On asyncio a task needs no parent to be started, so the group only keeps a list. Each task has a cancel scope, because a
shield of the app holds off the cancellation of a scope, but not `task.cancel()`.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar, TypeVarTuple

import anyio

from kui.concurrency.loops import Scope, scope_maker

__all__ = ["RequestTasks"]

T = TypeVar("T")
Args = TypeVarTuple("Args")


def _ignored(result: object) -> None:
    pass


class RequestTasks:
    """A group of tasks, which have all ended at the end of the block. They are cancelled if the block raises.

    :param failed: called with an exception of a task, which does not affect other tasks.

    ::

        async with RequestTasks(state.failed) as tasks:
            tasks.start_soon(serve, request)
    """

    __slots__ = ("_failed", "_idle", "_loop", "_new_scope", "_running")

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._new_scope = scope_maker()
        # The loop keeps no strong references to tasks.
        self._running: dict[Scope, asyncio.Task[None]] = {}
        self._idle: anyio.Event | None = None

    def start_soon(self, func: Callable[[*Args], Coroutine[Any, Any, Any]], *args: *Args) -> None:
        """Run `func(*args)` in a task."""
        self.start(func(*args), _ignored, None)

    def start(
        self,
        work: Coroutine[Any, Any, T],
        ended: Callable[[T | None], None],
        context: contextvars.Context | None,
    ) -> None:
        """Run `work` in a task.

        :param ended: called with the result of `work` when it has ended; with None if it has failed.
        :param context: the context of the task; None for a copy of the current one.
        """
        scope = self._new_scope()
        task = self._loop.create_task(self._run(scope, work, ended), context=context)
        self._running[scope] = task

    def cancel(self) -> None:
        """Cancel all tasks that run."""
        for scope in tuple(self._running):
            scope.cancel()

    async def _run(
        self, scope: Scope, work: Coroutine[Any, Any, T], ended: Callable[[T | None], None]
    ) -> None:
        result = None
        try:
            with scope:
                result = await work
        except Exception as error:
            self._failed(error)
        finally:
            del self._running[scope]
            ended(result)
            if self._idle is not None and not self._running:
                self._idle.set()

    async def _until_idle(self) -> None:
        while self._running:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                await self._until_idle()
        finally:
            self.cancel()
            with anyio.CancelScope(shield=True):
                await self._until_idle()
