"""Serve one HTTP/2 connection (RFC 9113): one task reads, one task writes, and each request has a task of its own.

A stream that fails is reset, and other streams go on. A client that breaks the protocol loses the connection.
`http2_frames` has the frames, `http2_stream` the streams, `http2_messages` the headers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import anyio
import anyio.abc
from baize.typing import Scope
from h2.errors import ErrorCodes

from kui.http.event_streams import farewell
from kui.http.media import awaits_events

from .http1_request import Malformed
from .http2_frames import STREAMS, Broken, Frames
from .http2_messages import Request, read_request
from .http2_stream import Stream, StreamCycle
from .http2_websocket import wants_another_version, websocket_on
from .pipes import Pipe
from .protocol import ASGI, EXTENSIONS, TOO_MANY
from .responses import Phase
from .state import ServerState
from .timing import NEVER
from .websocket import ServerWebSocket

__all__ = ["Http2Connection"]

ENOUGH: Final = 16 * 1024 * 1024
"""How many bytes of a body are discarded after its response, before the rest is refused."""
DISCARDED_AT_END: Final = 1024 * 1024
"""How many bytes are discarded at the end of a connection, so that the client can read the last response."""
MANY: Final = 16
"""After how many events other tasks get a turn."""

logger = logging.getLogger("kui.server")


class Http2Connection:
    """One HTTP/2 connection. It is a `Served`, and the `Events` of its frames."""

    __slots__ = (
        "_away",
        "_base",
        "_broken",
        "_cycles",
        "_drained",
        "_expired",
        "_frames",
        "_idle_until",
        "_output",
        "_over",
        "_sockets",
        "_state",
        "_streams",
        "_tasks",
        "pipe",
    )

    def __init__(self, state: ServerState, pipe: Pipe, away: float | None = None) -> None:
        """Begin a connection.

        :param away: the seconds that requests have to come on a connection that is one too many; they are
            answered in the place of the app. None: the app answers.
        """
        self.pipe = pipe
        self._state = state
        self._away = away
        self._frames = Frames(self, state.ticker.now)
        self._streams: dict[int, Stream] = {}
        self._cycles: dict[int, StreamCycle] = {}
        self._sockets: dict[int, ServerWebSocket] = {}
        self._tasks = state.new_tasks()
        self._output: anyio.Event | None = None  # wakes the writer
        self._drained: anyio.Event | None = None  # wakes the reader
        self._idle_until = NEVER
        self._expired = False
        self._over = False  # True once nothing more is read
        self._broken = False  # True once nothing more can be sent
        self._base: Scope = {
            "asgi": ASGI,
            "http_version": "2",
            "client": pipe.client,
            "server": pipe.server,
            "root_path": "",
        }
        state.add(self)

    async def run(self, data: bytes = b"") -> None:
        """Serve the connection to its end.

        :param data: the bytes that were read already, with the preface.
        """
        try:
            async with self._tasks, anyio.create_task_group() as group:
                group.start_soon(self._read, data)
                await self._write()
                await self._linger()
                self.pipe.close()
        finally:
            if self._state.cancelled and not self._broken:
                self.pipe.push(self._frames.output())
            self._break()
            self.pipe.close()
            self._state.discard(self)

    # ---- reading

    async def _read(self, data: bytes) -> None:
        """Read and handle frames until the client, a deadline or the server ends the connection."""
        self._rest()
        try:
            more: bytes | None = data
            while more is not None:
                await self._take_in(more)
                if self._frames.too_much and not self._broken:
                    self._drained = anyio.Event()
                    await self._drained.wait()
                more = await self._next()
            self._frames.go_away(ErrorCodes.NO_ERROR)
        except Broken as error:
            self._complain(str(error))
            self._lose_all()
        except OSError:
            self._break()
        finally:
            self._over = self._frames.ending = True
            for stream in tuple(self._streams.values()):
                stream.leave()
                self._frames.queued(stream)  # its window will not be opened any more
                self._settle(stream)  # the rest of an answered request does not arrive
            self.on_output()

    async def _next(self) -> bytes | None:
        """Return the next bytes; None at the end, or if there is nothing more to wait for."""
        pipe = self.pipe
        if pipe.credit <= 0:
            await pipe.yield_()
        while (data := pipe.take()) is None:
            if not self._streams and (self._expired or self._frames.told):
                return None
            await pipe.wait()
        return data or None

    async def _take_in(self, data: bytes) -> None:
        for events in self._frames.receive_data(data, self._state.ticker.now):
            if events > MANY:
                await self.pipe.yield_()
        self.on_output()

    def _complain(self, reason: str) -> None:
        client = self.pipe.client
        logger.warning("A malformed request from %s: %s", client[0] if client else "-", reason)

    # ---- what comes in

    def on_request(self, number: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """See `Events`."""
        if self._frames.told or len(self._streams) >= STREAMS:
            self._frames.refuse(number)
            return
        self._frames.last = number
        self._idle_until = NEVER
        self._expired = False
        stream = Stream(self._frames, number, self.pipe, self._state)
        stream.bodiless = (b":method", b"HEAD") in headers
        self._streams[number] = stream
        try:
            request = read_request(headers)
        except Malformed as error:
            self._frames.count_malformed()
            self._complain(str(error))
            self._say(stream, error.status, str(error))
            return
        if self._away is not None:
            self._say_unavailable(stream, request, TOO_MANY)
            return
        cycle = self._cycles[number] = StreamCycle(self._frames, stream, request, self._state)
        self._tasks.start_soon(self._serve, cycle)

    def on_data(self, number: int, data: bytes, size: int) -> None:
        """See `Events`."""
        stream = self._streams.get(number)
        if stream is not None and not stream.over:
            stream.received(data, size)
            return
        self._frames.acknowledge(number, size)
        if stream is not None:  # its response is complete
            stream.waits_until = self._state.ticker.now + self._state.limits.body
            stream.discarded += size
            if stream.discarded > ENOUGH:
                self._frames.reset(stream, ErrorCodes.NO_ERROR)

    def on_end(self, number: int) -> None:
        """See `Events`."""
        stream = self._streams.get(number)
        if stream is not None:
            stream.ended()
            self._settle(stream)

    def on_reset(self, number: int) -> None:
        """See `Events`."""
        stream = self._streams.get(number)
        if stream is not None:
            self._frames.forget(stream)
            stream.lose()
            self._settle(stream)

    def on_sent(self, stream: Stream) -> None:
        """See `Events`."""
        self._settle(stream)

    # ---- a request

    async def _serve(self, cycle: StreamCycle) -> None:
        stream = cycle.stream
        try:
            scope = self._scope(cycle.request)
            if cycle.request.websocket:
                await self._serve_websocket(cycle, scope)
            else:
                returned = await self._state.run_app(scope, cycle.receive, cycle.send)
                stream.over = True
                self._conclude(cycle, returned)
        finally:
            stream.over = True
            stream.changed()
            if self._state.cancelled and not cycle.response.begun and not cycle.request.websocket:
                self._say_unavailable(stream, cycle.request, "the server is stopping")
            elif not stream.closing:
                stream.abort()
            stream.pay_all()
            self._settle(stream)

    async def _serve_websocket(self, cycle: StreamCycle, scope: Scope) -> None:
        stream = cycle.stream
        if wants_another_version(cycle.request.headers):
            self._say(stream, 400, "WebSockets of version 13 are served")
            return
        socket = self._sockets[stream.number] = websocket_on(
            cycle, self._frames, self._state, scope
        )
        try:
            await socket.run()
            stream.finish()
        finally:
            del self._sockets[stream.number]

    def _scope(self, request: Request) -> Scope:
        return {
            **self._base,
            "type": "http",
            "method": request.method,
            "scheme": "https" if self.pipe.secure else "http",
            "path": request.decoded_path,
            "raw_path": request.path,
            "query_string": request.query,
            "headers": request.headers,
            "state": self._state.lifespan.copy(),
            "extensions": EXTENSIONS.copy(),
        }

    def _conclude(self, cycle: StreamCycle, returned: bool) -> None:
        """Complete or abort the response of an app that has ended."""
        stream, response = cycle.stream, cycle.response
        if stream.lost or (response.phase is Phase.DONE and not cycle.broken):
            return
        if response.begun or cycle.broken:
            stream.fail()
        elif cycle.late:
            self._say(stream, 408, "the body of the request took too long")
        elif not stream.gone or stream.complete:
            if returned:
                path = cycle.request.path.decode("ascii")
                logger.error("The app returned without a response to %r", path)
            self._say(stream, 500, "Internal Server Error")

    def _say_unavailable(self, stream: Stream, request: Request, reason: str) -> None:
        """Answer a request that the server cannot serve now, so that an `EventSource` will retry."""
        if awaits_events(request.method, request.headers):
            self._say(stream, 200, farewell().decode(), b"text/event-stream")
        else:
            self._say(stream, 503, reason)

    def _say(
        self,
        stream: Stream,
        status: int,
        reason: str,
        content_type: bytes = b"text/plain; charset=utf-8",
    ) -> None:
        """Send a response instead of the app."""
        body = reason.encode()
        stream.over = True
        headers = [
            (b":status", b"%d" % status),
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
            (b"date", self._state.ticker.date),
        ]
        self._frames.headers(stream, headers)
        if not stream.bodiless:
            stream.push(body)
        stream.finish()

    def _settle(self, stream: Stream) -> None:
        """Remove a stream on which nothing more happens."""
        if not (stream.over and stream.sent):
            return
        if not (stream.complete or stream.gone):
            if self._ends_soon:
                self._frames.reset(stream, ErrorCodes.NO_ERROR)
            else:
                stream.waits_until = self._state.ticker.now + self._state.limits.body
            return
        if self._streams.pop(stream.number, None) is None:
            return
        self._cycles.pop(stream.number, None)
        if not self._streams:
            self._rest()
            self.on_output()

    def _rest(self) -> None:
        """Set the deadline for the next stream if none is open."""
        self._expired = False
        patience = self._state.limits.keep_alive if self._away is None else self._away
        self._idle_until = self._state.ticker.now + patience
        if self._ends_soon or self._frames.told:
            self._frames.go_away(ErrorCodes.NO_ERROR)
            self.pipe.wake()

    @property
    def _ends_soon(self) -> bool:
        """True if the connection ends with the requests that it has."""
        return self._state.stopping or (self._away is not None and self._frames.last > 0)

    # ---- writing

    async def _write(self) -> None:
        """Send the output until nothing more can be sent."""
        try:
            while not self._broken:
                data = self._frames.output()
                if self._drained is not None:
                    self._drained.set()
                    self._drained = None
                if data:
                    await self.pipe.write(data)
                elif self._over and all(stream.lost for stream in self._streams.values()):
                    return
                else:
                    self._output = anyio.Event()
                    await self._output.wait()
        except OSError:
            self._break()
            self.pipe.abort()

    def on_output(self) -> None:
        """See `Events`. Wakes the writer."""
        if self._output is not None:
            self._output.set()
            self._output = None

    # ---- the end

    def tick(self, now: float) -> None:
        """See `Timed`."""
        if now >= self._idle_until:
            self._idle_until = NEVER
            self._expired = True
            self.pipe.wake()
        elif self.pipe.stalled(now):
            self.pipe.abort()
        if self._state.stopping:
            self._frames.go_away(ErrorCodes.NO_ERROR)
        for socket in tuple(self._sockets.values()):
            socket.tick(now)
        for stream in tuple(self._streams.values()):
            if stream.stalled(now):
                self._frames.reset(stream, ErrorCodes.CANCEL)
            elif now >= stream.waits_until or (stream.over and self._state.stopping):
                self._is_late(stream)

    def _is_late(self, stream: Stream) -> None:
        stream.waits_until = NEVER
        if stream.over:
            # Its response is complete (RFC 9113, 8.1).
            self._frames.reset(stream, ErrorCodes.NO_ERROR)
        else:
            self._cycles[stream.number].late = True
            stream.changed()

    def shut_down(self) -> None:
        """See `Served`. Open streams may end; from the next tick on, no new stream is served.

        Clients that use h2 fail their open streams when they get GOAWAY. So it is sent after streams that can end at
        once have ended.
        """
        for socket in tuple(self._sockets.values()):
            socket.shut_down()
        if not self._streams:
            self._rest()

    def cut(self) -> None:
        """See `Served`."""
        self.pipe.abort()

    def _lose_all(self) -> None:
        for number in tuple(self._streams):
            self.on_reset(number)

    def _break(self) -> None:
        """Record that the connection is lost, so that nothing more can be sent."""
        self._broken = True
        self._lose_all()
        self.on_output()
        if self._drained is not None:
            self._drained.set()

    async def _linger(self) -> None:
        """End the connection so that the client can read all that was sent (see RFC 9112, section 9.6)."""
        if self._broken:
            return
        self.pipe.finish()
        self._broken = True
        self._expired = False
        self._idle_until = self._state.ticker.now + self._state.limits.linger
        left = DISCARDED_AT_END
        with suppress(OSError):
            while left > 0 and not self._expired:
                data = self.pipe.take()
                if data is None:
                    await self.pipe.wait()
                elif not data:
                    return
                else:
                    left -= len(data)
