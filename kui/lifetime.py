"""Per-connection exit stack and background tasks, and `lifetime_of`, which cleans up after the work of a connection.

Requests and WebSockets derive from `ConnectionLifetime`. `request_cycle` and `websockets/session` have the work.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

from .argument_checks import describe
from .concurrency import call, shielded, strays_fail
from .habits import BackgroundHabits

__all__ = ["BackgroundTasks", "ConnectionLifetime", "lifetime_of"]

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound="ConnectionLifetime")

logger = logging.getLogger("kui.error")


class BackgroundTasks(BackgroundHabits):
    """The functions that run after the response was sent: `request.background_tasks`.

    They run one after another, in the order in which they were appended, also if the client has left or the response
    has failed. Only a cancellation from outside (the server stops) ends them. If one raises, `kui.error` logs the
    exception, and the next one runs.

    Example::

        request.background_tasks.append(send_mail, "ann@example.com", subject="Hello")
    """

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: list[partial[Any]] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def append(self, func: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Add `func(*args, **kwargs)`. An `async def` is awaited, a `def` runs in a worker thread.

        :raises TypeError: `func` is not callable.
        """
        if not callable(func):
            raise TypeError(f"a background task is a function and its arguments, not {func!r}")
        self._tasks.append(partial(func, *args, **kwargs))

    async def run(self) -> None:
        """Run each task once, also those that a task appends meanwhile."""
        while self._tasks:
            task = self._tasks.pop(0)
            try:
                with strays_fail:
                    await call(task)
            except Exception:
                logger.exception("A background task failed: %s", describe(task.func))


class Closing(Protocol):
    """Dependencies that must be left in the task that has entered them; see `kui.parameters.entering.Resolution`."""

    async def close(self, error: BaseException | None) -> None:
        """Leave them.

        :param error: the exception that has ended the work, if any; it is raised again, or another in its place.
        """
        ...

    async def close_sent(self, error: BaseException | None) -> None:
        """Do what `close` does, after the response was sent."""
        ...


class ConnectionLifetime:
    """The exit stack and the background tasks of one connection, and the cleanup at its end."""

    # Class attributes, because only few connections set them on the instance.
    _exit_stack: AsyncExitStack | None = None
    _background_tasks: BackgroundTasks | None = None

    lasting_resolution: Closing | None = None
    """The declared dependencies with `until="sent"`. They are left before the exit stack."""

    lasting: bool = False
    """True if `finish` has something to do."""

    failure: Exception | None = None
    """The exception of the handler if it was answered, or None. The exit stack gets it."""

    @property
    def background_tasks(self) -> BackgroundTasks:
        """The functions that run after the response: `request.background_tasks.append(func, *args)`."""
        if self._background_tasks is None:
            self._background_tasks = BackgroundTasks()
            self.lasting = True
        return self._background_tasks

    @property
    def exit_stack(self) -> AsyncExitStack:
        """A stack of context managers, which are left after the body was sent.

        They get the handler's exception. If the request is cancelled, they are still left, within 5 seconds.

        Example: `file = await request.exit_stack.enter_async_context(open_it())`.
        """
        if self._exit_stack is None:
            self._exit_stack = AsyncExitStack()
            self.lasting = True
        return self._exit_stack

    async def close(self) -> None:
        """Close what the connection itself has opened. May be called again."""

    async def settle(self) -> None:
        """Drop the server's `receive` and `send`. May be called again."""
        settling = self.release()
        if settling is not None:
            await settling

    def release(self) -> Awaitable[None] | None:
        """Drop the server's `receive` and `send`. Return an awaitable if that must wait, otherwise None."""
        return None

    async def finish(self, failed: Exception | None) -> None:
        """Leave what was entered, run the background tasks, and close. If cancelled, the caller must call `abandon`.

        :param failed: the exception of the handler, if any.
        :raises Exception: what a context manager raises.
        """
        try:
            try:
                resolution, self.lasting_resolution = self.lasting_resolution, None
                if resolution is not None:
                    await resolution.close_sent(failed)
            finally:
                await self._leave(failed)
        finally:
            if self._background_tasks is not None:
                await self._background_tasks.run()
            await self.close()

    async def abandon(self, cancelled: BaseException) -> None:
        """Leave what was entered, and close, after a cancellation, within 5 s."""
        resolution, self.lasting_resolution = self.lasting_resolution, None
        try:
            # Without a scope around it, because it may hold scopes open itself.
            if resolution is not None:
                await resolution.close(cancelled)
        finally:
            with shielded(what=f"The cleanup of {self!r}"):
                try:
                    await self._leave(cancelled)
                finally:
                    await self.close()

    async def _leave(self, exc: BaseException | None) -> None:
        stack, self._exit_stack = self._exit_stack, None
        if stack is None:
            return
        with strays_fail:
            if exc is None:
                await stack.aclose()
            else:
                await stack.__aexit__(type(exc), exc, exc.__traceback__)


async def lifetime_of(connection: C, current: ContextVar[C], work: Awaitable[T]) -> T:
    """Await the work of a connection, clean the connection up, and return the result of `work`.

    After the work, context managers are left, background tasks run, and what was opened is closed (`finish`; `abandon`
    if the work was cancelled). Then the connection is settled, and the variable is reset. The exit stack gets the
    connection's `failure`, or else the exception of the work.

    :param connection: a request or a WebSocket.
    :param current: the context variable that holds the connection meanwhile.
    :raises Exception: what the work raises, or what a context manager raises when it is left.

    Example: `await lifetime_of(request, request_var, answer(request))`.
    """
    token = current.set(connection)
    try:
        try:
            result = await work
        except BaseException as error:
            if connection.lasting:
                await _clean_up(connection, error)
            raise
        if connection.lasting:
            await _clean_up(connection, None)
        return result
    finally:
        connection.failure = None  # its traceback holds frames that hold the connection
        try:
            settling = connection.release()
            if settling is not None:
                await settling
        finally:
            current.reset(token)


async def _clean_up(connection: ConnectionLifetime, error: BaseException | None) -> None:
    if error is None or isinstance(error, Exception):
        try:
            await connection.finish(connection.failure or error)
        except BaseException as second:
            await connection.abandon(second)
            raise
    else:
        await connection.abandon(error)
