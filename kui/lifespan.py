"""The lifespan of an app: start-up, services, shutdown, and the answers to the server.

`Kui` owns one `Lifespan`, which serves all its lifespan scopes. `kui/concurrency/services.py` has the tasks.
"""

from __future__ import annotations

import inspect
import logging
import os
import signal
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from contextvars import ContextVar
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from baize.typing import Receive, Scope, Send

from .argument_checks import describe, function_of, list_of_functions
from .concurrency.cleanup import GRACE, shielded
from .concurrency.services import Life, Services, alive, wait_until
from .concurrency.signals import ExitSignal, chained_signals
from .concurrency.stray import strays_fail

__all__ = ["DEBUG", "SERVER", "Callbacks", "Lifespan", "LifespanFunction", "Server", "workers"]

F = TypeVar("F", bound=Callable[..., Any])
LifespanFunction: TypeAlias = Callable[
    [Any], AsyncGenerator[Any, None] | AbstractAsyncContextManager[Any]
]

SERVER: Final = "kui.server"
"""The key in `scope["extensions"]` of a lifespan scope under which a server may offer a `Server`."""
workers: Final[ContextVar[int]] = ContextVar("kui.workers", default=1)
"""How many processes serve the app, if the server has said so."""
DEBUG: Final = "kui.debug"
"""The key in the extensions of a request's scope with which `kui run --debug` asks for tracebacks."""
DRAIN: Final = 1.0
"""Seconds for responses to end by themselves once the app must stop."""
WIND_DOWN: Final = DRAIN + 2 * GRACE
"""Seconds for a shutdown after the server has cancelled the app: for responses, their cleanup and `on_shutdown`."""

logger = logging.getLogger("kui.error")


class Server(Protocol):
    """The interface that a server such as `kui run` offers to the app: `scope["extensions"][SERVER]`."""

    def on_exit(self, callback: Callable[[], None]) -> None:
        """Call `callback()` in the event loop as soon as the server is told to stop."""

    def service_crashed(self, error: Exception) -> None:
        """Stop, and end with an exit status that reports a failure, because a service of the app has failed.

        The app has logged `error` already.
        """


class Counting(Protocol):
    """An app that counts its requests."""

    @property
    def in_flight(self) -> int:
        """How many requests and WebSockets are served now."""


class Callbacks(list[Callable[[Any], Any]]):
    """A list of functions that accept the app, and a decorator that appends to the list.

    Example::

        @app.on_startup
        async def connect(app):
            app.state.pool = await open_pool()
    """

    def __init__(self, name: str, functions: Iterable[Callable[[Any], Any]] = ()) -> None:
        super().__init__()
        self.name = name
        for function in list_of_functions(name, functions):
            self(function)

    def __call__(self, func: F) -> F:
        """Append a function.

        :raises TypeError: it cannot be called with exactly one argument, or it yields.
        """
        self.append(function_of("the app", f"what is listed in {self.name}", func))
        if inspect.isasyncgenfunction(func) or inspect.isgeneratorfunction(func):
            raise TypeError(
                f"{describe(func)} yields, so that calling it does nothing: write "
                f"Kui(lifespan={func.__name__})"
            )
        return func


def _checked_lifespan(lifespan: LifespanFunction) -> None:
    """Check that `lifespan` may be a lifespan function.

    :raises TypeError: it does not yield, or is a `def` that yields.
    """
    function_of("the app", "lifespan", lifespan)
    if inspect.iscoroutinefunction(lifespan):
        raise TypeError(
            f"{describe(lifespan)} does not yield: write yield where the app serves, or "
            f"Kui(on_startup=[{lifespan.__name__}])"
        )
    if inspect.isgeneratorfunction(lifespan):
        raise TypeError(f"{describe(lifespan)} is a def: write async def")


class Lifespan:
    """Starts the app and shuts it down.

    At start-up, in this order:

    1. the task group is opened;
    2. the `resources` are entered in order, then the dependencies with `scope="app"`;
    3. `lifespan` runs to its `yield`, then mounted apps are started;
    4. `on_startup` is called, in order.

    At shutdown:

    1. `should_exit` becomes True, and requests in flight have the time of the drain and of a cleanup to end;
    2. `on_shutdown` is called in reverse order; if one raises, the others are still called;
    3. the services are cancelled, and mounted apps are stopped;
    4. `lifespan` runs to its end, and the resources are left in reverse order.

    All of it runs in one task, so that a task group may be open across the `yield`.

    :param app: counts its requests in `app.in_flight`.
    :param on_startup: functions that accept the app, `async def` or `def` (which runs in the event loop); so is
        `on_shutdown`.
    :param lifespan: an async generator function of the app that yields once, or a function of the app that returns an
        async context manager.
    :param resources: async context managers.
    :param handle_signals: True to learn of the stop from the server's signal handlers (`chained_signals`) if the server
        offers no `Server`.
    :param shared: returns the context manager of the dependencies with `scope="app"`.
    :param mounted: returns the context manager that runs the mounted apps. This object is their `Server`.
    """

    def __init__(
        self,
        app: Counting,
        *,
        on_startup: Iterable[Callable[[Any], Any]] = (),
        on_shutdown: Iterable[Callable[[Any], Any]] = (),
        lifespan: LifespanFunction | None = None,
        resources: Iterable[AbstractAsyncContextManager[Any]] = (),
        handle_signals: bool = True,
        shared: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
        mounted: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        self.app = app
        self.shared = shared
        self.mounted = mounted
        self.on_startup = Callbacks("on_startup", on_startup)
        self.on_shutdown = Callbacks("on_shutdown", on_shutdown)
        if lifespan is not None:
            _checked_lifespan(lifespan)
        self.lifespan = lifespan
        self.resources = _context_managers(resources)
        self.handle_signals = handle_signals
        self.exit = ExitSignal()
        self.services = Services(self._service_crashed)
        self.crashed: Exception | None = None
        """The exception of the first service that has failed, or None. If there is one, the app answers 503."""
        self._life: Life | None = None
        self._server: Server | None = None
        self._failures: list[Exception] = []

    @property
    def alive(self) -> bool:
        """True if the app has started, or is starting, and has not ended."""
        return self._life is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one lifespan scope.

        If the start-up fails, `lifespan.startup.failed` is sent with the traceback, and the exception is raised. If a
        service or the shutdown fails, the exception is logged by `kui.error`, because not all servers show it;
        `lifespan.shutdown.failed` is sent, and the exception is raised. If the server cancels this instead of sending
        `lifespan.shutdown`, the app is still shut down, within 11 seconds.
        """
        if self._life is not None:
            raise RuntimeError("this app is alive already: one lifespan at a time")
        await receive()
        self.exit.clear()
        self.crashed = None
        self._failures = []
        self._server = (scope.get("extensions") or {}).get(SERVER)
        if self._server is not None:
            self._server.on_exit(self.exit.set)
        chained = self.handle_signals and self._server is None
        try:
            with chained_signals(self.exit.set) if chained else nullcontext():
                async with alive(self._main, self.services, WIND_DOWN) as life:
                    if life.started:
                        await send({"type": "lifespan.startup.complete"})
                        await receive()
        finally:
            if self._life is not None and self._life.overran:
                logger.error("The shutdown took longer than %g s and was cut off", WIND_DOWN)
            self._life = None
        if not life.started:
            failure = life.error or self.crashed or RuntimeError("the start-up was cancelled")
            await send({"type": "lifespan.startup.failed", "message": _describe(failure)})
            raise failure
        if life.error is not None and life.error is not self.crashed:
            self._failed_to_stop(life.error)
        failures = [self.crashed] if self.crashed is not None else self._failures
        if not failures:
            await send({"type": "lifespan.shutdown.complete"})
            return
        message = "; ".join(map(repr, failures))
        await send({"type": "lifespan.shutdown.failed", "message": message})
        raise failures[0]

    async def _main(self, life: Life) -> None:
        self._life = life
        try:
            with strays_fail:
                async with (
                    self._entered(),
                    self.shared(),
                    self._open_lifespan(),
                    self.mounted(),
                ):
                    await self._live(life)
        except Exception as error:
            if life.started and not life.stopping:
                self._service_crashed(error)
            raise
        if not life.stopping:
            self._service_crashed(RuntimeError("the lifespan ended before the server did"))

    async def _live(self, life: Life) -> None:
        for callback in self.on_startup:
            await _call(callback, self.app)
        self.services.adopt_context()
        try:
            await life.pause()
        except BaseException:  # Cancelled by a scope that the user's lifespan holds open
            self.exit.set()
            with shielded(WIND_DOWN):
                await self._wind_down()
            raise
        await self._wind_down()

    async def _wind_down(self) -> None:
        self.exit.set()
        await wait_until(lambda: not self.app.in_flight, DRAIN + GRACE)
        for callback in reversed(self.on_shutdown):
            try:
                await _call(callback, self.app)
            except Exception as error:
                self._failed_to_stop(error)
        await self.services.stop()

    @asynccontextmanager
    async def _entered(self) -> AsyncIterator[None]:
        """A block in which the resources are entered."""
        async with AsyncExitStack() as stack:
            for resource in self.resources:
                await stack.enter_async_context(resource)
            yield

    def _open_lifespan(self) -> AbstractAsyncContextManager[Any]:
        if self.lifespan is None:
            return nullcontext()
        opened = self.lifespan(self.app)
        if inspect.isasyncgen(opened):
            return asynccontextmanager(lambda: opened)()
        if isinstance(opened, AbstractAsyncContextManager):
            return opened
        raise TypeError(
            f"lifespan= is an async generator function of the app, or a function of it that"
            f" returns an async context manager; it returned {opened!r}"
        )

    def _failed_to_stop(self, error: Exception) -> None:
        logger.error("The shutdown failed in part", exc_info=error)
        self._failures.append(error)

    def _service_crashed(self, error: Exception) -> None:
        life = self._life
        first = self.crashed is None
        self.crashed = self.crashed or error
        if life is not None and not life.started:
            life.fail()
            return
        logger.error("A service crashed, and the app goes down with it", exc_info=error)
        self.exit.set()
        if first and life is not None and not life.stopping:
            self.service_crashed(error)

    # ---- what a server offers, to the apps that are mounted in this one

    def on_exit(self, callback: Callable[[], None]) -> None:
        """Call `callback()` when this app must stop."""
        self.exit.listen(callback)

    def service_crashed(self, error: Exception) -> None:
        """Ask the server, or if it offers no `Server`, the process to stop. The failure was logged."""
        if self._server is not None:
            self._server.service_crashed(error)
        else:
            os.kill(os.getpid(), signal.SIGTERM)


async def _call(callback: Callable[[Any], Any], app: object) -> None:
    with strays_fail:
        result = callback(app)
        if inspect.isawaitable(result):
            await result


def _describe(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


def _context_managers(resources: Iterable[Any]) -> tuple[AbstractAsyncContextManager[Any], ...]:
    """Return `resources` as a tuple.

    :raises TypeError: one is no async context manager, or there is no list around it.
    """
    if isinstance(resources, (AbstractAsyncContextManager, str)):
        raise TypeError(f"resources are a list: write [...] around {resources!r}")
    found = tuple(resources)
    for resource in found:
        if not isinstance(resource, AbstractAsyncContextManager):
            raise TypeError(
                f"a resource is an async context manager, such as Channels(), not {resource!r}"
            )
    return found
