"""One stream of HTTP/2: a `Pipe` of its bytes, and the `receive` and `send` of its request.

A stream only queues. Its output, at most 64 KiB, waits until the connection's writer finds room in the client's
windows. Its input waits until the app takes it; only then is the client told to send as many bytes again.
`http2_frames` makes the frames.
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
"""How many bytes may still wait for the client's window when a waiting `write` goes on."""


class ConnectionFrames(Protocol):
    """The part of the connection's frames that a stream uses. These methods do not wait."""

    def headers(self, stream: Stream, headers: Headers, *, end: bool = False) -> None:
        """Send headers; with `end`, they are the last of the stream."""

    def queued(self, stream: Stream) -> None:
        """Record that the stream has output, or has sent all."""

    def acknowledge(self, number: int, size: int) -> None:
        """Let the client send `size` more bytes."""

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """End a stream in both directions (RST_STREAM)."""


class Stream:
    """The bytes of one stream. It is a `Pipe`.

    - `complete`: True once the client has ended its side.
    - `gone`: True once the client has left.
    - `lost`: True once the stream was reset, or its connection has ended.
    - `closing`: True once the app has ended its side.
    - `failing`: True if the app's side must end with a reset.
    - `sent`: True once the end of the app's side was sent.
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
        """The output that waits for the client's windows."""
        self.last_headers: Headers | None = None
        """The trailers after the output."""
        self.bodiless = False
        """True if the response has no body, because the method is HEAD (RFC 9110, 9.3.2)."""
        self.closing = self.failing = self.sent = False
        self.complete = self.gone = self.lost = False
        self.over = False
        """True once the app has returned."""
        self.discarded = 0
        """How many bytes have arrived since then."""
        self.stalls_at = NEVER
        self.waits_until = NEVER
        """The time at which the client must have sent more, because the app or the connection waits for it."""
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
        """Record that bytes have arrived, which use up `size` bytes of the windows."""
        self._unread += data
        self._unpaid += size
        if not self._unread:  # the frame had nothing but padding
            self._pay()
        self.changed()

    def ended(self) -> None:
        """Record that the client has ended its side."""
        self.complete = True
        self.changed()

    def leave(self) -> None:
        """Record that the client has left, so that nothing more will arrive."""
        self.gone = True
        self.changed()

    def lose(self) -> None:
        """Record that the stream is lost in both directions."""
        self.gone = self.lost = self.sent = True
        self.out.clear()
        self.stalls_at = NEVER
        self.changed()
        self.drained()

    def changed(self) -> None:
        """Wake the tasks that wait to receive."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def progressed(self) -> None:
        """Record that a part of `out` was sent."""
        self.stalls_at = self._ticker.now + self._stall if self.out else NEVER
        if len(self.out) <= LOW:
            self.drained()

    def drained(self) -> None:
        """Wake the task that waits to send."""
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def pay_all(self) -> None:
        """Discard the input that has arrived, because it will not be taken."""
        self._unread.clear()
        self._pay()

    def _pay(self) -> None:
        size, self._unpaid = self._unpaid, 0
        if size:
            self._frames.acknowledge(self.number, size)

    @property
    def ends_with_data(self) -> bool:
        """True if the stream ends with the last byte of `out`."""
        return self.closing and not self.failing and self.last_headers is None

    @property
    def unread(self) -> bool:
        """True if bytes have arrived that were not taken."""
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
        """Wait until the state of the stream has changed. Several tasks may wait."""
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
        """See `Pipe`. It waits while 64 KiB wait for the client's window."""
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
        if len(self.out) + len(self._later) > 2 * CHUNK:
            self.abort()  # the client makes the protocol answer and does not read

    def finish(self) -> None:
        """See `Pipe`. The end of the stream is sent after what is queued."""
        if not self.closing:
            self.closing = True
            self._frames.queued(self)

    def fail(self) -> None:
        """End the stream with a reset, after sending as much of the queue as possible."""
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
    """The `receive` and `send` of one request. After the request, `send` raises, and `receive` returns a disconnect.

    - `broken`: True once nothing more can be sent.
    - `late`: True if the client was too slow with the body.
    """

    __slots__ = (
        "_frames",
        "_state",
        "_told",
        "_waiting",
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
        self._told = False  # True once the app has received the end of the body
        self._waiting = 0  # how many tasks wait in `receive`

    def receive_nowait(self) -> Message | None:
        """Return the part of the body that has arrived, or its end; None if nothing has. See `ReceivesNowait`."""
        stream = self.stream
        if stream.over or stream.lost or self._told or not (stream.unread or stream.complete):
            return None
        body = stream.take() or b""
        self._told = stream.complete
        return {"type": "http.request", "body": body, "more_body": not self._told}

    async def receive(self) -> Message:
        """ASGI's `receive`. If cancelled, no message is lost.

        Several tasks may wait in it: one of them gets the next part of the body, all get the disconnect.
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
        self._waiting += 1
        try:
            await stream.until_changed()
        finally:
            self._waiting -= 1
            if not (self._waiting or stream.over):  # a stream that is over has another deadline
                stream.waits_until = NEVER

    async def send(self, message: Message) -> None:
        """ASGI's `send`. It waits while the client does not read, and can then be cancelled.

        :raises ClientGone: the stream was reset, or the request is over.
        :raises Misuse: the message must not be sent now, or is wrong.
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
