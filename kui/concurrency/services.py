"""An app's life as tasks: one task that starts, waits and winds down, and services beside it.

What is called when, and which messages a server sends for it, is kui/lifespan.py's business.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel

from .cleanup import GRACE
from .stray import strays_fail

__all__ = ["Life", "Services", "alive", "split_cancelled", "stepwise", "wait_until"]

T = TypeVar("T")

LOOK_EVERY: Final = 0.01
"""Seconds between two looks of `wait_until`."""


async def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until `holds()` is true, for `seconds` at most; return whether it is.

    For what is rarely waited for, and must cost nothing where it changes: it is asked 100 times a second.
    """
    with anyio.move_on_after(seconds):
        while not holds():  # noqa: ASYNC110 - an event would burden all code that changes it
            await anyio.sleep(LOOK_EVERY)
    return holds()


def split_cancelled(
    error: BaseException,
) -> tuple[Exception | None, BaseException | None]:
    """Return what failed, and what of the error has to be raised on: Cancelled, or something that is no failure.

    The first is None if a group holds nothing but Cancelled, or something that is no failure, such as
    KeyboardInterrupt; the second is None if all of it is a failure.
    """
    if isinstance(error, Exception):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        cancelled, rest = error.split(anyio.get_cancelled_exc_class())
        if isinstance(rest, Exception) and cancelled is not None:
            return rest, cancelled
    return None, error


@types.coroutine
def stepwise(
    run: Callable[[Callable[[Any], Any], Any], Any], work: Coroutine[Any, Any, T]
) -> Generator[Any, Any, T]:
    """Await `work`, each step of it by `run(step, value)`, and return its result; `context.run` is such a `run`."""
    try:
        trap = run(work.send, None)
        while True:
            try:
                value = yield trap
            except BaseException as error:  # it is for `work` to handle
                trap = run(work.throw, error)
            else:
                trap = run(work.send, value)
    except StopIteration as stop:
        result: T = stop.value
        return result


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
    """The task group of the app, `app.task_group`: what runs in it lives as long as the app does.

    A service that is started while the app serves gets the context of the app's start-up, not that
    of the request it was started from. When one raises, the app goes down; when one returns, that
    is all right. All are cancelled after `on_shutdown`.

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
        """Start `func(*args)` as a service; returns at once.

        :param name: the name that debuggers show for the task.
        :raises RuntimeError: there is no lifespan, or it is over.
        :raises TypeError: `func(*args)` is no coroutine.
        """
        group = self._open_group()
        coroutine = func(*args)
        if not inspect.iscoroutine(coroutine):
            raise TypeError(f"a service is an async def; {_name(func, None)}() gave {coroutine!r}")
        context = copy_context() if self._context is None else self._context.copy()
        context.run(partial(group.start_soon, self._run, coroutine, name=_name(func, name)))

    async def start(
        self, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any, name: object = None
    ) -> Any:
        """Start `func(*args, task_status=...)`; return what it gives to `task_status.started()`.

        What it raises before that is raised here, and the app stays up. When cancelled before that,
        the service is cancelled too.

        :raises RuntimeError: there is no lifespan, or it is over; or `func` returned unstarted.
        """
        group = self._open_group()
        context = copy_context() if self._context is None else self._context.copy()
        return await stepwise(
            context.run, group.start(self._run_started, func, args, name=_name(func, name))
        )

    def adopt_context(self) -> None:
        """Start services, from now on, in the context that the caller has now."""
        self._context = copy_context()

    async def host(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Keep the group open until `stop`, or until cancelled."""
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
        """Cancel every service, and wait until the last one has ended. May be called again."""
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
            "app.task_group needs a lifespan, and the server has not sent one; services can be"
            " started from `lifespan` or `on_startup` on"
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
        """Await a service; what it raises is a crash, but raised as itself where `status` was not used yet."""
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
    """One life of an app: its main task, seen from the task that talks to the server."""

    def __init__(self) -> None:
        self.started = False
        self.error: Exception | None = None
        """What the main task raised."""
        self._scope = anyio.CancelScope()
        self._settled = anyio.Event()
        self._stop = anyio.Event()
        self._ended = anyio.Event()

    @property
    def overran(self) -> bool:
        """True if the winding down had to be cut off."""
        return self.started and self._scope.cancelled_caught

    @property
    def stopping(self) -> bool:
        """True if the server has asked for the end."""
        return self._stop.is_set()

    async def pause(self) -> None:
        """Called by the main task between start-up and shutdown: returns when it must wind down.

        From here on the server's cancellation does not reach the main task. Cancelled is raised only
        by a scope of the main task's own: a task group open across this call, one of whose tasks failed.
        """
        if self._scope.cancel_called:
            await anyio.lowlevel.checkpoint()
        self._scope.shield = True
        self.started = True
        self._settled.set()
        await self._stop.wait()

    def fail(self) -> None:
        """Give the start-up up. Does nothing once it is complete."""
        if not self.started:
            self._scope.cancel()

    async def run(self, main: Callable[[Life], Awaitable[None]], services: Services) -> None:
        """Run `main(life)` with the services open; keep what it raises."""
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
    """Run `main` from here to the end of the block; it is up, or has failed, when the block begins.

    `main(life)` starts up, awaits `life.pause()`, and winds down, in one task of its own. When the
    block ends, the pause ends, and so does this when `main` has. When the block is left by an
    exception or by cancellation, a start-up is cancelled, and the winding down is after `grace` seconds.
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
