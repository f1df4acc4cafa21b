"""Run one server from start to end: start the app, serve, and stop in stages (docs/guides/deployment.md).

This module uses no sockets; `listening` serves the connections.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypedDict

import anyio
from baize.typing import ASGIApp

from kui.concurrency.lifespan_driver import LifespanDriver
from kui.lifespan import SERVER, WIND_DOWN
from kui.serving.proxies import ForwardedHeaders

from .access import AccessLog
from .binding import CannotServe
from .debug import Debugging
from .root_path import RootPath
from .state import ConnectionLimits

__all__ = [
    "CUT",
    "LAST",
    "Options",
    "Runner",
    "ServeOptions",
    "ShutdownFailed",
    "StartupFailed",
]

CUT: Final = 0.5
"""Seconds from the cancellation of responses until their connections are cut."""
LAST: Final = 10.0
"""Seconds after the graceful time until `kui run` ends the process in any case."""

logger = logging.getLogger("kui.server")
errors = logging.getLogger("kui.error")


_SECONDS: Final = (
    "graceful_timeout",
    "stall_timeout",
    "drain_delay",
    "keep_alive_timeout",
    "head_timeout",
    "body_timeout",
)


class StartupFailed(CannotServe):
    """Raised if the app could not start up. `detail` is its message, `__cause__` its exception, if it raised one."""

    def __init__(self, detail: str) -> None:
        super().__init__("the app could not start up")
        self.detail = detail


class ShutdownFailed(Exception):
    """Raised if the shutdown of the app has failed. `detail` and `__cause__` are as for StartupFailed."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"the app did not shut down cleanly: {detail}")
        self.detail = detail


class ServeOptions(TypedDict, total=False):
    """The options of `kui.serve` that `kui.run` takes as well: the fields of `Options` as keyword arguments."""

    bind: str | Iterable[str]
    root_path: str
    root_path_in_path: bool
    certfile: str | None
    keyfile: str | None
    access_log: bool
    debug: bool
    graceful_timeout: float
    forwarded_allow_ips: str | Iterable[str]
    stall_timeout: float
    drain_delay: float
    websocket_ping_interval: float | None
    keep_alive_timeout: float
    head_timeout: float
    body_timeout: float
    limit_connections: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a server. `kui.serve` documents them."""

    bind: str | Iterable[str] = "127.0.0.1:8000"
    root_path: str = ""
    root_path_in_path: bool = False
    certfile: str | None = None
    keyfile: str | None = None
    access_log: bool = False
    debug: bool = False
    graceful_timeout: float = 3.0
    forwarded_allow_ips: str | Iterable[str] = ()
    stall_timeout: float = 30.0
    drain_delay: float = 0.0
    websocket_ping_interval: float | None = None
    keep_alive_timeout: float = 5.0
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    limit_connections: int | None = None

    def limits(self) -> ConnectionLimits:
        """Return the limits of connections."""
        return ConnectionLimits(
            head=self.head_timeout,
            keep_alive=self.keep_alive_timeout,
            body=self.body_timeout,
            send=self.stall_timeout,
            ping=self.websocket_ping_interval,
            connections=self.limit_connections,
        )

    @property
    def binds(self) -> list[str]:
        """The addresses to listen on."""
        return [self.bind] if isinstance(self.bind, str) else list(self.bind)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return the app with the ASGI wrappers of these options around it."""
        if self.debug:
            app = Debugging(app)
        if self.root_path:
            app = RootPath(app, self.root_path, in_path=self.root_path_in_path)
        if self.access_log:
            app = AccessLog(app)
        if self.forwarded_allow_ips:
            try:
                app = ForwardedHeaders(app, self.forwarded_allow_ips)
            except ValueError as error:
                raise CannotServe(f"forwarded_allow_ips: {error}") from error
        return app

    def __post_init__(self) -> None:
        for name in _SECONDS:
            if not 0 <= getattr(self, name) < float("inf"):
                raise CannotServe(f"{name} is a number of seconds, not {getattr(self, name)!r}")
        if self.debug and self.forwarded_allow_ips:
            raise CannotServe(
                "debug is for this machine alone, and forwarded_allow_ips for a proxy"
            )
        if self.limit_connections is not None and self.limit_connections < 1:
            raise CannotServe("limit_connections is at least 1, or None for no limit")
        if self.websocket_ping_interval is not None and not self.websocket_ping_interval > 0:
            raise CannotServe("websocket_ping_interval is a positive number of seconds")
        if self.root_path and not self.root_path.startswith("/"):
            raise CannotServe(f"root_path begins with a slash: {self.root_path!r} does not")
        if self.root_path_in_path and not self.root_path:
            raise CannotServe("root_path_in_path says where root_path is: give root_path too")


class Runner:
    """One run of a server; it is also the `kui.lifespan.Server` that the app may call.

    `listening`, `stopping` and `over` tell how far the run has come. `error` is the exception that ended it, if any.
    """

    def __init__(
        self, app: ASGIApp, options: Options, on_listening: Callable[[], None] = lambda: None
    ) -> None:
        self.app = app
        self.wrapped = options.wrap(app)
        self._on_listening = on_listening
        self.options = options
        self.addresses: list[str] = []
        self.listening = False
        self.settled = anyio.Event()
        self.stopping = anyio.Event()
        self.over = anyio.Event()
        self.hurried = False
        self.crashed = False
        self.error: Exception | None = None
        self.life = LifespanDriver(app, {}, {SERVER: self}, self._lifespan_crashed)
        self._patience: anyio.CancelScope | None = None
        self._callbacks: list[Callable[[], None]] = []

    async def run(self, connections: Callable[[Runner], Awaitable[None]]) -> None:
        """Start the app, await `connections(self)`, which serves until the stop, and shut the app down.

        Do not cancel this: call `stop`, and `hurry`. It does not raise what the app or a connection raises.
        """
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                group.start_soon(self.life.run, name="kui app lifespan")
                try:
                    await self.life.started.wait()
                    if self._may_serve():
                        await connections(self)
                except Exception as error:
                    self.error = self.error or error
                self.stop()
                await self._shut_down()
        self.settled.set()
        self.over.set()

    def started(self, addresses: list[str]) -> None:
        """Record that the listeners accept connections. Called by `connections`."""
        self.addresses = addresses
        self.listening = True
        for address in addresses:
            logger.info("Listening on %s", address)
        self.settled.set()
        self._on_listening()

    def stop(self) -> None:
        """Begin to stop: tell the app at once; the other stages follow. May be called again."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        if not self.life.started.is_set():
            logger.info("Stopping before the app has started up")
            self.life.cancel()
        for callback in self._callbacks:
            callback()

    def interrupt(self) -> None:
        """Stop because of a signal, or hurry if the server is stopping already."""
        if self.stopping.is_set():
            self.hurry()
        self.stop()

    def hurry(self) -> None:
        """From now on, wait for nothing that can be cancelled."""
        self.hurried = True
        if self._patience is not None:
            self._patience.cancel()

    async def patiently(self, seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
        """Await `wait()` for at most `seconds`; less after `hurry`."""
        if self.hurried:
            return
        with anyio.move_on_after(seconds) as self._patience:
            await wait()

    async def until_closing(self) -> None:
        """Wait until the listeners must be closed: until `stop` was called and the drain delay is over."""
        await self.stopping.wait()
        await self.patiently(self.options.drain_delay, anyio.sleep_forever)

    def on_exit(self, callback: Callable[[], None]) -> None:
        """Call `callback()` when the server begins to stop (`kui.lifespan.Server`)."""
        self._callbacks.append(callback)

    def service_crashed(self, error: Exception) -> None:
        """Stop, and end with `error` (`kui.lifespan.Server`)."""
        self.crashed = True
        self.error = self.error or error
        self.stop()

    # ---- the app's lifespan

    def _may_serve(self) -> bool:
        """True if the app has started or has no lifespan, and `stop` was not called meanwhile."""
        if self.life.refusal("startup") is not None or self.stopping.is_set():
            return False
        if self.life.error is not None:
            logger.warning("The app has no lifespan, which is all right: %r", self.life.error)
        return True

    async def _shut_down(self) -> None:
        """Tell the app to shut down, and wait until it has. After `hurry`, the time is bounded."""
        life = self.life
        was_up = life.up
        if not was_up:
            life.cancel()
        life.ask_to_stop()
        with anyio.move_on_after(WIND_DOWN if self.hurried else None):
            await life.stopped.wait()
        life.cancel()
        await life.ended.wait()
        failure: Exception | None = None
        refusal = life.refusal("startup")
        if refusal is not None:
            failure = StartupFailed(refusal)
        elif was_up and life.failure("shutdown") is not None:
            failure = ShutdownFailed(life.refusal("shutdown") or repr(life.error))
        if failure is not None:
            failure.__cause__ = life.error
        self.error = self.error or failure

    def _lifespan_crashed(self, error: Exception) -> None:
        errors.error("The app's lifespan failed, and the server goes down", exc_info=error)
        self.service_crashed(error)
