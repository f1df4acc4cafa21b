"""What lasts as long as a connection, and ends with it: context managers, and tasks after the response.

The connection is still the current one while they end. `Kui` and `websockets/session` say when that is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from typing import Any, ParamSpec

from .concurrency import in_thread, shielded

__all__ = ["BackgroundTasks", "Lasting"]

P = ParamSpec("P")

logger = logging.getLogger("kui.error")


class BackgroundTasks:
    """The functions that run once the response has been sent: `request.background_tasks`.

    They run one after another, in the order in which they were appended, whatever became of the
    response; only a cancellation from outside (the server stops) ends them. One that raises is
    logged by `kui.error`, and the next one runs.

    Example::

        request.background_tasks.append(send_mail, "ann@example.com", subject="Hello")
    """

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: list[Callable[[], Any]] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def append(self, func: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Add `func(*args, **kwargs)`; an `async def` is awaited, a `def` runs in a worker thread."""
        if not callable(func):
            raise TypeError(f"a background task is a function and its arguments, not {func!r}")
        self._tasks.append(partial(func, *args, **kwargs))

    async def run(self) -> None:
        """Run what was appended, also what a task appends meanwhile; each runs once."""
        while self._tasks:
            task = self._tasks.pop(0)
            try:
                await _call(task)
            except Exception:
                logger.exception("A background task failed: %r", task)


async def _call(task: Callable[[], Any]) -> None:
    result = task() if iscoroutinefunction(task) else await in_thread(task)
    if isawaitable(result):
        await result


class Lasting:
    """A connection, as far as something lasts as long as it does."""

    # Set on the instance by the few connections that use them (rule 6).
    _exit_stack: AsyncExitStack | None = None
    _background_tasks: BackgroundTasks | None = None

    lasting: bool = False
    """Whether there is anything to `finish`."""

    @property
    def background_tasks(self) -> BackgroundTasks:
        """What runs after the response: `request.background_tasks.append(func, *args)`."""
        if self._background_tasks is None:
            self._background_tasks = BackgroundTasks()
            self.lasting = True
        return self._background_tasks

    @property
    def exit_stack(self) -> AsyncExitStack:
        """Context managers entered here are left once the body has been sent.

        They are told of the handler's exception, and left, for a bounded time, under
        cancellation too.

        Example: `file = await request.exit_stack.enter_async_context(open_it())`.
        """
        if self._exit_stack is None:
            self._exit_stack = AsyncExitStack()
            self.lasting = True
        return self._exit_stack

    async def close(self) -> None:
        """Close what the connection itself has opened. May be called any number of times."""

    async def finish(self, failed: Exception | None) -> None:
        """Leave what was entered, run the background tasks, close; `failed` is what the handler raised.

        Raises what a context manager raises. Cancelled, it goes no further: see `abandon`.
        """
        try:
            await self._leave(failed)
        finally:
            if self._background_tasks is not None:
                await self._background_tasks.run()
            await self.close()

    async def abandon(self, cancelled: BaseException) -> None:
        """Leave what was entered, and close, although the connection is cancelled; for 5 s at most."""
        with shielded() as scope:
            try:
                await self._leave(cancelled)
            finally:
                await self.close()
        if scope.cancelled_caught:
            logger.error("The cleanup of %r took too long and was cut off", self)

    async def _leave(self, exc: BaseException | None) -> None:
        stack, self._exit_stack = self._exit_stack, None
        if stack is None:
            return
        if exc is None:
            await stack.aclose()
        else:
            await stack.__aexit__(type(exc), exc, exc.__traceback__)
