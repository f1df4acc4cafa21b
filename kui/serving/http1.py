"""Parse the requests of an HTTP/1.1 connection (RFC 9112) with httptools (llhttp), without a socket, clock or loop.

`Http1` parses up to the end of one request and keeps the bytes after it unparsed, so that a client that pipelines many
requests has only one of them parsed. `http1_request` refuses what RFC 9112 forbids and httptools accepts.
`http1_response` writes responses; `connection` reads, writes and waits.
"""

from __future__ import annotations

import enum
from typing import Final

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from .http1_request import Malformed, Request, check
from .responses import Headers

__all__ = ["FIELDS", "Http1", "Reading"]

HEAD_SIZE: Final = 64 * 1024
"""Limit of a request's head in bytes, and of the bytes around the chunks of its body."""
FIELDS: Final = 100
"""Limit of a request's header fields, trailers included."""
PARSED_AT_ONCE: Final = 16 * 1024
"""How many bytes are parsed at once, at most, if the end of a request may be among them."""

_END: Final = b"\r\n\r\n"


class Reading(enum.Enum):
    """The part of a request to which the next bytes belong."""

    HEAD = "the head of a request"
    BODY = "the body of the current request"
    REST = "what follows the current request, and is not looked at"
    UPGRADED = "another protocol"
    FAILED = "nothing: what came before was malformed"


# Their names as globals: up to CPython 3.11 a member of an Enum is slow to look up.
_HEAD, _BODY, _REST, _UPGRADED, _FAILED = Reading


class Http1:
    """The requests of one connection.

    ::

        http1 = Http1()
        http1.receive_data(data)
        if http1.request is not None:
            ...  # answer it, and receive more data while it is not complete
            http1.start_next()

    - `request`: the current request once its head is complete, otherwise None.
    - `error`: the error of a malformed request, or None. Nothing is parsed after it.
    - `reading`: the part to which the next bytes belong.
    """

    __slots__ = (
        "_chunked",
        "_fields",
        "_headers",
        "_left",
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
        self._fields = 0
        self._size = 0  # bytes of the head, or around the chunks of the body
        # The last three bytes that were parsed, because an empty line may be split.
        self._tail = b""
        self._left = 0
        self._chunked = False
        self.reading = _HEAD
        self.request: Request | None = None
        self.error: Malformed | None = None

    @property
    def kept(self) -> int:
        """How many bytes have arrived after the current request."""
        return len(self._rest)

    @property
    def in_head(self) -> bool:
        """True if a part of a head has arrived."""
        return self.reading is _HEAD and self._size > 0

    def receive_data(self, data: bytes) -> None:
        """Parse bytes up to the end of the current request, and keep the rest."""
        reading = self.reading
        if reading is _HEAD and not self._size and data.find(_END) == len(data) - 4:
            self._parse_head(data)
        elif reading is _HEAD or reading is _BODY:
            self._parse(data)
        elif reading is not _FAILED:
            self._rest += data

    def start_next(self) -> None:
        """Drop the current request, which must be complete, and parse the bytes after it."""
        assert self.reading is _REST
        self.request = None
        self.reading = _HEAD
        self._target = b""
        self._headers = []
        self._fields = self._size = 0
        self._tail = b""
        if self._rest:
            data, self._rest = self._rest, b""
            self._parse(data)

    def take_rest(self) -> bytes:
        """Return the bytes after the request: they are the first of another protocol."""
        rest, self._rest = self._rest, b""
        return rest

    def close(self) -> None:
        """Drop the parser, which holds a reference to this object."""
        self._parser = None

    # ---- parsing, a piece at a time

    def _parse_head(self, data: bytes) -> None:
        """Parse the usual case: a head that arrived at once, with nothing after it."""
        if len(data) > HEAD_SIZE or len(data) <= len(_END):
            self._parse(data)
            return
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
        """Handle an error of the parser. `rest` are the bytes that it has not got yet."""
        if isinstance(error, HttpParserUpgrade):
            self._upgraded(rest)
        elif not isinstance(error, HttpParserCallbackError):
            self.fail(Malformed(400, str(error)))
        elif self.error is None:  # an error in a callback of this module, not in the request
            raise error

    def _end_of_piece(self, data: bytes, position: int) -> int:
        """Return the position up to which to parse: the end of the body, or else the next empty line."""
        if self.reading is _BODY and not self._chunked:
            return min(len(data), position + self._left)
        if self._tail:
            split = (self._tail + data[position : position + 3]).find(_END)
            if split >= 0:
                return position + split + 4 - len(self._tail)
        end = data.find(_END, position, position + PARSED_AT_ONCE)
        return min(len(data), position + PARSED_AT_ONCE) if end < 0 else end + 4

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
        """Parse nothing more, because of `error`."""
        self.error = error
        self.reading = _FAILED
        self._rest = b""

    def _upgraded(self, rest: bytes) -> None:
        """Go on after an Upgrade, at which llhttp stops before the body.

        An Upgrade to anything but a WebSocket is ignored (RFC 9110, section 7.8): the body is parsed after a new head
        that has nothing but the framing headers.
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
            self.fail(error := Malformed(431, "there are more than 100 header fields"))
            raise error
        if self.request is None:
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self.request is not None:  # the head is parsed again, without its Upgrade
            return
        parser = self._parser
        assert parser is not None
        method = parser.get_method().decode("ascii")
        request = Request(method, self._target, parser.get_http_version(), self._headers)
        try:
            check(request)
        except Malformed as error:
            self.fail(error)
            raise
        request.keep_alive = parser.should_keep_alive()
        request.websocket = request.websocket and parser.should_upgrade()
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
