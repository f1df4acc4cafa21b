"""A client of HTTP/1.1 and WebSockets that sends what a test says, byte by byte, and reads strictly."""

from __future__ import annotations

import os
import re
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field

__all__ = [
    "BINARY",
    "CLOSE",
    "CONT",
    "PING",
    "PONG",
    "TEXT",
    "Cut",
    "Frame",
    "Response",
    "Wire",
    "frame",
]

STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9][0-9]) ([\t \x21-\x7e\x80-\xff]*)")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Cut(Exception):
    """The connection ended where the client had a right to more. `got` is what came since the last whole thing."""

    def __init__(self, got: bytes, *, by_reset: bool) -> None:
        super().__init__(f"cut {'by a reset' if by_reset else ''} after {got[-200:]!r}")
        self.got = got
        self.by_reset = by_reset


@dataclass
class Response:
    """One response, read by its framing."""

    version: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    interim: list[Response] = field(default_factory=list)
    """The 1xx responses before this one."""

    def values(self, name: str) -> list[str]:
        """The values of a header, as they came."""
        return [value for key, value in self.headers if key.lower() == name]

    def header(self, name: str) -> str | None:
        """The value of a header that comes once at most."""
        values = self.values(name)
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    @property
    def closes(self) -> bool:
        return "close" in (self.header("connection") or "").lower()


@dataclass
class Frame:
    """A WebSocket frame that a server has sent: never masked."""

    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def code(self) -> int:
        """The code of a close frame; 1005 if it has none."""
        assert self.opcode == CLOSE, self
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else 1005


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True
) -> bytes:
    """The bytes of a frame, right or wrong."""
    size = len(payload)
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if size < 126:
        head += bytes([mask << 7 | size])
    elif size < 65536:
        head += struct.pack("!BH", mask << 7 | 126, size)
    else:
        head += struct.pack("!BQ", mask << 7 | 127, size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    whole = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")
    return head + key + masked.to_bytes(size, "big")


class Wire:
    """One connection. Whatever it waits for comes within `patience` seconds, or TimeoutError is raised."""

    def __init__(
        self,
        port: int,
        *,
        patience: float,
        receive_buffer: int | None = None,
        send_buffer: int | None = None,
    ) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if send_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.sock.settimeout(patience)
        try:
            self.sock.connect(("127.0.0.1", port))
        except OSError:
            self.sock.close()
            raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self._ended = False
        self._was_reset = False

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    # What goes out.

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(
        self,
        path: str,
        *headers: str,
        method: str = "GET",
        version: str = "1.1",
        body: bytes | None = None,
    ) -> None:
        """Send a request, with its Content-Length if there is a body."""
        self.send(request(path, *headers, method=method, version=version, body=body))

    def get(
        self, path: str, *headers: str, method: str = "GET", body: bytes | None = None
    ) -> Response:
        """Send a request and read its response."""
        self.ask(path, *headers, method=method, body=body)
        return self.response(method)

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Be gone, with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # What comes in.

    def response(self, method: str = "GET") -> Response:
        """Read one response with the interim ones before it. Raises Cut if it is not whole."""
        interim: list[Response] = []
        while True:
            response = self._head()
            if response.status >= 200 or response.status == 101:
                break
            interim.append(response)
        response.interim = interim
        if method == "HEAD" or response.status in (101, 204, 304):
            return response
        coding, length = response.header("transfer-encoding"), response.header("content-length")
        if coding is not None:
            assert coding == "chunked" and length is None and response.version == "1.1", response
            response.body, response.trailers = self._chunked()
        elif length is not None:
            assert length.isascii() and length.isdigit(), response
            response.body = self._exactly(int(length))
        else:
            while self._more():
                pass
            response.body, self._data = self._data, b""
            if self._was_reset:
                raise Cut(response.body, by_reset=True)
        return response

    def until_closed(self) -> bytes:
        """All that still comes, until the connection is over in whatever way."""
        while self._more():
            pass
        data, self._data = self._data, b""
        return data

    def until(self, text: bytes) -> bytes:
        """What comes up to and with some bytes. Raises Cut."""
        while text not in self._data:
            self._need_more()
        end = self._data.index(text) + len(text)
        data, self._data = self._data[:end], self._data[end:]
        return data

    @property
    def was_reset(self) -> bool:
        """True if the server has ended the connection by RST."""
        return self._was_reset

    def is_quiet(self, seconds: float = 0.15) -> bool:
        """True if neither a byte nor an end comes for a while."""
        if self._data or self._ended:
            return False
        patience = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self._more()
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(patience)
        return False

    # WebSockets.

    def upgrade(self, path: str, *headers: str, behind: bytes = b"") -> Response:
        """Ask for a WebSocket and read the answer."""
        self.send(handshake(path, *headers) + behind)
        return self.response()

    def frame(self) -> Frame:
        """Read a frame. Raises Cut."""
        first, second = self._exactly(2)
        assert not first & 0x70 and not second & 0x80, (
            "a server's frame has no mask and no extensions"
        )
        size = second
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._exactly(8))
        return Frame(first & 15, self._exactly(size), bool(first & 0x80))

    def close_code(self) -> int:
        """Read up to the close frame; its code. 1006 if the connection ends without one."""
        try:
            while (got := self.frame()).opcode != CLOSE:
                pass
        except Cut:
            return 1006
        return got.code

    # Bytes.

    def _head(self) -> Response:
        lines = self.until(b"\r\n\r\n")[:-4].split(b"\r\n")
        status = STATUS_LINE.fullmatch(lines[0])
        assert status is not None, lines[0]
        fields = [FIELD.fullmatch(line) for line in lines[1:]]
        assert all(fields), lines
        headers = [(f[1].decode("latin-1"), f[2].decode("latin-1")) for f in fields if f]
        return Response(status[1].decode(), int(status[2]), status[3].decode(), headers)

    def _chunked(self) -> tuple[bytes, list[tuple[str, str]]]:
        body, trailers = b"", []
        while size := int(self.until(b"\r\n")[:-2], 16):
            chunk = self._exactly(size + 2)
            assert chunk[-2:] == b"\r\n", chunk[-9:]
            body += chunk[:-2]
        while (line := self.until(b"\r\n")[:-2]) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            trailers.append((name, value.strip()))
        return body, trailers

    def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            self._need_more()
        data, self._data = self._data[:size], self._data[size:]
        return data

    def _need_more(self) -> None:
        if not self._more():
            raise Cut(self._data, by_reset=self._was_reset)

    def _more(self) -> bool:
        if self._ended:
            return False
        try:
            data = self.sock.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            self._was_reset = True
            data = b""
        self._ended = not data
        self._data += data
        return bool(data)


def request(
    path: str, *headers: str, method: str = "GET", version: str = "1.1", body: bytes | None = None
) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: example.org", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def handshake(path: str, *headers: str) -> bytes:
    """The bytes of a request for a WebSocket (RFC 6455, 4.1)."""
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    return request(path, *upgrade, f"Sec-WebSocket-Key: {KEY}", *headers)


def push(wire: Wire, data: bytes) -> None:
    """Send as much as the server takes; it may have hung up meanwhile."""
    with suppress(ConnectionResetError, BrokenPipeError):
        wire.send(data)
