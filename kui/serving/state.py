"""The state that all connections of one server share: the app, the limits, the ticker, the stage of a stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVarTuple

import anyio
from baize.typing import ASGIApp, Receive, Scope, Send

from kui.concurrency.loops import clock
from kui.concurrency.services import split_cancelled
from kui.http.urls import request_name

from .timing import Ticker, Timed

__all__ = ["ClientGone", "ConnectionLimits", "Served", "ServerState", "Tasks"]

logger = logging.getLogger("kui.server")
errors = logging.getLogger("kui.error")

Args = TypeVarTuple("Args")


class ClientGone(ConnectionError):
    """Raised by `send` if nothing can be sent to the client any more. It is an OSError (ASGI 2.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """The limits of connections: times in seconds, and their number. A deadline may be half a second early or late."""

    head: float = 10.0
    """Time for the whole head of a request, from its first byte on; then 408."""
    keep_alive: float = 5.0
    """Time until the next request. A proxy in front must close its idle connections earlier."""
    body: float = 30.0
    """Time for the next bytes of a body, while the app waits for them."""
    send: float = 30.0
    """Time for which a client may not read; 0 for no limit."""
    handshake: float = 10.0
    """Time for a TLS handshake."""
    linger: float = 2.0
    """Time for a client to read the last response, while what it sends is discarded."""
    ping: float | None = None
    """Time between pings of a WebSocket; None for no pings."""
    connections: int | None = None
    """How many connections may be open at once; see `Connection.turn_away` for further ones."""


class Served(Timed, Protocol):
    """A connection of any protocol."""

    def shut_down(self) -> None:
        """End because the server stops: at once if idle, otherwise after the present request. Must not wait."""

    def cut(self) -> None:
        """End now, also in the middle of a response. Must not wait."""


class Tasks(Protocol):
    """A group of tasks that serve requests. All have ended at the end of its block."""

    def start_soon(self, func: Callable[[*Args], Coroutine[Any, Any, Any]], *args: *Args) -> object:
        """Run `func(*args)` in a task."""

    async def __aenter__(self) -> Tasks: ...

    async def __aexit__(self, *error: Any) -> object: ...


class ServerState:
    """The shared state of one server's connections.

    - `stopping`: True once connections must end by themselves.
    - `cancelled`: True once the tasks of all requests were cancelled.
    """

    __slots__ = (
        "_empty",
        "_full",
        "app",
        "cancelled",
        "connections",
        "lifespan",
        "limits",
        "new_tasks",
        "stopping",
        "ticker",
    )

    def __init__(
        self,
        app: ASGIApp,
        limits: ConnectionLimits,
        *,
        lifespan: dict[str, Any] | None = None,
    ) -> None:
        self.app = app
        self.limits = limits
        self.lifespan = {} if lifespan is None else lifespan
        """The state that the app's lifespan has filled; each request gets a copy."""
        self.new_tasks: Callable[[], Tasks] = anyio.create_task_group
        """Returns a new group for the tasks of requests."""
        self.ticker = Ticker(clock())
        self.connections: set[Served] = set()
        self.stopping = False
        self.cancelled = False
        self._empty: anyio.Event | None = None
        self._full = False

    def is_full(self) -> bool:
        """True if a further connection must be turned away. The first time is logged."""
        limit = self.limits.connections
        full = limit is not None and len(self.connections) >= limit
        if full and not self._full:
            logger.warning("There are %d connections: further ones are turned away", limit)
        self._full = full
        return full

    def add(self, connection: Served) -> None:
        """Add an open connection."""
        self.connections.add(connection)
        self.ticker.add(connection)

    def discard(self, connection: Served) -> None:
        """Remove a connection that has ended. May be called again."""
        self.connections.discard(connection)
        self.ticker.discard(connection)
        if not self.connections and self._empty is not None:
            self._empty.set()

    async def until_empty(self) -> None:
        """Wait until no connection is open."""
        while self.connections:
            self._empty = anyio.Event()
            await self._empty.wait()

    def stop(self) -> None:
        """Tell all connections that the server stops."""
        self.stopping = True
        for connection in tuple(self.connections):
            connection.shut_down()

    def cut(self) -> None:
        """End all connections now."""
        for connection in tuple(self.connections):
            connection.cut()

    def failed(self, error: Exception) -> None:
        """Log that a connection has failed for a reason other than the app. Other connections go on."""
        logger.warning("A connection was dropped: %r", error)
        logger.debug("It was dropped here", exc_info=error)

    async def run_app(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Call the app, and return True if it has returned. Log what it raises.

        Only the server's own cancellation is raised. Anything else that an app raises ends its connection only, also
        SystemExit, a group, or a Cancelled that the server has not asked for.
        """
        try:
            await self.app(scope, receive, send)
            return True
        except GeneratorExit:
            raise
        except BaseException as error:
            failed: BaseException | None = error
            cancelled: BaseException | None = None
            cancelling = (BaseExceptionGroup, anyio.get_cancelled_exc_class())
            if self.cancelled and isinstance(error, cancelling):
                failed, cancelled = split_cancelled(error)
            if failed is not None and not _is_gone(failed):
                errors.error("%s failed", request_name(scope), exc_info=failed)
            if cancelled is not None:
                if cancelled is error:
                    raise
                raise cancelled from None
            return False


def _is_gone(error: BaseException) -> bool:
    """True if the app has only raised that its client has gone."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(ClientGone)[1] is None
    return isinstance(error, ClientGone)
