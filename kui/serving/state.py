"""What all connections of one server share: the app, the limits, the ticker, and how far the server's end has come."""

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
    """What `send` raises when nothing can be sent to the client any more (ASGI 2.4: an OSError)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How long a client is waited for, in seconds, and how many may come.

    A deadline is up to half a second early or late.
    """

    head: float = 10.0
    """For the whole head of a request, from its first byte on; then 408."""
    keep_alive: float = 5.0
    """For the next request. A proxy in front must give its connections up earlier than that."""
    body: float = 30.0
    """For the next bytes of a body that the app waits for."""
    send: float = 30.0
    """For a client that takes nothing of what is sent to it; 0: for ever."""
    handshake: float = 10.0
    """For a TLS handshake."""
    linger: float = 2.0
    """For a client to read the last answer, while what it still sends is thrown away."""
    ping: float | None = None
    """Between pings of a WebSocket; None for no pings."""
    connections: int | None = None
    """How many may be open at once; further ones are turned away: see `Connection.turn_away`."""


class Served(Timed, Protocol):
    """A connection, whatever is spoken on it."""

    def shut_down(self) -> None:
        """End at once if idle, else after what is under way: the server stops. Must not wait."""

    def cut(self) -> None:
        """End now, whatever is under way. Must not wait."""


class Tasks(Protocol):
    """A group of the tasks of requests, which have ended at the end of its block."""

    def start_soon(self, func: Callable[[*Args], Coroutine[Any, Any, Any]], *args: *Args) -> object:
        """Run `func(*args)` in a task."""

    async def __aenter__(self) -> Tasks: ...

    async def __aexit__(self, *error: Any) -> object: ...


class ServerState:
    """See the module.

    `stopping` is True once connections must end by themselves, `cancelled` once the tasks of all
    requests have been cancelled.
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
        """What the lifespan has put into its state; each request gets a copy."""
        self.new_tasks: Callable[[], Tasks] = anyio.create_task_group
        """Makes a group for the tasks of requests."""
        self.ticker = Ticker(clock())
        self.connections: set[Served] = set()
        self.stopping = False
        self.cancelled = False
        self._empty: anyio.Event | None = None
        self._full = False

    def is_full(self) -> bool:
        """True if a further connection must be turned away, which is logged when it begins."""
        limit = self.limits.connections
        full = limit is not None and len(self.connections) >= limit
        if full and not self._full:
            logger.warning("There are %d connections: further ones are turned away", limit)
        self._full = full
        return full

    def add(self, connection: Served) -> None:
        """Add a connection that is open."""
        self.connections.add(connection)
        self.ticker.add(connection)

    def discard(self, connection: Served) -> None:
        """Remove a connection that has ended; may be called again."""
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
        """Tell every connection that the server stops."""
        self.stopping = True
        for connection in tuple(self.connections):
            connection.shut_down()

    def cut(self) -> None:
        """End every connection now."""
        for connection in tuple(self.connections):
            connection.cut()

    def failed(self, error: Exception) -> None:
        """Log that a connection has failed for a reason that is not the app's; no other may suffer."""
        logger.warning("A connection was dropped: %r", error)
        logger.debug("It was dropped here", exc_info=error)

    async def run_app(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Call the app; True if it has returned. What it raises is logged, whatever it is.

        Only the server's own cancellation is raised on: nothing that an app raises leaves its
        connection, be it SystemExit, a group, or a Cancelled that was not asked for.
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
    """True if the app has only passed on that its client has gone."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(ClientGone)[1] is None
    return isinstance(error, ClientGone)
