"""WebSocket clients on real sockets, over HTTP/1.1 and HTTP/2, that can also misbehave. They block, for 20 s at most."""

from __future__ import annotations

import socket
import struct
from collections import deque
from contextlib import suppress
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from .process import PATIENCE

__all__ = ["Client", "Closed", "Denied", "WebSocketOverHttp2"]

CHUNK = 65536


class Closed(Exception):
    """The connection is over: the server's close code and reason, or 1006 if there is none."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Denied(Exception):
    """The handshake was refused: the response."""

    def __init__(self, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
        super().__init__(status, body)
        self.status = status
        self.headers = headers
        self.body = body


def receive(sock: socket.socket) -> bytes:
    """Some bytes, or none at the end: a server that hangs up with something unread resets the connection."""
    try:
        return sock.recv(CHUNK)
    except ConnectionResetError:
        return b""


class Messages:
    """What both clients have: messages of frames, and frames of messages."""

    protocol: WSConnection | Connection

    def __init__(self) -> None:
        self.received: deque[str | bytes] = deque()
        self._parts: list[Any] = []
        self.closed: Closed | None = None
        self.pings = 0

    def write(self, data: bytes) -> None:
        raise NotImplementedError

    def read(self) -> None:
        """Read something and take note of it."""
        raise NotImplementedError

    def send(self, event: Event | str | bytes) -> None:
        if isinstance(event, str):
            event = TextMessage(data=event)
        elif isinstance(event, bytes):
            event = BytesMessage(data=event)
        self.write(self.protocol.send(event))

    def send_fragments(self, *parts: str | bytes) -> None:
        """Send one message in several frames."""
        for number, part in enumerate(parts, 1):
            kind: type[Message] = TextMessage if isinstance(part, str) else BytesMessage
            self.send(kind(data=part, message_finished=number == len(parts)))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame."""
        self.send(CloseConnection(code, reason))

    def receive(self) -> str | bytes:
        """The next message; raises Closed when there will be none."""
        while not self.received:
            if self.closed is not None:
                raise self.closed
            self.read()
        return self.received.popleft()

    def until_closed(self) -> Closed:
        """Receive until the connection is over."""
        while self.closed is None:
            self.received.clear()
            self.read()
        return self.closed

    def handle(self, event: Event) -> None:
        if isinstance(event, Message):
            self._parts.append(event.data)
            if event.message_finished:
                self.received.append(self._parts[0][:0].join(self._parts))
                self._parts.clear()
        elif isinstance(event, Ping):
            self.pings += 1
            self.answer(event.response())
        elif isinstance(event, CloseConnection):
            self.closed = self.closed or Closed(event.code, event.reason or "")
            if self.protocol.state is ConnectionState.REMOTE_CLOSING:
                self.answer(event.response())

    def answer(self, event: Event) -> None:
        """Send what the server may not wait for: it may have hung up."""
        with suppress(OSError, h2.exceptions.ProtocolError):
            self.send(event)


class Client(Messages):
    """A WebSocket over HTTP/1.1."""

    def __init__(
        self,
        port: int,
        path: str = "/",
        *,
        subprotocols: tuple[str, ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
        receive_buffer: int | None = None,
        handshake: bool = True,
    ) -> None:
        super().__init__()
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self.accepted: AcceptConnection | None = None
        self._rejected: RejectConnection | None = None
        self._body = b""
        self._denied: Denied | None = None
        request = Request(
            host="127.0.0.1",
            target=path,
            subprotocols=list(subprotocols),
            extra_headers=[(name.encode(), value.encode()) for name, value in headers],
        )
        self.write(self.protocol.send(request))
        if handshake:
            self.shake_hands()

    def shake_hands(self) -> None:
        """Wait until the server has accepted. Raises Denied."""
        while self.accepted is None:
            if self._denied is not None:
                self.sock.close()
                raise self._denied
            self.read()

    @property
    def subprotocol(self) -> str | None:
        assert self.accepted is not None
        return self.accepted.subprotocol

    def write(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self) -> None:
        data = receive(self.sock)
        if not data:
            if self.accepted is None:
                self._denied = self._denied or self._make_denial()
            self.closed = self.closed or Closed(1006)
            return
        self.protocol.receive_data(data)
        for event in self.protocol.events():
            if isinstance(event, AcceptConnection):
                self.accepted = event
            elif isinstance(event, RejectConnection):
                self._rejected = event
                if not event.has_body:
                    self._denied = self._make_denial()
            elif isinstance(event, RejectData):
                self._body += event.data
                if event.body_finished:
                    self._denied = self._make_denial()
            else:
                self.handle(event)

    def _make_denial(self) -> Denied:
        assert self._rejected is not None, "the server has not answered the handshake"
        return Denied(self._rejected.status_code, dict(self._rejected.headers), self._body)

    def until_hung_up(self) -> None:
        """Read until the server has closed the connection, in whatever way."""
        while receive(self.sock):
            pass

    def reset(self) -> None:
        """Be gone, with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self) -> None:
        """Send no more, without a close frame."""
        self.sock.shutdown(socket.SHUT_WR)

    def disappear(self) -> None:
        """Close the connection without a close frame."""
        self.sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *args: object) -> None:
        self.sock.close()


class WebSocketOverHttp2(Messages):
    """A WebSocket over HTTP/2 without TLS (RFC 8441), alone on its connection."""

    def __init__(self, port: int, path: str = "/", *, subprotocols: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.http2 = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding="latin-1")
        )
        self.http2.initiate_connection()
        self.protocol = Connection(ConnectionType.CLIENT)
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        self.stream = self.http2.get_next_available_stream_id()
        self.flush()
        while not self.http2.remote_settings.enable_connect_protocol:
            self._read()
        headers = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "127.0.0.1"),
            ("sec-websocket-version", "13"),
        ]
        if subprotocols:
            headers.append(("sec-websocket-protocol", ", ".join(subprotocols)))
        self.http2.send_headers(self.stream, headers)
        self.flush()
        while self.status is None:
            self._read()
        if self.status != 200:
            while not self.ended:
                self._read()
            self.sock.close()
            raw = {name.encode(): value.encode() for name, value in self.headers.items()}
            raise Denied(self.status, raw, self.body)

    @property
    def subprotocol(self) -> str | None:
        return self.headers.get("sec-websocket-protocol")

    def flush(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # what it still says can be read
            self.sock.sendall(self.http2.data_to_send())

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            room = min(
                self.http2.local_flow_control_window(self.stream),
                self.http2.max_outbound_frame_size,
            )
            if room <= 0:
                self._read()
                continue
            self.http2.send_data(self.stream, bytes(view[:room]))
            view = view[room:]
            self.flush()

    def read(self) -> None:
        self._read()
        if self.ended:
            self.closed = self.closed or Closed(1006)

    def _read(self) -> None:
        data = receive(self.sock)
        if not data:
            self.ended = True
            return
        arrived = b""
        for event in self.http2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.headers = dict(event.headers)
                self.status = int(self.headers.pop(":status"))
            elif isinstance(event, h2.events.DataReceived):
                arrived += event.data
                self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                self.ended = True
        self.flush()
        if self.status != 200:
            self.body += arrived
        elif arrived:
            assert isinstance(self.protocol, Connection)
            self.protocol.receive_data(arrived)
            for event in self.protocol.events():
                self.handle(event)

    def reset(self) -> None:
        """Give up the stream."""
        self.http2.reset_stream(self.stream)
        self.flush()

    def __enter__(self) -> WebSocketOverHttp2:
        return self

    def __exit__(self, *args: object) -> None:
        self.sock.close()
