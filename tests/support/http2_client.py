"""A client of HTTP/2 by hand (RFC 9113): it opens the windows as far as a test says, and breaks what rules it likes."""

from __future__ import annotations

import socket
import ssl
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import Frame, GoAwayFrame

from .process import PATIENCE

__all__ = ["FORBIDDEN", "Answer", "Http2Client", "WholeFrames"]

FORBIDDEN = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""Headers that are about a connection of HTTP/1."""


class WholeFrames:
    """Cuts bytes into frames. GOAWAY is kept for itself: h2 takes it for the end that is still to come."""

    def __init__(self) -> None:
        self.goaway: GoAwayFrame | None = None
        self._rest = b""

    def cut(self, data: bytes) -> Iterator[bytes]:
        """The frames that have become whole."""
        self._rest += data
        while len(self._rest) >= 9:
            frame, size = Frame.parse_frame_header(memoryview(self._rest[:9]))
            if len(self._rest) < 9 + size:
                return
            whole, self._rest = self._rest[: 9 + size], self._rest[9 + size :]
            if isinstance(frame, GoAwayFrame):
                frame.parse_body(memoryview(whole[9:]))
                self.goaway = frame
            else:
                yield whole


@dataclass
class Answer:
    """What has come on a stream."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    reset: int | None = None
    """The error code that the server has ended the stream with."""
    unread: int = 0
    """Bytes by which the client has not opened the window again."""


class Http2Client:
    """One connection, with TLS if a context is given; `answers` by the number of their stream.

    With `window`, so many bytes may be under way on a stream, and more only after `read_on`.
    """

    def __init__(
        self, port: int, trusted: ssl.SSLContext | None = None, *, window: int = 1 << 20
    ) -> None:
        self.answers: defaultdict[int, Answer] = defaultdict(Answer)
        self.gone = False
        self.frames = WholeFrames()
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if trusted is not None:
            trusted.set_alpn_protocols(["h2"])
            self.sock = trusted.wrap_socket(self.sock, server_hostname="127.0.0.1")
        self.http2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        initial = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
        self.http2.local_settings = h2.settings.Settings(client=True, initial_values=initial)
        self.http2.initiate_connection()
        self.http2.increment_flow_control_window(1 << 28)
        self._flush()

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def ask(
        self,
        path: str | bytes,
        method: str = "GET",
        *,
        end: bool = True,
        more: Sequence[tuple[bytes, bytes]] = (),
    ) -> int:
        """Send the head of a request; the number of its stream."""
        stream = self.http2.get_next_available_stream_id()
        target = path.encode() if isinstance(path, str) else path
        pseudo = {b":method": method.encode(), b":path": target, b":authority": b"x"}
        headers = [*pseudo.items(), (b":scheme", b"https"), *more]
        self.http2.send_headers(stream, headers, end_stream=end)
        self._flush()
        return stream

    def get(self, path: str) -> bytes:
        """Ask for something, and wait for all of it."""
        stream = self.ask(path)
        answer = self.read_until(stream)
        assert answer.complete and answer.status == 200, answer
        return bytes(answer.body)

    def send(self, stream: int, body: bytes, *, size: int = 16_000, end: bool = True) -> None:
        """Send a body in frames of so many bytes; read only while its window is closed."""
        for start in range(0, len(body), size):
            part = body[start : start + size]
            while self.http2.local_flow_control_window(stream) < len(part) and not self.gone:
                self._receive()
                self.read_on(stream)
            self.http2.send_data(stream, part)
            self._flush()
        if end:
            self.http2.end_stream(stream)
            self._flush()

    def reset(self, stream: int) -> None:
        """Want no more of a stream."""
        self.http2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self._flush()

    def read_on(self, stream: int) -> None:
        """Open the window of a stream by what has come on it."""
        answer = self.answers[stream]
        if answer.unread:
            with suppress(h2.exceptions.ProtocolError):  # it has ended
                self.http2.increment_flow_control_window(answer.unread, stream)
            answer.unread = 0
            self._flush()

    def read_until(
        self, stream: int, size: int | None = None, *, open_window: bool = True
    ) -> Answer:
        """Read until so many bytes of an answer have come, or the end of it, or of the connection."""
        answer = self.answers[stream]
        while not (
            answer.complete
            or answer.reset is not None
            or self.gone
            or (size is not None and answer.status and len(answer.body) >= size)
        ):
            if open_window:
                self.read_on(stream)
            self._receive()
        return answer

    def read_to_the_end(self) -> None:
        """Read until the connection is over."""
        while not self.gone:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self.sock.recv(1 << 16)
        except (
            ConnectionResetError,
            ssl.SSLEOFError,
        ):  # a server that is done with it need not read all of it
            data = b""
        self.gone = not data
        events = [
            event for frame in self.frames.cut(data) for event in self.http2.receive_data(frame)
        ]
        for event in events:
            stream = getattr(event, "stream_id", None)
            if not stream:
                continue
            answer = self.answers[stream]
            if isinstance(event, h2.events.ResponseReceived):
                answer.headers = dict(event.headers)
                answer.status = int(answer.headers.pop(b":status"))
            elif isinstance(event, h2.events.DataReceived):
                answer.body += event.data
                answer.unread += event.flow_controlled_length
            elif isinstance(event, h2.events.StreamEnded):
                answer.complete = True
            elif isinstance(event, h2.events.StreamReset):
                answer.reset = event.error_code
        self._flush()

    def _flush(self) -> None:
        # A server that is done with the connection need not hear what is acknowledged.
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            self.sock.sendall(self.http2.data_to_send())
