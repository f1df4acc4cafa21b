"""One HTTP/1.1 connection: read, call the app, answer, and on to the next request.

`Http1` knows the protocol, a `Pipe` the socket. A loop's driver (`pipe_trio`, `pipe_asyncio`) calls
`advance` when something may have come in, and runs `serve` where a request runs on its loop. No
task reads beside the app: `receive` reads the socket when the app asks, and so it is told at once
when its client leaves.
"""

from __future__ import annotations

import enum
import logging
from contextlib import suppress
from typing import Final

import anyio
from baize.typing import Message, Scope

from .http1 import CONTINUE, Http1, Http1Response, Malformed, Request, refusal
from .pipes import CHUNK, Pipe
from .protocol import ASGI, EXTENSIONS, PREFACE
from .responses import Misuse, Phase
from .state import Gone, ServerState
from .timing import NEVER
from .upgrade import Upgrade, wrong_handshake
from .websocket import WebSocket, subprotocols

__all__ = ["Connection", "Next"]

UNREAD: Final = 1024 * 1024
"""Bytes of a body that are thrown away for the sake of the next request, or of the answer's last bytes."""

logger = logging.getLogger("kui.server")


class Next(enum.Enum):
    """What a driver does next with a connection."""

    WAIT = "until more comes in"
    SERVE = "what has come in"
    END = "close it"


# Their names as globals: up to CPython 3.11 a member of an Enum is slow to look up.
_WAIT, _SERVE, _END = Next
_DONE = Phase.DONE


class Connection:
    """See the module; one task or callback at a time uses it, but for a request's `receive` and `send`."""

    __slots__ = (
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
        self._base: Scope = {
            "asgi": ASGI,
            "client": pipe.client,
            "server": pipe.server,
            "root_path": "",
            "extensions": EXTENSIONS,
        }
        self._cycle: Cycle | None = None
        self._socket: WebSocket | None = None
        self._deadline = NEVER
        self._expired = False
        self._in_head = False
        self._reading = False
        self._changed: anyio.Event | None = None
        self._opening: bytes | None = b""
        """The first bytes, as long as they may be those of HTTP/2."""
        state.add(self)

    def turn_away(self) -> None:
        """Have the first answer be that there are too many connections."""
        self.http.fail(Malformed(503, "there are too many connections"))

    # ---- between requests

    def advance(self) -> Next:
        """Take in what has come, up to a request that can be served. Never waits."""
        http = self.http
        if self._opening is not None and self.pipe.protocol == "h2":
            return _SERVE
        while http.request is None and http.error is None:
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
        self._in_head = False
        return _SERVE

    def _waits(self) -> Next:
        """Nothing more has come in: how long is the rest waited for?"""
        limits, now = self._state.limits, self.ticker.now
        if self.http.in_head:
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
        """See `Timed`. A request that is late is noticed by whoever waits for it; a write fails."""
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
        """See `Served`: an answer that has not begun tells the client that it is the last one."""
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
        """The connection has ended. May be called again."""
        self.pipe.close()
        self.http.close()
        self._state.discard(self)

    # ---- a request

    async def serve(self) -> bool:
        """Answer the request that `advance` has found; True if the connection can have another one."""
        request = self.http.request
        if request is None:
            if self._opening is not None:
                await self._serve_http2(self._opening)
            else:
                await self._refuse()
            return False
        if request.websocket:
            await self._serve_websocket(request)
            return False
        cycle = self._cycle = Cycle(self, request, not self._state.stopping)
        try:
            returned = await self._state.run_app(self._scope(request), cycle.receive, cycle.send)
            cycle.over = True
            if request.complete and cycle.response.reusable:
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
            if cycle.response.begun and (cycle.broken or cycle.response.phase is not _DONE):
                self.pipe.abort()
            elif self._state.cancelled and not cycle.response.begun:
                self.pipe.push(refusal(503, "the server is stopping", self.ticker.date))

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
            "extensions": {"websocket.http.response": {}},
        }
        del scope["method"]
        upgrade = Upgrade(self.pipe, request, self.ticker)
        early = self.http.take_rest()
        interval = self._state.limits.ping
        self._socket = WebSocket(self._state, self.pipe, scope, upgrade, early, interval)
        try:
            await self._socket.run()
        finally:
            self._socket = None
        with suppress(OSError):
            await self._linger()

    async def _serve_http2(self, data: bytes) -> None:
        from .http2 import Http2Connection  # seldom needed

        self._opening = None
        connection = Http2Connection(self._state, self.pipe)
        self._state.discard(self)
        await connection.run(data)

    def _scope(self, request: Request) -> Scope:
        return {
            **self._base,
            "type": "http",
            "http_version": request.version,
            "method": request.method,
            "scheme": "https" if self.pipe.secure else "http",
            "path": request.decoded_path,
            "raw_path": request.path,
            "query_string": request.query,
            "headers": request.headers,
            "state": self._state.lifespan.copy(),
        }

    async def _conclude(self, cycle: Cycle, returned: bool) -> bool:
        """The app has ended: complete what it has left undone; True if another request may follow."""
        request, response = cycle.request, cycle.response
        if response.phase is _DONE and not cycle.broken:
            if response.reusable and await self._drained(request):
                self.http.start_next()
                return True
            if not request.complete or self.http.kept:
                await self._linger()
        elif not response.begun and not cycle.broken:
            await self._answer_instead(cycle, returned)
        return False

    async def _answer_instead(self, cycle: Cycle, returned: bool) -> None:
        """The app has sent nothing."""
        if self.http.error is not None:
            await self._refuse()
        elif not cycle.gone:
            if returned:
                logger.error(
                    "The app returned without a response to %r", cycle.request.path.decode()
                )
            await self._say(500, "Internal Server Error")

    async def _refuse(self) -> None:
        error = self.http.error
        assert error is not None
        if error.status != 503:
            client = self.pipe.client
            logger.warning("A malformed request from %s: %s", client[0] if client else "-", error)
        await self._say(error.status, str(error))

    async def _say(self, status: int, reason: str) -> None:
        """Answer in the place of the app, and end the connection so that the client can read it."""
        try:
            await self.pipe.write(refusal(status, reason, self.ticker.date))
            await self._linger()
        except OSError:
            pass  # it has gone

    async def _drained(self, request: Request) -> bool:
        """Throw away what the app has not read of the body; True if that was all of it."""
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
        """End the connection so that the client can read its answer first (RFC 9112, 9.6).

        A socket that is closed while bytes are unread resets the connection, and the reset may
        overtake the answer.
        """
        self.pipe.finish()
        self._expired = False
        self._deadline = self.ticker.now + self._state.limits.linger
        left = UNREAD
        while left > 0 and (data := await self._read()):
            left -= len(data)

    async def _read(self) -> bytes:
        """The next bytes; none at the end, and none when the deadline is over."""
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
        """Read once for `cycle.receive`, or wait until another task of the app has.

        Returns when something may have changed: bytes, the end, the end of the cycle. Cancelled,
        it has read nothing.
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
                await self._until_changed()  # a tick sees the end of who has sent too much
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

    @property
    def has_receivers(self) -> bool:
        """True if a `receive` waits."""
        return self._reading or self._changed is not None

    def wake_receivers(self) -> None:
        """Something has happened that `receive` has to see: have those that wait look again."""
        if self._reading:
            self.pipe.wake()
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class Cycle:
    """The `receive` and `send` of one request, which end with it: then `send` raises, and `receive` touches no socket.

    `gone` is True once the client has left, `broken` once no more can be sent, `over` once the app
    has returned.
    """

    __slots__ = ("_connection", "_told", "broken", "gone", "over", "request", "response")

    def __init__(self, connection: Connection, request: Request, keep_alive: bool) -> None:
        self._connection = connection
        self.request = request
        self.response = Http1Response(request, keep_alive)
        self.gone = False
        self.broken = False
        self.over = False
        self._told = False  # has the app been given the end of the body?

    @property
    def waits(self) -> bool:
        """True if `receive` has nothing to return yet."""
        if self.over or self.gone or self.response.phase is _DONE:
            return False
        request = self.request
        return not (request.body or (request.complete and not self._told))

    async def receive(self) -> Message:
        """ASGI's `receive`. Cancelled, it has taken nothing.

        Several tasks may wait in it: one of them gets what comes of the body, all get the disconnect.
        """
        request = self.request
        while not self.over:
            if request.body or (request.complete and not self._told):
                self._told = request.complete
                body = request.take_body()
                return {"type": "http.request", "body": body, "more_body": not self._told}
            if self.gone or self.response.phase is _DONE or self._connection.http.error:
                break
            await self._connection.read_for(self)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ASGI's `send`. It waits while the client does not take what was sent, and can be cancelled then.

        :raises Gone: the client has gone (RST, or a deadline), or the request is over.
        :raises Misuse: the message may not be sent now, or is wrong.
        """
        if self.over or self.broken:
            raise Gone("the client has gone, or the request is over")
        response, connection = self.response, self._connection
        if not self.request.complete and not response.begun:
            self._consider_the_rest()
        try:
            parts = response.send(message, connection.ticker.date)
        except Misuse:
            self.broken = response.begun
            raise
        if not parts:
            return
        try:
            await connection.pipe.write(*parts)
        except OSError as error:
            self.gone = self.broken = True
            connection.wake_receivers()
            raise Gone("the client has gone") from error
        except BaseException:
            self.broken = True
            raise
        if response.phase is _DONE and connection.has_receivers:
            connection.wake_receivers()

    def _consider_the_rest(self) -> None:
        """End the connection with this response if what is left of the body is not worth it."""
        if self.request.expects or (self.request.length or 0) > UNREAD:
            self.response.keep_alive = False
