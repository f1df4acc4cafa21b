"""Per-connection exit stack and background tasks, and what a connection's work is done in: `lifetime_of`.

Requests and WebSockets derive from `ConnectionLifetime`. What is done within the block is in `request_cycle` and
in `websockets/session`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from typing import Any, ParamSpec, Protocol, TypeVar

from .concurrency import in_thread, shielded, strays_fail

__all__ = ["BackgroundTasks", "ConnectionLifetime", "lifetime_of"]

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound="ConnectionLifetime")

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
                with strays_fail:
                    await _call(task)
            except Exception:
                logger.exception("A background task failed: %r", task)


async def _call(task: Callable[[], Any]) -> None:
    result = task() if iscoroutinefunction(task) else await in_thread(task)
    if isawaitable(result):
        await result


class Closing(Protocol):
    """What is left in the task that has entered it, with scopes of its own: see `parameters`."""

    async def close(self, error: BaseException | None) -> None:
        """Leave it; raise `error`, or what has come in its place."""
        ...

    async def close_sent(self, error: BaseException | None) -> None:
        """Do as `close`, after the answer was sent."""
        ...


class ConnectionLifetime:
    """What lasts as long as a connection: its context managers, its background tasks, what it has opened."""

    # Set on the instance by the few connections that use them.
    _exit_stack: AsyncExitStack | None = None
    _background_tasks: BackgroundTasks | None = None

    lasting_resolution: Closing | None = None
    """The declared dependencies that last until the answer is sent; they are left before all else."""

    lasting: bool = False
    """True if `finish` has anything to do."""

    failure: Exception | None = None
    """What the handler has raised, if that was answered: the exit stack is told of it."""

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

        They are told of the handler's exception. Under cancellation they are left too, in at most 5 seconds.

        Example: `file = await request.exit_stack.enter_async_context(open_it())`.
        """
        if self._exit_stack is None:
            self._exit_stack = AsyncExitStack()
            self.lasting = True
        return self._exit_stack

    async def close(self) -> None:
        """Close what the connection itself has opened. May be called any number of times."""

    async def settle(self) -> None:
        """Let go of the server's `receive` and `send`. May be called any number of times."""
        settling = self.release()
        if settling is not None:
            await settling

    def release(self) -> Awaitable[None] | None:
        """Let go of the server's `receive` and `send`; return what must be awaited for it, mostly None."""
        return None

    async def finish(self, failed: Exception | None) -> None:
        """Leave what was entered, run the background tasks, close; `failed` is what the handler raised.

        Raises what a context manager raises. Cancelled, it goes no further: see `abandon`.
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
        """Leave what was entered, and close, although the connection is cancelled; for 5 s at most."""
        resolution, self.lasting_resolution = self.lasting_resolution, None
        try:
            if resolution is not None:  # in no scope: it may have scopes open itself
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
    """Await `work` as that of a connection, clean the connection up, and return what `work` has returned.

    :param connection: a request or a WebSocket.
    :param current: the context variable that holds it meanwhile.

    At the end of the work, in this order: what was entered is left, background tasks run, what was opened is
    closed (`finish`, or `abandon` if the work was cancelled); the connection is settled; the variable is reset.
    The exit stack is told of the connection's `failure`, or else of what the work raises.

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
