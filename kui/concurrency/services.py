"""The tasks of an app's lifespan: one main task that starts up, waits and shuts down, and the app's services.

`kui/lifespan.py` defines which callbacks the main task calls, and answers the server's messages.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final

import anyio
import anyio.abc
import anyio.lowlevel

from .cleanup import GRACE
from .stray import strays_fail
from .waits import stepwise

__all__ = ["Life", "Services", "alive", "split_cancelled", "wait_until"]

LOOK_EVERY: Final = 0.01
"""Seconds between two looks of `wait_until`."""


async def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until `holds()` is true, for at most `seconds`. Return True if it is.

    `holds` is called 100 times a second: use this for rare waits on a condition whose changes must cost nothing.
    """
    with anyio.move_on_after(seconds):
        while not holds():  # noqa: ASYNC110 - an event would burden all code that changes it
            await anyio.sleep(LOOK_EVERY)
    return holds()


def split_cancelled(
    error: BaseException,
) -> tuple[Exception | None, BaseException | None]:
    """Split an exception into the failure and the part that the caller must raise again.

    The first is an Exception, or None if there is none to handle: the error is a cancellation, or holds something such
    as KeyboardInterrupt. The second is the cancellations of a group, or the whole error if the first is None; it is
    None if `error` is an Exception.
    """
    if isinstance(error, Exception):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        cancelled, rest = error.split(anyio.get_cancelled_exc_class())
        if isinstance(rest, Exception) and cancelled is not None:
            return rest, cancelled
    return None, error


class _Status:
    """A task status that knows whether it was used."""

    __slots__ = ("_inner", "used")

    def __init__(self, inner: anyio.abc.TaskStatus[Any]) -> None:
        self._inner = inner
        self.used = False

    def started(self, value: Any = None) -> None:
        self._inner.started(value)
        self.used = True


def _name(func: object, name: object) -> str:
    if name is not None:
        return str(name)
    return f"{getattr(func, '__module__', '')}.{getattr(func, '__qualname__', repr(func))}"


class Services:
    """The task group of the app, `app.task_group`. Its tasks (services) may run as long as the app does.

    A service that is started while the app serves gets the context of the app's start-up, not that of the request
    from which it was started. A service may return at any time. If a service raises, the app is stopped. All services
    are cancelled after `on_shutdown`.

    Example::

        @app.on_startup
        async def start(app):
            app.task_group.start_soon(poll_the_feed, 30)
    """

    __slots__ = ("_context", "_ended", "_group", "_on_crash")

    def __init__(self, on_crash: Callable[[Exception], None]) -> None:
        self._on_crash = on_crash
        self._group: anyio.abc.TaskGroup | None = None
        self._context: Context | None = None
        self._ended: anyio.Event | None = None

    def start_soon(
        self, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any, name: object = None
    ) -> None:
        """Start `func(*args)` as a service, and return at once.

        :param name: the name that debuggers show for the task; by default that of the function.
        :raises RuntimeError: there is no lifespan, or the lifespan is over.
        :raises TypeError: `func` is a coroutine, or `func(*args)` did not return one.
        """
        group = self._open_group()
        if inspect.iscoroutine(func):
            func.close()
            raise TypeError(f"a service is a function and its arguments, not {func!r}")
        coroutine = func(*args)
        if not inspect.iscoroutine(coroutine):
            raise TypeError(
                f"a service is an async def; {_name(func, None)}() returned {coroutine!r}"
            )
        context = copy_context() if self._context is None else self._context.copy()
        context.run(partial(group.start_soon, self._run, coroutine, name=_name(func, name)))

    async def start(
        self, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any, name: object = None
    ) -> Any:
        """Start `func(*args, task_status=...)` as a service and wait until it calls `task_status.started(value)`.

        Return `value`. If the caller is cancelled before that call, the service is cancelled too.

        :param name: the name that debuggers show for the task; by default that of the function.
        :raises RuntimeError: there is no lifespan, or the lifespan is over, or `func` has returned without calling
            `task_status.started()`.
        :raises Exception: what `func` has raised before that call; the app stays up.
        """
        group = self._open_group()
        context = copy_context() if self._context is None else self._context.copy()
        return await stepwise(
            context.run, group.start(self._run_started, func, args, name=_name(func, name))
        )

    def adopt_context(self) -> None:
        """From now on, start services in a copy of the caller's present context."""
        self._context = copy_context()

    async def host(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Keep the group open until `stop` is called or this task is cancelled."""
        self._ended = anyio.Event()
        self._context = None
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                task_status.started()
                await anyio.sleep_forever()
        finally:
            self._group = None
            self._ended.set()

    async def stop(self) -> None:
        """Cancel all services, and wait until they have ended. May be called again."""
        if self._group is not None:
            self._group.cancel_scope.cancel()
            self._group = None
        if self._ended is not None:
            await self._ended.wait()

    def _open_group(self) -> anyio.abc.TaskGroup:
        if self._group is not None:
            return self._group
        if self._ended is not None:
            raise RuntimeError("app.task_group is closed: the app's lifespan is over")
        raise RuntimeError(
            "app.task_group needs a lifespan, which the server has not begun: start services in"
            " `lifespan` or `on_startup`, or later"
        )

    async def _run_started(
        self,
        func: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        *,
        task_status: anyio.abc.TaskStatus[Any],
    ) -> None:
        status = _Status(task_status)
        await self._run(func(*args, task_status=status), status)

    async def _run(self, service: Awaitable[Any], status: _Status | None = None) -> None:
        """Await a service, and report what it raises as a crash; raise it if `status` was given and not yet used."""
        try:
            with strays_fail:
                await service
        except (Exception, BaseExceptionGroup) as error:
            failed, rest = split_cancelled(error)
            if failed is None or (status is not None and not status.used):
                raise
            self._on_crash(failed)
            if rest is not None:
                raise rest from None


class Life:
    """One run of an app's main task, as the task that answers the server's lifespan messages sees it.

    `started` is True once the start-up is complete.
    """

    def __init__(self) -> None:
        self.started = False
        self.error: Exception | None = None
        """The exception that the main task has raised, or None."""
        self._scope = anyio.CancelScope()
        self._settled = anyio.Event()
        self._stop = anyio.Event()
        self._ended = anyio.Event()

    @property
    def overran(self) -> bool:
        """True if the shutdown overran its time and was cancelled."""
        return self.started and self._scope.cancelled_caught

    @property
    def stopping(self) -> bool:
        """True if the server has asked the app to shut down."""
        return self._stop.is_set()

    async def pause(self) -> None:
        """Wait, between start-up and shutdown, until the app must shut down. Called by the main task.

        From this call on the server's cancellation does not reach the main task. Cancelled is raised only if a scope
        of the main task's own is cancelled, such as a task group open around this call in which a task has failed.
        """
        if self._scope.cancel_called:
            await anyio.lowlevel.checkpoint()
        self._scope.shield = True
        self.started = True
        self._settled.set()
        await self._stop.wait()

    def fail(self) -> None:
        """Cancel the start-up. Does nothing once it is complete."""
        if not self.started:
            self._scope.cancel()

    async def run(self, main: Callable[[Life], Awaitable[None]], services: Services) -> None:
        """Run `main(life)` while services may run; keep the exception that it raises as `error`."""
        try:
            with self._scope:
                async with anyio.create_task_group() as group:
                    await group.start(services.host)
                    try:
                        await main(self)
                    except Exception as error:
                        self.error = error
                    finally:
                        with anyio.CancelScope(shield=True):
                            await services.stop()
        finally:
            self._settled.set()
            self._ended.set()

    def _finish(self, grace: float | None) -> None:
        self._stop.set()
        if grace is not None:
            self.fail()
            self._scope.deadline = anyio.current_time() + grace


@asynccontextmanager
async def alive(
    main: Callable[[Life], Awaitable[None]], services: Services, grace: float = GRACE
) -> AsyncIterator[Life]:
    """Run `main` in a task of its own until the end of the block. Its start-up is over when the block begins.

    `main(life)` must start up, await `life.pause()`, and shut down. The end of the block ends the pause, and then waits
    until `main` has ended. If an exception or a cancellation leaves the block, a start-up that is still running is
    cancelled at once, and a shutdown after `grace` seconds.

    :param grace: seconds for the shutdown after an exception or a cancellation.
    """
    life = Life()
    async with anyio.create_task_group() as group:
        group.start_soon(life.run, main, services, name="kui lifespan")
        limit: float | None = grace
        try:
            await life._settled.wait()
            yield life
            limit = None
        finally:
            life._finish(limit)
            with anyio.CancelScope(shield=True):
                await life._ended.wait()
