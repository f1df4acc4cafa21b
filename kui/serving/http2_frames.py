"""The frames of one HTTP/2 connection (RFC 9113), with h2, without tasks, sockets or waits.

Bytes that arrive become calls of `Events`. What the streams have queued becomes bytes, a frame of each stream in turn,
as far as the client's windows allow. The limits on what a client may ask for are counted here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, Protocol

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    UnknownFrameReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from .http2_framing import FrameTooLarge, WholeFrames
from .http2_messages import HEADERS_SIZE
from .http2_stream import Stream
from .pipes import CHUNK
from .responses import Headers

__all__ = ["STREAMS", "Broken", "Events", "Frames"]

STREAMS: Final = 100
"""How many requests a connection may have at once. Further ones are refused, and may be sent again."""
UPLOADS: Final = 1024 * 1024
"""How many bytes of all bodies of a connection may wait for the app, besides the usual 64 KiB."""
PATIENCE: Final = 1000
"""How many frames without content (pings, settings, resets, empty data and such) a client may send at once."""
RENEWAL: Final = 50
"""How many more of them it may send each second. Each frame of a body, in either direction, allows two more."""
_SHORTEST: Final = 9
"""The size of an empty frame, in bytes."""


class Broken(Exception):
    """Raised if the client has broken the protocol or a limit. The connection must end after its output was sent."""


class Events(Protocol):
    """What happens to the streams of a connection. These methods must not wait."""

    def on_request(self, number: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """A request has begun on the stream with this number."""

    def on_data(self, number: int, data: bytes, size: int) -> None:
        """A part of a body has arrived, which uses up `size` bytes of the windows."""

    def on_end(self, number: int) -> None:
        """The client has sent a whole request."""

    def on_reset(self, number: int) -> None:
        """A stream was reset in both directions."""

    def on_sent(self, stream: Stream) -> None:
        """All output of a stream was sent, with its end."""

    def on_output(self) -> None:
        """There is something to send."""


class Frames:
    """The frames of one connection.

    - `told`: True once the client was told that no further stream is served.
    - `ending`: True once the client cannot open a window any more.
    """

    __slots__ = (
        "_blocked",
        "_events",
        "_h2",
        "_out",
        "_patience",
        "_ready",
        "_renewed",
        "_whole",
        "ending",
        "last",
        "told",
    )

    def __init__(self, events: Events, now: float) -> None:
        self._events = events
        self._h2 = _make_h2()
        self._whole = WholeFrames()
        self._ready: dict[int, Stream] = {}  # streams that have output, in the order of their turns
        # Streams that have output, but whose windows are closed.
        self._blocked: dict[int, Stream] = {}
        self._out = bytearray()
        self._patience = PATIENCE
        self._renewed = now
        self.last = 0
        """The number of the last stream that is served."""
        self.told = False
        self.ending = False

    # ---- what comes in

    def receive_data(self, data: bytes, now: float) -> Iterator[int]:
        """Handle bytes in steps, between which other tasks may get a turn; yield the number of events of each step.

        :raises Broken: the client has broken the protocol; the caller must send the output and end the connection.
        """
        try:
            for batch in self._whole.batches(data):
                yield self._receive_batch(batch, now)
        except FrameTooLarge as error:
            self.go_away(ErrorCodes.FRAME_SIZE_ERROR)
            raise Broken(str(error)) from error
        self._patience -= self._whole.goaways
        self._whole.goaways = 0
        if self._patience < 0:
            self._renew(now)

    def _receive_batch(self, batch: bytes, now: float) -> int:
        self._collect()
        try:
            events = self._h2.receive_data(batch)
        except ProtocolError as error:
            self.told = True
            raise Broken(str(error) or type(error).__name__) from error
        replies = self._h2.data_to_send()
        self._out += replies
        self._patience -= len(replies) // _SHORTEST
        for event in events:
            self._handle(event)
        if self._patience < 0:
            self._renew(now)
        return len(events)

    def _renew(self, now: float) -> None:
        self._patience = min(PATIENCE, self._patience + int((now - self._renewed) * RENEWAL))
        self._renewed = now
        if self._patience < 0:
            self.go_away(ErrorCodes.ENHANCE_YOUR_CALM)
            raise Broken("there are too many frames that bring nothing")

    def _handle(self, event: Event) -> None:
        events = self._events
        match event:
            case DataReceived():
                self._patience += 2 if event.data or event.stream_ended else -1
                events.on_data(event.stream_id, event.data, event.flow_controlled_length)
            case RequestReceived():
                events.on_request(event.stream_id, event.headers)
            case StreamEnded():
                events.on_end(event.stream_id)
            case WindowUpdated():
                self._patience -= 1
                if not event.stream_id:
                    self._unblock()
                elif (stream := self._blocked.pop(event.stream_id, None)) is not None:
                    self._ready[event.stream_id] = stream
            case StreamReset():
                self._patience -= 1
                events.on_reset(event.stream_id)
            case RemoteSettingsChanged():
                self._unblock()
            case PriorityUpdated() | UnknownFrameReceived():
                self._patience -= 1

    def _unblock(self) -> None:
        self._ready.update(self._blocked)
        self._blocked.clear()

    # ---- what goes out

    def output(self) -> bytes:
        """Return the bytes to send now, with at most 64 KiB of bodies, one frame of each stream in turn."""
        room = CHUNK
        while self._ready and room > 0:
            stream = self._ready.pop(next(iter(self._ready)))
            try:
                room -= self._send_frame(stream)
            except ProtocolError:  # h2 knows more of the stream's end
                self._events.on_reset(stream.number)
        self._collect()
        data = bytes(self._out)
        self._out.clear()
        return data

    @property
    def too_much(self) -> bool:
        """True if nothing more may be read until something was sent."""
        return len(self._out) > CHUNK

    def headers(self, stream: Stream, headers: Headers, *, end: bool = False) -> None:
        """Send headers; with `end`, they are the last of the stream."""
        if stream.lost:
            return
        try:
            self._h2.send_headers(stream.number, headers, end_stream=end)
        except ProtocolError:  # h2 knows more of the stream's end
            self._events.on_reset(stream.number)
            return
        if end:
            stream.closing = True
            self._has_sent(stream)
        self._events.on_output()

    def queued(self, stream: Stream) -> None:
        """Record that the stream has output, or has sent all."""
        number = stream.number
        blocked = number in self._blocked and not (stream.failing or self.ending)
        if stream.sent or blocked:
            return
        self._blocked.pop(number, None)
        self._ready[number] = stream
        self._events.on_output()

    def acknowledge(self, number: int, size: int) -> None:
        """Let the client send `size` more bytes."""
        with suppress(ProtocolError):  # the connection has ended
            self._h2.acknowledge_received_data(size, number)
        self._events.on_output()

    def refuse(self, number: int) -> None:
        """Refuse a stream that was not begun; the client may send the request again."""
        self._patience -= 1
        self._send_reset(number, ErrorCodes.REFUSED_STREAM)

    def count_malformed(self) -> None:
        """Count a malformed request, because a client may not send many of them."""
        self._patience -= 1

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """End a stream in both directions."""
        self._send_reset(stream.number, code)
        self._events.on_reset(stream.number)

    def _send_reset(self, number: int, code: ErrorCodes) -> None:
        with suppress(ProtocolError):  # the client has reset it
            self._h2.reset_stream(number, code)
        self._events.on_output()

    def go_away(self, code: ErrorCodes) -> None:
        """Send GOAWAY: no further stream is served. It is written here, because with h2 all streams would end."""
        if not self.told:
            self.told = True
            self._collect()
            self._out += GoAwayFrame(0, last_stream_id=self.last, error_code=code).serialize()
            self._events.on_output()

    def forget(self, stream: Stream) -> None:
        """Drop the output of a stream."""
        self._ready.pop(stream.number, None)
        self._blocked.pop(stream.number, None)

    def _collect(self) -> None:
        """Append what h2 has to send to the output."""
        self._out += self._h2.data_to_send()

    def _send_frame(self, stream: Stream) -> int:
        """Give the next frame of a stream's queue to h2; return its size."""
        h2, number, out = self._h2, stream.number, stream.out
        if not out:
            if stream.closing:
                self._send_end(stream)
            return 0
        size = min(len(out), h2.local_flow_control_window(number), h2.max_outbound_frame_size)
        if size <= 0:
            self._cannot_send(stream)
            return 0
        end = size == len(out) and stream.ends_with_data
        h2.send_data(number, bytes(memoryview(out)[:size]), end_stream=end)
        del out[:size]
        self._patience = min(PATIENCE, self._patience + 2)
        stream.progressed()
        if end:
            self._has_sent(stream)
        elif out or stream.closing:
            self._ready[number] = stream
        return size

    def _send_end(self, stream: Stream) -> None:
        if stream.failing:
            self.reset(stream, ErrorCodes.INTERNAL_ERROR)
            return
        if stream.last_headers is not None:
            self._h2.send_headers(stream.number, stream.last_headers, end_stream=True)
        else:
            self._h2.end_stream(stream.number)
        self._has_sent(stream)

    def _cannot_send(self, stream: Stream) -> None:
        """Record that the windows of a stream are closed."""
        if stream.failing:
            self.reset(stream, ErrorCodes.INTERNAL_ERROR)
        elif self.ending:
            self._events.on_reset(stream.number)
        else:
            self._blocked[stream.number] = stream

    def _has_sent(self, stream: Stream) -> None:
        stream.sent = True
        self._events.on_sent(stream)


def _make_h2() -> H2Connection:
    """Return h2 for a server. Its first frames must still be sent."""
    connection = H2Connection(
        H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    offered = {
        SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
        SettingCodes.MAX_HEADER_LIST_SIZE: HEADERS_SIZE,
        SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
    }
    connection.local_settings = Settings(client=False, initial_values=offered)
    connection.initiate_connection()
    connection.increment_flow_control_window(UPLOADS)
    # h2 would end the connection of a client that opens too many streams, or whose headers are too
    # large. So h2 gets higher limits, and single streams are refused here.
    offered[SettingCodes.MAX_CONCURRENT_STREAMS] = 10 * STREAMS
    connection.local_settings = Settings(client=False, initial_values=offered)
    connection.decoder.max_header_list_size = 4 * HEADERS_SIZE
    return connection
