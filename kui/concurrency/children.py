"""Framework tasks around the handler of a connection. A handler for which none is started pays for none.

`with_children` owns them: none outlives its block.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from .cleanup import uninterrupted
from .loops import Scope, cancel_scope, on_asyncio

if TYPE_CHECKING:
    import trio.lowlevel

__all__ = ["Children", "this_task", "with_children"]

T = TypeVar("T")

logger = logging.getLogger("kui.error")


class Children(ABC):
    """Starts tasks for a block that was given to `with_children`. None of them outlives the block."""

    __slots__ = ()

    @abstractmethod
    def start(self, func: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start `func()` in a task. If it raises, `kui.error` logs the exception, and nothing else is cancelled."""


def this_task() -> object:
    """Return the running task. Use it for comparison by identity only."""
    return asyncio.current_task() if on_asyncio() else _trio_task()


async def with_children(block: Callable[[Children], Awaitable[T]]) -> T:
    """Await `block(children)`, then cancel the tasks that it has started and wait for them; return its result.

    An exception of the block is raised unchanged, never in a group. A cancellation from outside may reach the
    children while the block still runs; so the block must work without them from any moment on.

    Example::

        async def session(children):
            children.start(watch)
            await handler()

        await with_children(session)
    """
    children = _OnAsyncio() if on_asyncio() else _OnTrio()
    try:
        return await block(children)
    finally:
        if children.tasks:
            await children.end()


async def _guarded(func: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await func()
    except Exception:
        logger.exception("A task beside a connection failed")


class _OnAsyncio(Children):
    __slots__ = ("tasks",)

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self, func: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(_guarded(func))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def end(self) -> None:
        async def cancel_all() -> None:
            for task in self.tasks:
                task.cancel()
            await asyncio.wait(self.tasks)

        interrupted = await uninterrupted(cancel_all, lambda: not self.tasks)
        if interrupted is not None:
            raise interrupted


class _OnTrio(Children):
    """Starts the children in the nursery of the block's own task: to open one more would take a turn of the loop.

    That nursery cannot close before the children have ended, because the block's task waits for them.
    """

    __slots__ = ("_ended", "_nursery", "tasks")

    def __init__(self) -> None:
        nursery = _trio_task().parent_nursery
        assert nursery is not None  # only trio's own first task has none
        self._nursery = nursery
        self.tasks: set[Scope] = set()
        self._ended: anyio.Event | None = None

    def start(self, func: Callable[[], Coroutine[Any, Any, None]]) -> None:
        scope = cancel_scope()
        self.tasks.add(scope)
        self._nursery.start_soon(self._run, func, scope)

    async def _run(self, func: Callable[[], Coroutine[Any, Any, None]], scope: Scope) -> None:
        try:
            with scope:
                await _guarded(func)
        finally:
            self.tasks.remove(scope)
            if self._ended is not None and not self.tasks:
                self._ended.set()

    async def end(self) -> None:
        while self.tasks:
            for scope in self.tasks:
                scope.cancel()
            self._ended = anyio.Event()
            with anyio.CancelScope(shield=True):
                await self._ended.wait()


def _trio_task() -> trio.lowlevel.Task:
    import trio.lowlevel

    return trio.lowlevel.current_task()
