"""HTTP/1.1 on the server's side (RFC 9112), without a socket, a clock or a loop: over httptools, which is llhttp.

Bytes become requests, one at a time: `Http1` parses up to the end of a request and keeps what
follows as it came, so that however much a client pipelines, at most one request is parsed. What
httptools lets through and RFC 9112 does not is refused here. Responses are written by
`http1_response`; who reads, writes and waits is `connection`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar, Final
from urllib.parse import unquote

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from kui.http.hosts import valid_host

from .responses import Headers

__all__ = ["Http1", "Malformed", "Reading", "Request"]

HEAD_SIZE: Final = 64 * 1024
"""Bytes of a request's head, and of what surrounds the chunks of its body."""
FIELDS: Final = 100
"""Header fields of a request, its trailers included."""
PIECE: Final = 16 * 1024
"""Bytes that are parsed at a time where the end of a request may be among them."""

_END: Final = b"\r\n\r\n"
_SCHEMES: Final = (b"http://", b"https://")


class Malformed(Exception):
    """The client has sent what is no request, or none that is served; `status` is the answer to it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Reading(enum.Enum):
    """What the next bytes belong to."""

    HEAD = "the head of a request"
    BODY = "the body of the current request"
    REST = "what follows the current request, and is not looked at"
    UPGRADED = "another protocol"
    FAILED = "nothing: what came before was malformed"


# Their names as globals: up to CPython 3.11 a member of an Enum is slow to look up.
_HEAD, _BODY, _REST, _UPGRADED, _FAILED = Reading


class Request:
    """A request whose head is complete. Its body comes in until `complete`.

    `target` is as it was sent; `path` is undecoded and has no query. `expects` is True while the
    client waits for 100 Continue; `websocket` if it asks for a WebSocket.
    """

    __slots__ = (
        "body",
        "complete",
        "expects",
        "headers",
        "keep_alive",
        "length",
        "method",
        "path",
        "query",
        "target",
        "version",
        "websocket",
    )

    def __init__(self, method: str, target: bytes, version: str, headers: Headers) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.path, _, self.query = target.partition(b"?")
        self.keep_alive = False
        self.expects = False
        self.websocket = False
        self.length: int | None = 0
        """The Content-Length; None for a body in chunks."""
        self.body: bytes | bytearray = b""
        """What has come of the body and was not taken."""
        self.complete = False

    @property
    def decoded_path(self) -> str:
        """The path as ASGI has it: percent-decoded, as UTF-8."""
        path = self.path.decode("ascii")
        return unquote(path) if "%" in path else path

    def take_body(self) -> bytes:
        """Return what has come of the body, which is then no longer kept."""
        body, self.body = self.body, b""
        return bytes(body)


class Http1:
    """The requests of one connection.

    ::

        http1 = Http1()
        http1.receive_data(data)
        if http1.request is not None:
            ...  # answer it, and receive more data while it is not complete
            http1.start_next()

    `request` is the current one, once its head is complete. `error` is what is wrong with what has come in, once something is;
    nothing is parsed after it. `reading` says what the next bytes belong to.
    """

    __slots__ = (
        "_chunked",
        "_fields",
        "_headers",
        "_left",
        "_noted",
        "_parser",
        "_rest",
        "_size",
        "_tail",
        "_target",
        "error",
        "reading",
        "request",
    )

    def __init__(self) -> None:
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._rest = b""
        self._target = b""
        self._headers: Headers = []
        self._noted: Headers = []  # those of them with a meaning for the server
        self._fields = 0
        self._size = 0  # bytes of the head, or of what is in a body and is no data
        self._tail = b""  # the last three bytes that were parsed: an end may be split
        self._left = 0
        self._chunked = False
        self.reading = _HEAD
        self.request: Request | None = None
        self.error: Malformed | None = None

    @property
    def kept(self) -> int:
        """How many bytes have come in behind the current request."""
        return len(self._rest)

    @property
    def in_head(self) -> bool:
        """True if a part of a head has come in."""
        return self.reading is _HEAD and self._size > 0

    def receive_data(self, data: bytes) -> None:
        """Take bytes in, and parse them up to the end of the current request."""
        if self.reading is _HEAD or self.reading is _BODY:
            if self._is_whole_head(data):
                self._parse_whole(data)
            else:
                self._parse(data)
        elif self.reading is not _FAILED:
            self._rest += data

    def start_next(self) -> None:
        """Let go of the current request, which is complete, and parse what has come in behind it."""
        assert self.reading is _REST
        self.request = None
        self.reading = _HEAD
        self._target = b""
        self._headers = []
        self._noted = []
        self._fields = self._size = 0
        self._tail = b""
        if self._rest:
            data, self._rest = self._rest, b""
            self._parse(data)

    def take_rest(self) -> bytes:
        """Return what has come in behind the request: the first bytes of another protocol."""
        rest, self._rest = self._rest, b""
        return rest

    def close(self) -> None:
        """Let go of the parser, which refers to this object."""
        self._parser = None

    # ---- parsing, a piece at a time

    def _is_whole_head(self, data: bytes) -> bool:
        """True for the usual case: a head that came at once, and nothing behind it."""
        return (
            self._size == 0
            and self.reading is _HEAD
            and data.find(_END) == len(data) - 4
            and 4 < len(data) <= HEAD_SIZE
        )

    def _parse_whole(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._failed(error, b"")

    def _parse(self, data: bytes) -> None:
        position = end = 0
        try:
            while position < len(data):
                end = self._end_of_piece(data, position)
                self._feed(data, position, end)
                position = end
                if self.reading is not _HEAD and self.reading is not _BODY:
                    break
        except Malformed as error:
            self.fail(error)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._failed(error, data[end:])
        else:
            if position < len(data):
                self._rest = data[position:]

    def _failed(self, error: HttpParserError | HttpParserUpgrade, rest: bytes) -> None:
        """Note that the parser has stopped; `rest` is what it was not given yet."""
        if isinstance(error, HttpParserUpgrade):
            self._upgraded(rest)
        elif not isinstance(error, HttpParserCallbackError):
            self.fail(Malformed(400, str(error)))
        elif self.error is None:  # a fault of this module; the library keeps no reliable cause
            raise error

    def _end_of_piece(self, data: bytes, position: int) -> int:
        """Return how far to parse: a request ends at its length, or else at an empty line."""
        if self.reading is _BODY and not self._chunked:
            return min(len(data), position + self._left)
        if self._tail:
            split = (self._tail + data[position : position + 3]).find(_END)
            if split >= 0:
                return position + split + 4 - len(self._tail)
        end = data.find(_END, position, position + PIECE)
        return min(len(data), position + PIECE) if end < 0 else end + 4

    def _feed(self, data: bytes, position: int, end: int) -> None:
        assert self._parser is not None
        size = end - position
        piece = data if size == len(data) else memoryview(data)[position:end]
        if self.reading is _BODY and not self._chunked:
            self._left -= size
            self._parser.feed_data(piece)
            return
        self._size += size
        if self._size > HEAD_SIZE:
            if self.reading is _HEAD:
                raise Malformed(431, "the head is longer than 64 KiB")
            raise Malformed(400, "there is more around the chunks than in them")
        self._tail = (
            b"" if data.endswith(_END, position, end) else self._tail_of(data, position, end)
        )
        self._parser.feed_data(piece)
        if self._tail and self.reading is _HEAD and self._target:
            if self._tail.endswith(b"\n") and self._parser.get_http_version() == "0.0":
                raise Malformed(505, "the version is neither HTTP/1.1 nor HTTP/1.0")

    def _tail_of(self, data: bytes, position: int, end: int) -> bytes:
        return (self._tail + data[max(position, end - 3) : end])[-3:]

    def fail(self, error: Malformed) -> None:
        """Parse nothing more, for this reason."""
        self.error = error
        self.reading = _FAILED
        self._rest = b""

    def _refuse(self, status: int, reason: str) -> None:
        """Have a callback fail; the library hides what it has raised."""
        error = Malformed(status, reason)
        self.fail(error)
        raise error

    def _upgraded(self, rest: bytes) -> None:
        """llhttp stops at any Upgrade, and takes no body then. Those that are not WebSockets are ignored.

        The body is then parsed behind a head that has nothing but its framing (RFC 9110, 7.8).
        """
        request = self.request
        assert request is not None
        if request.websocket:
            request.complete = True
            self.reading = _UPGRADED
            self._rest = rest
            return
        self._parser = HttpRequestParser(self)
        framing = (
            b"Transfer-Encoding: chunked"
            if request.length is None
            else b"Content-Length: %d" % request.length
        )
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        self._tail = b""
        if request.complete:
            self._rest = rest
        elif rest:
            self._parse(rest)

    # ---- what httptools calls

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > FIELDS:
            self._refuse(431, "there are more than 100 header fields")
        if self.request is None:
            header = name.lower(), value.rstrip(b" \t")
            self._headers.append(header)
            if header[0] in self._NOTED:
                self._noted.append(header)

    def on_headers_complete(self) -> None:
        if self.request is not None:  # it is parsed again, without its Upgrade
            return
        parser = self._parser
        assert parser is not None
        version = parser.get_http_version()
        method = parser.get_method().decode("ascii")
        request = Request(method, self._target, version, self._headers)
        request.keep_alive = parser.should_keep_alive()
        self._check(request)
        self.request = request
        self.reading = _BODY
        self._chunked = request.length is None
        self._left = request.length or 0
        self._size = 0
        self._tail = b""

    def on_body(self, data: bytes) -> None:
        request = self.request
        assert request is not None
        if not request.body:
            request.body = data
        else:
            if isinstance(request.body, bytes):
                request.body = bytearray(request.body)
            request.body += data
        self._size = 0

    def on_message_complete(self) -> None:
        assert self.request is not None and self._parser is not None
        if not self._parser.should_upgrade():
            self.request.complete = True
            self.reading = _REST

    # ---- what is refused

    def _check(self, request: Request) -> None:
        """Refuse what RFC 9112 does not allow, and note what the headers say of the request itself."""
        if request.version != "1.1" and request.version != "1.0":
            self._refuse(505, "the version is neither HTTP/1.1 nor HTTP/1.0")
        hosts = 0
        for name, value in self._noted:
            if name == b"host":
                hosts += 1
            self._NOTED[name](self, request, value)
        if hosts > 1 or (not hosts and request.version == "1.1"):
            self._refuse(400, "there is not one Host")
        if request.path[:1] != b"/" or b"#" in request.target:
            self._check_target(request)
        if request.websocket:
            if request.method != "GET" or request.version != "1.1" or request.length != 0:
                request.websocket = False
            assert self._parser is not None
            request.websocket = request.websocket and self._parser.should_upgrade()

    def _check_target(self, request: Request) -> None:
        """Check a target that is no path: `*`, or the absolute form, which replaces Host (RFC 9112, 3.2)."""
        target = request.target
        if request.method == "CONNECT":
            self._refuse(501, "this is no proxy: CONNECT is not served")
        if b"#" in target:
            self._refuse(400, "the target has a fragment")
        if target == b"*" and request.method == "OPTIONS":
            return
        for scheme in _SCHEMES:
            if target[: len(scheme)].lower() == scheme:
                break
        else:
            self._refuse(400, "the target is neither a path nor a URL")
        authority, slash, path = request.path[len(scheme) :].partition(b"/")
        if not _known_host(authority):
            self._refuse(400, "the host of the target is malformed")
        request.path = slash + path or b"/"
        others = [header for header in request.headers if header[0] != b"host"]
        request.headers = [(b"host", authority), *others]

    def _note_host(self, request: Request, value: bytes) -> None:
        if value and not _known_host(value):
            self._refuse(400, "the Host is malformed")

    def _note_length(self, request: Request, value: bytes) -> None:
        if not value.isdigit() or len(value) > 19:
            self._refuse(400, "the Content-Length is no number")
        request.length = int(value)

    def _note_encoding(self, request: Request, value: bytes) -> None:
        if request.version == "1.0":
            self._refuse(400, "HTTP/1.0 knows no Transfer-Encoding")
        if value.lower() != b"chunked":
            self._refuse(501, "no Transfer-Encoding but chunked is served")
        request.length = None

    def _note_expect(self, request: Request, value: bytes) -> None:
        request.expects = value.lower() == b"100-continue" and request.version == "1.1"

    def _note_upgrade(self, request: Request, value: bytes) -> None:
        offers = (offer.strip() for offer in value.lower().split(b","))
        request.websocket = request.websocket or b"websocket" in offers

    _NOTED: ClassVar[dict[bytes, Callable[[Http1, Request, bytes], None]]] = {
        b"host": _note_host,  # of this module
        b"content-length": _note_length,  # of this module
        b"transfer-encoding": _note_encoding,  # of this module
        b"expect": _note_expect,  # of this module
        b"upgrade": _note_upgrade,  # of this module
    }


_known_host = lru_cache(256)(valid_host)
