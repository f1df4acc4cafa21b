"""Tasks of ours beside a block of somebody else's (rule 1), which is not to notice them (rule 5).

The block is their parent: it cancels what it has started, and waits for it. That is no nursery of trio's, which
costs a turn of the loop even where nothing is ever started: until there is a task there is only a scope.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, TypeVarTuple

import anyio

from .loops import cancel_scope, on_asyncio

__all__ = ["Beside", "beside"]

Args = TypeVarTuple("Args")


def beside() -> Beside:
    """A group for tasks that live no longer than a block, and whose presence changes nothing that it raises.

    ::

        async with beside() as group:
            group.start_soon(listen, group.cancel)
            await work()
    """
    return _OnAsyncio() if on_asyncio() else _OnTrio()


class Beside(ABC):
    """What `beside` gives. What the block raises leaves it as itself, in no group that this one made.

    The tasks are cancelled when the block ends; one that raises cancels the block, and is raised. A
    Cancelled of `cancel` is taken out of what the block raises, also out of a group of the user's;
    one from outside is let through.
    """

    __slots__ = ("_failure", "_scope")

    def __init__(self) -> None:
        self._scope = cancel_scope()
        self._failure: BaseException | None = None

    @abstractmethod
    def start_soon(self, func: Callable[[*Args], Coroutine[Any, Any, None]], *args: *Args) -> None:
        """Start `func(*args)` in a task."""

    @abstractmethod
    async def _end(self) -> BaseException | None:
        """Cancel the tasks, if there are any, and wait for them. Return what has interrupted that, if it can be."""

    def cancel(self) -> None:
        """End the block where it stands. Once or more, from any task."""
        self._scope.cancel()

    def _failed(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._scope.cancel()

    async def __aenter__(self) -> Beside:
        self._scope.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        raised = await self._end() or error
        if self._failure is not None and not isinstance(error, Exception):
            raised = self._failure
        if raised is not error:
            kind, trace = None if raised is None else type(raised), None
        if self._scope.__exit__(kind, raised, trace):
            return True
        if raised is not None and raised is not error:
            raise raised
        return False


class _OnAsyncio(Beside):
    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        super().__init__()
        self._tasks: list[asyncio.Task[None]] = []

    def start_soon(self, func: Callable[[*Args], Coroutine[Any, Any, None]], *args: *Args) -> None:
        task = asyncio.get_running_loop().create_task(func(*args))
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self._failed(failure)

    async def _end(self) -> BaseException | None:
        if not self._tasks:
            return None
        interrupted = None
        for task in self._tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            while not all(task.done() for task in self._tasks):
                try:
                    await asyncio.wait(self._tasks)
                except asyncio.CancelledError as error:  # asyncio's own, which heeds no shield
                    interrupted = error
        return interrupted


class _OnTrio(Beside):
    __slots__ = ("_ended", "_scopes")

    def __init__(self) -> None:
        super().__init__()
        self._scopes: list[anyio.CancelScope] = []  # one for each task that has not ended
        self._ended: anyio.Event | None = None

    def start_soon(self, func: Callable[[*Args], Coroutine[Any, Any, None]], *args: *Args) -> None:
        import trio.lowlevel

        scope = anyio.CancelScope()
        if self._ended is not None:
            scope.cancel()
        self._scopes.append(scope)
        trio.lowlevel.spawn_system_task(
            self._run, scope, partial(func, *args), context=copy_context()
        )

    async def _run(
        self, scope: anyio.CancelScope, func: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        try:
            with scope:
                await func()
        except anyio.get_cancelled_exc_class():  # the whole run is over
            raise
        except BaseException as error:
            self._failed(error)
        finally:
            self._scopes.remove(scope)
            if self._ended is not None and not self._scopes:
                self._ended.set()

    async def _end(self) -> BaseException | None:
        if self._scopes:
            self._ended = anyio.Event()
            for scope in self._scopes:
                scope.cancel()
            with anyio.CancelScope(shield=True):
                await self._ended.wait()
        return None
