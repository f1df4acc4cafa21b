"""Serve one HTTP/1.1 connection: read a request, call the app, send the response, and go on to the next request.

`Http1` parses, and a `Pipe` reads and writes the socket. The driver of a loop (`pipe_trio`, `pipe_asyncio`) calls
`advance` when bytes may have arrived, and runs `serve` in the task of a request. No task reads the socket for the app:
`receive` reads it when the app asks, so that the app learns at once that its client has left.
"""

from __future__ import annotations

import enum
import logging
from contextlib import suppress
from typing import Any, Final

import anyio
from baize.typing import Scope

from .cycle import UNREAD, Cycle
from .http1 import Http1
from .http1_request import Malformed, Request
from .http1_response import CONTINUE, refusal, unavailable
from .pipes import CHUNK, Pipe
from .protocol import ASGI, EXTENSIONS, PREFACE, SOCKET_EXTENSIONS, TOO_MANY
from .responses import Phase
from .state import ServerState
from .timing import NEVER
from .upgrade import Upgrade, subprotocols, wrong_handshake
from .websocket import ServerWebSocket

__all__ = ["Connection", "Next"]


AWAY: Final = 1.0
"""Seconds to wait for the head of a request on a connection beyond the limit, to answer it with 503."""
AWAY_AT_ONCE: Final = 64
"""How many such connections may wait at once; further ones are closed unless their head has arrived already."""

logger = logging.getLogger("kui.server")


class Next(enum.Enum):
    """What the driver must do next with a connection."""

    WAIT = "until more comes in"
    SERVE = "what has come in"
    END = "close it"


# Their names as globals: up to CPython 3.11 a member of an Enum is slow to look up.
_WAIT, _SERVE, _END = Next
_DONE = Phase.DONE


class Connection:
    """One HTTP/1.1 connection. One task or callback uses it at a time, except for a request's `receive` and `send`."""

    __slots__ = (
        "_away",
        "_base",
        "_changed",
        "_cycle",
        "_deadline",
        "_expired",
        "_in_head",
        "_opening",
        "_reading",
        "_socket",
        "_state",
        "http",
        "pipe",
        "ticker",
    )

    def __init__(self, state: ServerState, pipe: Pipe) -> None:
        self.pipe = pipe
        self.http = Http1()
        self.ticker = state.ticker
        self._state = state
        self._base: dict[str, Any] = {  # with all keys, so that a copy need not grow
            "type": "http",
            "asgi": ASGI,
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https" if pipe.secure else "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": "",
            "headers": [],
            "client": pipe.client,
            "server": pipe.server,
            "state": {},
            "extensions": {},
        }
        self._cycle: Cycle | None = None
        self._socket: ServerWebSocket | None = None
        self._deadline = NEVER
        self._expired = False
        self._away = False
        self._in_head = False
        self._reading = False
        self._changed: anyio.Event | None = None
        self._opening: bytes | None = b""
        """The first bytes, while they may be the beginning of HTTP/2; None afterwards."""
        state.add(self)

    def turn_away(self) -> None:
        """Answer the first request with 503, because there are too many connections; close if no head comes soon.

        The request is read first, because an `EventSource` must get another response: it would never retry after 503.
        """
        self._away = True
        limit = self._state.limits.connections or 0
        self._expired = len(self._state.connections) > limit + AWAY_AT_ONCE

    # ---- between requests

    def advance(self, look: bool = True) -> Next:
        """Read and parse what has arrived, up to a request that can be served. Never waits.

        :param look: False to parse only what was read before. Used after a response, when the next request has rarely
            arrived.
        """
        http = self.http
        if self._opening is not None and self.pipe.protocol == "h2" and not self._away:
            return _SERVE
        while http.request is None and http.error is None:
            if not look:
                return self._waits()
            try:
                data = self.pipe.take()
            except OSError:
                return _END
            if data is None:
                return self._waits()
            if not data:
                return _END
            if self._opening is not None:
                data = self._opening + data
                if data[: len(PREFACE)] == PREFACE[: len(data)]:
                    self._opening = data
                    if len(data) >= len(PREFACE):
                        return _SERVE
                    continue
                self._opening = None
            http.receive_data(data)
        self._deadline = NEVER
        self._in_head = self._expired = False
        return _SERVE

    def _waits(self) -> Next:
        """Set the deadline for the rest of a request, or for the next one, because nothing more has arrived."""
        limits, now = self._state.limits, self.ticker.now
        if self._away:
            if self._expired or self._state.stopping:
                return _END
            self._deadline = min(self._deadline, now + AWAY)
        elif self.http.in_head:
            if self._expired:
                self.http.fail(Malformed(408, "the head of the request took too long"))
                return _SERVE
            if not self._in_head:
                self._in_head = True
                self._deadline = now + limits.head
        elif self._expired or self._state.stopping:
            return _END
        else:
            self._deadline = now + limits.keep_alive
        return _WAIT

    def tick(self, now: float) -> None:
        """See `Timed`. After a deadline, a task that waits for the request goes on, and a write fails."""
        if now >= self._deadline:
            self._deadline = NEVER
            self._expired = True
            self.pipe.wake()
        elif self.pipe.stalled(now):
            self.pipe.abort()
        if self._socket is not None:
            self._socket.tick(now)
        if self._changed is not None and self._cycle is not None and self.pipe.hung_up():
            self._cycle.gone = True
            self._wake()

    def shut_down(self) -> None:
        """See `Served`. A response that has not begun will tell the client that it is the last one."""
        if self._socket is not None:
            self._socket.shut_down()
        elif self._cycle is None:
            self.pipe.wake()
        else:
            self._cycle.response.keep_alive = False

    def cut(self) -> None:
        """See `Served`."""
        self.pipe.abort()
        if self._cycle is None and self._socket is None:
            self.close()

    def close(self) -> None:
        """Record that the connection has ended. May be called again."""
        self.pipe.close()
        self.http.close()
        self._state.discard(self)

    # ---- a request

    async def serve(self) -> bool:
        """Serve the request that `advance` has found; return True if the connection may have another one."""
        request = self.http.request
        if request is None or request.websocket or self._away:
            await self._serve_other(request)
            return False
        state = self._state
        cycle = self._cycle = Cycle(self, request, not state.stopping)
        try:
            returned = await state.run_app(self._scope(request), cycle.receive, cycle.send)
            cycle.over = True
            if request.complete and cycle.reusable:
                self.http.start_next()
                return True
            return await self._conclude(cycle, returned)
        except OSError:
            return False
        finally:
            cycle.over = True
            self._cycle = None
            if self._changed is not None:
                self._wake()
            if cycle.response.phase is not _DONE or cycle.broken:
                self._give_up(cycle)

    def _give_up(self, cycle: Cycle) -> None:
        """End the connection so that the client sees that the response is incomplete."""
        if cycle.response.begun:
            self.pipe.abort()
        elif self._state.cancelled:
            answer = unavailable(cycle.request, "the server is stopping", self.ticker.date)
            self.pipe.push(answer)

    async def _serve_other(self, request: Request | None) -> None:
        """Serve another protocol, or refuse a malformed request. The connection ends with it."""
        if request is None and self._opening is not None:
            await self._serve_http2(self._opening)
        elif self._away:
            if request is not None:
                await self._say(unavailable(request, TOO_MANY, self.ticker.date))
        elif request is not None:
            await self._serve_websocket(request)
        elif self.pipe.protocol != "h2":  # a client of HTTP/2 would not understand the response
            await self._refuse()

    async def _serve_websocket(self, request: Request) -> None:
        wrong = wrong_handshake(request.headers)
        if wrong is not None:
            self.http.fail(Malformed(*wrong))
            await self._refuse()
            return
        scope = {
            **self._scope(request),
            "type": "websocket",
            "scheme": "wss" if self.pipe.secure else "ws",
            "subprotocols": subprotocols(request.headers),
            "extensions": SOCKET_EXTENSIONS.copy(),
        }
        del scope["method"]
        upgrade = Upgrade(self.pipe, request, self.ticker)
        early = self.http.take_rest()
        interval = self._state.limits.ping
        self._socket = ServerWebSocket(self._state, self.pipe, scope, upgrade, early, interval)
        try:
            await self._socket.run()
        finally:
            self._socket = None
        with suppress(OSError):
            await self._linger()

    async def _serve_http2(self, data: bytes) -> None:
        from .http2 import Http2Connection  # seldom needed

        self._opening = None
        away = None
        if self._away:
            away = 0.0 if self._expired else AWAY
        connection = Http2Connection(self._state, self.pipe, away)
        self._state.discard(self)
        await connection.run(data)

    def _scope(self, request: Request) -> Scope:
        scope = self._base.copy()
        scope["http_version"] = request.version
        scope["method"] = request.method
        scope["path"] = request.decoded_path
        scope["raw_path"] = request.path
        scope["query_string"] = request.query
        scope["headers"] = request.headers
        # Copies: what an app puts there is for this request alone.
        scope["state"] = self._state.lifespan.copy()
        scope["extensions"] = EXTENSIONS.copy()
        return scope

    async def _conclude(self, cycle: Cycle, returned: bool) -> bool:
        """Complete or abort the response of an app that has ended; return True if another request may follow."""
        request, response = cycle.request, cycle.response
        if response.phase is _DONE and not cycle.broken:
            if cycle.reusable and await self._drained(request):
                self.http.start_next()
                return True
            if not request.complete or self.http.kept:
                await self._linger()
        elif not response.begun and not cycle.broken:
            await self._answer_instead(cycle, returned)
        return False

    async def _answer_instead(self, cycle: Cycle, returned: bool) -> None:
        """Send a response instead of an app that has sent nothing."""
        if self.http.error is not None:
            await self._refuse()
        elif not cycle.gone:
            if returned:
                logger.error(
                    "The app returned without a response to %r", cycle.request.path.decode()
                )
            answer = refusal(
                500, "Internal Server Error", self.ticker.date, method=cycle.request.method
            )
            await self._say(answer)

    async def _refuse(self) -> None:
        error = self.http.error
        assert error is not None
        client = self.pipe.client
        logger.warning("A malformed request from %s: %s", client[0] if client else "-", error)
        await self._say(refusal(error.status, str(error), self.ticker.date))

    async def _say(self, answer: bytes) -> None:
        """Send a response instead of the app, and end the connection so that the client can read it."""
        try:
            await self.pipe.write(answer)
            await self._linger()
        except OSError:
            pass  # the client has gone

    async def _drained(self, request: Request) -> bool:
        """Read and discard the rest of the body; return True if that was all of it."""
        left = UNREAD
        self._expired = False
        while not request.complete and left > 0:
            self._deadline = self.ticker.now + self._state.limits.linger
            data = await self._read()
            if not data:
                return False
            left -= len(data)
            self.http.receive_data(data)
            request.take_body()
            if self.http.error is not None:
                return False
        return request.complete

    async def _linger(self) -> None:
        """End the connection so that the client can read its response first (RFC 9112, section 9.6).

        If a socket is closed while bytes are unread, the connection is reset, and the reset may overtake the response.
        """
        self.pipe.finish()
        self._expired = False
        self._deadline = self.ticker.now + self._state.limits.linger
        left = UNREAD
        while left > 0 and (data := await self._read()):
            left -= len(data)

    async def _read(self) -> bytes:
        """Return the next bytes; b"" at the end, or after the deadline."""
        pipe = self.pipe
        if pipe.credit <= 0:
            await pipe.yield_()
        while (data := pipe.take()) is None:
            if self._expired:
                return b""
            await pipe.wait()
        return data

    # ---- for the app's receive

    async def read_for(self, cycle: Cycle) -> None:
        """Read once for `cycle.receive`, or wait until another task of the app has read.

        Return when something may have changed: bytes have arrived, or the connection or the cycle has ended. If
        cancelled, nothing was read.
        """
        if self._reading:
            await self._until_changed()
            return
        pipe, request = self.pipe, cycle.request
        self._reading = True
        try:
            if request.expects and not cycle.response.begun:
                request.expects = False
                pipe.push(CONTINUE)
            if pipe.credit <= 0:
                await pipe.yield_()
            if not request.complete:
                self._expired = False
                self._deadline = self.ticker.now + self._state.limits.body
            while self.http.kept < CHUNK and cycle.waits:
                data = pipe.take()
                if data is not None:
                    if data:
                        self.http.receive_data(data)
                    else:
                        cycle.gone = True
                    return
                if self._expired:
                    self.http.fail(Malformed(408, "the body of the request took too long"))
                    cycle.gone = True
                    return
                await pipe.wait()
            if cycle.waits:
                # A tick notices the end of a client whose unread bytes fill the buffer.
                await self._until_changed()
        except OSError:
            cycle.gone = cycle.broken = True
        finally:
            self._reading = False
            self._deadline = NEVER
            self._wake()

    async def _until_changed(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def wake_receivers(self) -> None:
        """Wake the tasks that wait in `receive`, so that they check their condition again."""
        if self._reading:
            self.pipe.wake()
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
