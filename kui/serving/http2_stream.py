"""One stream of HTTP/2: its bytes, as a `Pipe` has them, and the `receive` and `send` of its request.

A stream only queues: what it has to send waits here, 64 KiB at most, until the connection's one
writer finds room in the client's windows; what has come waits until the app takes it, and only then
is the client told that it may send as much again. The frames are `http2`'s.
"""

from __future__ import annotations

from typing import Final, Protocol

import anyio
from baize.typing import Message
from h2.errors import ErrorCodes

from kui.concurrency.http.receive_buffer import ReceivesNowait

from .http2_messages import Http2Response, Request, hints, trailers
from .pipes import CHUNK, CREDIT, BytesLike, Pipe, Turns
from .responses import Headers, Misuse, Phase
from .state import ClientGone, ServerState
from .timing import NEVER

__all__ = ["ConnectionFrames", "Stream", "StreamCycle"]

LOW: Final = CHUNK // 2
"""Bytes that may still wait for the client's window when the app goes on."""


class ConnectionFrames(Protocol):
    """What a stream needs of its connection's frames. None of it waits."""

    def headers(self, stream: Stream, headers: Headers, *, end: bool = False) -> None:
        """Send headers; with `end`, they are the last of the stream."""

    def queued(self, stream: Stream) -> None:
        """Note that the stream has something to send, or has sent all."""

    def acknowledge(self, number: int, size: int) -> None:
        """Let the client send so many bytes more."""

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """End a stream in both directions (RST_STREAM)."""


class Stream:
    """The bytes of one stream; a `Pipe`.

    `complete` is True once the client has ended its side, `gone` once it has left, `lost` once the
    stream was reset or its connection has ended. `closing` is True once the app has
    ended its side, `failing` if that is to be by a reset; `sent` once that has been done.
    """

    __slots__ = (
        "_changed",
        "_drained",
        "_frames",
        "_later",
        "_stall",
        "_ticker",
        "_turns",
        "_unpaid",
        "_unread",
        "bodiless",
        "client",
        "closing",
        "complete",
        "credit",
        "discarded",
        "failing",
        "gone",
        "last_headers",
        "lost",
        "number",
        "out",
        "over",
        "protocol",
        "secure",
        "sent",
        "server",
        "stalls_at",
        "waits_until",
    )

    def __init__(
        self, frames: ConnectionFrames, number: int, pipe: Pipe, state: ServerState
    ) -> None:
        self.client, self.server, self.secure = pipe.client, pipe.server, pipe.secure
        self.protocol: str | None = "h2"
        self.credit = CREDIT
        self.number = number
        self.out = bytearray()
        """What waits for the client's windows."""
        self.last_headers: Headers | None = None
        """The trailers that come behind it."""
        self.bodiless = False
        """True if its answer has no body, because the method is HEAD (RFC 9110, 9.3.2)."""
        self.closing = self.failing = self.sent = False
        self.complete = self.gone = self.lost = False
        self.over = False
        """True once the app has returned."""
        self.discarded = 0
        """Bytes that have come since then."""
        self.stalls_at = NEVER
        self.waits_until = NEVER
        """When the client must have sent more, because the app waits for it, or the connection does."""
        self._frames = frames
        self._stall = state.limits.send or NEVER
        self._ticker = state.ticker
        self._unread = bytearray()
        self._unpaid = 0
        self._later = b""
        self._turns = Turns()
        self._changed: anyio.Event | None = None
        self._drained: anyio.Event | None = None

    # ---- what the connection calls

    def received(self, data: bytes, size: int) -> None:
        """Note that bytes have come that use up so much of the windows."""
        self._unread += data
        self._unpaid += size
        if not self._unread:  # nothing but padding
            self._pay()
        self.changed()

    def ended(self) -> None:
        """Note that the client has sent all."""
        self.complete = True
        self.changed()

    def leave(self) -> None:
        """Note that the client has left: nothing more will come, whatever has."""
        self.gone = True
        self.changed()

    def lose(self) -> None:
        """Note that the stream is gone, in both directions."""
        self.gone = self.lost = self.sent = True
        self.out.clear()
        self.stalls_at = NEVER
        self.changed()
        self.drained()

    def changed(self) -> None:
        """Have those look again that wait to receive."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def progressed(self) -> None:
        """Some of `out` was sent."""
        self.stalls_at = self._ticker.now + self._stall if self.out else NEVER
        if len(self.out) <= LOW:
            self.drained()

    def drained(self) -> None:
        """Have the one go on that waits to send."""
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def pay_all(self) -> None:
        """Throw away what has come, which will not be taken."""
        self._unread.clear()
        self._pay()

    def _pay(self) -> None:
        size, self._unpaid = self._unpaid, 0
        if size:
            self._frames.acknowledge(self.number, size)

    @property
    def ends_with_data(self) -> bool:
        """True if the last byte of `out` is the last thing on the stream."""
        return self.closing and not self.failing and self.last_headers is None

    @property
    def unread(self) -> bool:
        """True if bytes have come that were not taken."""
        return bool(self._unread)

    # ---- a pipe

    def take(self) -> bytes | None:
        """See `Pipe`."""
        if self._unread:
            data = bytes(self._unread)
            self._unread.clear()
            self._pay()
            return data
        if self.lost:
            raise ConnectionResetError("the stream was reset")
        return b"" if self.complete or self.gone else None

    async def wait(self) -> None:
        """See `Pipe`."""
        if not (self._unread or self.complete or self.gone):
            await self.until_changed()

    async def until_changed(self) -> None:
        """Wait until something has become of the stream. Several tasks may."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def wake(self) -> None:
        """See `Pipe`."""
        self.changed()

    async def yield_(self) -> None:
        """See `Pipe`."""
        self.credit = CREDIT
        await anyio.lowlevel.checkpoint()

    async def write(self, *parts: BytesLike, more: bool = False) -> None:
        """See `Pipe`: it waits while the client's window is closed and 64 KiB wait for it."""
        self.credit -= 1
        if self.credit <= 0:
            await self.yield_()
        if self._turns.taken:
            await self._turns.wait()
        else:
            self._turns.take()
        try:
            for part in parts:
                await self._queue(memoryview(part))
            self._add(self._later)
            self._later = b""
        except BaseException:
            self.abort()
            raise
        finally:
            self._turns.pass_on()

    async def _queue(self, view: memoryview) -> None:
        while True:
            room = CHUNK - len(self.out)
            self._add(view[:room])
            view = view[room:]
            if not view:
                return
            self._drained = anyio.Event()
            await self._drained.wait()

    def _add(self, data: BytesLike) -> None:
        if self.lost or self.closing:
            raise ConnectionResetError("the stream was reset")
        if not self.out:
            self.stalls_at = self._ticker.now + self._stall
        self.out += data
        self._frames.queued(self)

    def push(self, data: bytes) -> None:
        """See `Pipe`."""
        if self._turns.taken:
            self._later += data
        elif not (self.lost or self.closing):
            self._add(data)
        if (
            len(self.out) + len(self._later) > 2 * CHUNK
        ):  # the client asks for answers and takes none
            self.abort()

    def finish(self) -> None:
        """See `Pipe`: the end of the stream, behind what is queued."""
        if not self.closing:
            self.closing = True
            self._frames.queued(self)

    def fail(self) -> None:
        """End it by a reset, once what is queued and can be sent has been sent."""
        self.closing = self.failing = True
        self._frames.queued(self)

    def close(self) -> None:
        """See `Pipe`."""
        self.finish()

    def abort(self) -> None:
        """See `Pipe`."""
        if not self.lost:
            self._frames.reset(self, ErrorCodes.INTERNAL_ERROR)

    def stalled(self, now: float) -> bool:
        """See `Pipe`."""
        return now >= self.stalls_at

    def hung_up(self) -> bool:
        """See `Pipe`."""
        return self.lost


class StreamCycle(ReceivesNowait):
    """The `receive` and `send` of one request, which end with it: then `send` raises, and `receive` says so.

    `broken` is True once no more can be sent, `late` if the client was too slow with the body.
    """

    __slots__ = (
        "_frames",
        "_state",
        "_told",
        "broken",
        "late",
        "request",
        "response",
        "stream",
    )

    def __init__(
        self, frames: ConnectionFrames, stream: Stream, request: Request, state: ServerState
    ) -> None:
        self.stream = stream
        self.request = request
        self.response = Http2Response(request.method == "HEAD")
        self.broken = False
        self.late = False
        self._frames = frames
        self._state = state
        self._told = False  # True once the app has the end of the body

    def receive_nowait(self) -> Message | None:
        """Return what has come of the body, or its end; None if nothing has. See `ReceivesNowait`."""
        stream = self.stream
        if stream.over or stream.lost or self._told or not (stream.unread or stream.complete):
            return None
        body = stream.take() or b""
        self._told = stream.complete
        return {"type": "http.request", "body": body, "more_body": not self._told}

    async def receive(self) -> Message:
        """ASGI's `receive`. Cancelled, it has taken nothing.

        Several tasks may wait in it: one of them gets what comes of the body, all get the disconnect.
        """
        stream = self.stream
        while not stream.over:
            if stream.lost:
                break
            message = self.receive_nowait()
            if message is not None:
                return message
            if stream.gone or self.late or self.response.phase is Phase.DONE:
                break
            await self._until_changed()
        return {"type": "http.disconnect"}

    async def _until_changed(self) -> None:
        stream = self.stream
        if self.request.expects and not self.response.begun:
            self.request.expects = False
            self._frames.headers(stream, [(b":status", b"100")])
        if not stream.complete:
            stream.waits_until = self._state.ticker.now + self._state.limits.body
        await stream.until_changed()
        stream.waits_until = NEVER

    async def send(self, message: Message) -> None:
        """ASGI's `send`. It waits while the client does not take what was sent, and can be cancelled then.

        :raises ClientGone: the stream was reset, or the request is over.
        :raises Misuse: the message may not be sent now, or is wrong.
        """
        stream, response = self.stream, self.response
        if stream.over or stream.lost or self.broken:
            raise ClientGone("the client has gone, or the request is over")
        before = response.phase
        try:
            phase = response.advance(message)
            if phase is Phase.WAITING:
                self._frames.headers(stream, hints(message))
            elif before is Phase.TRAILERS:
                self._send_trailers(message)
            elif phase is not Phase.STARTED:
                await self._send_body(message.get("body", b""), before, phase)
        except Misuse:
            self.broken = response.begun
            raise
        except OSError as error:
            self.broken = True
            raise ClientGone("the client has gone") from error
        except BaseException:
            self.broken = True
            raise
        if phase is Phase.DONE:
            stream.changed()

    async def _send_body(self, body: bytes, before: Phase, phase: Phase) -> None:
        stream, response = self.stream, self.response
        last = phase is Phase.DONE
        if response.bodiless:
            body = b""
        if before is Phase.STARTED:
            length = len(body) if last else None
            end = last and not body
            date = self._state.ticker.date
            self._frames.headers(stream, response.start_headers(length, date), end=end)
            if end:
                return
        if body:
            await stream.write(body)
        if last:
            stream.finish()

    def _send_trailers(self, message: Message) -> None:
        stream = self.stream
        stream.last_headers = (stream.last_headers or []) + trailers(message)
        if self.response.phase is Phase.DONE:
            stream.finish()
