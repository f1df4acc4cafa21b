"""The states of one response, for every version of HTTP: which ASGI message may come next, and what it may hold.

Nothing here knows how a message is written, or to whom: that is `http1` and `http2`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from typing import Final, NoReturn, TypeAlias

from baize.typing import Message

__all__ = ["HeaderField", "Headers", "Misuse", "Phase", "Response", "checked_headers"]

Headers: TypeAlias = list[tuple[bytes, bytes]]


class Misuse(RuntimeError):
    """The app has sent what may not be sent, or not now; the text says what it should send."""


class Phase(enum.IntEnum):
    """How far a response is."""

    WAITING = 0
    STARTED = 1
    BODY = 2
    TRAILERS = 3
    DONE = 4


_WORDS: Final = (
    "has not begun",
    "was started",
    "is in its body",
    "is in its trailers",
    "is complete",
)

_START: Final = "http.response.start"
_HINT: Final = "http.response.early_hint"
_BODY: Final = "http.response.body"
_TRAILERS: Final = "http.response.trailers"

# From a phase, by a message, to the next phase: where no other message of its kind follows, and where one does.
# Where trailers were announced, `Response.advance` puts TRAILERS in the place of the first DONE.
_NEXT: Final[dict[Phase, dict[str, tuple[Phase, Phase]]]] = {
    Phase.WAITING: {
        _HINT: (Phase.WAITING, Phase.WAITING),
        _START: (Phase.STARTED, Phase.STARTED),
    },
    Phase.STARTED: {_BODY: (Phase.DONE, Phase.BODY)},
    Phase.BODY: {_BODY: (Phase.DONE, Phase.BODY)},
    Phase.TRAILERS: {_TRAILERS: (Phase.DONE, Phase.TRAILERS)},
    Phase.DONE: {},
}

_is_token = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_find_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
# What belongs to a connection, and not to a response (RFC 9110, 7.6.1): the server decides on it.
_HOP_BY_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_LOOKED_AT: Final = _HOP_BY_HOP | {b"content-length", b"date"}


class HeaderField:
    """A header field that may be sent.

    `header` is its name, in lower case, and its value; `line` is both as HTTP/1.1 has them. `plain`
    is True if it has no meaning for the server.
    """

    __slots__ = ("header", "line", "plain")

    def __init__(self, name: bytes, value: bytes) -> None:
        self.header = name, value
        self.line = b"%b: %b\r\n" % self.header
        self.plain = name not in _LOOKED_AT


_fields: Final[dict[tuple[bytes, bytes], HeaderField]] = {}
"""Fields as apps write them, and as they are sent; bounded, for most are always the same."""

# Their names as globals: up to CPython 3.11 a member of an Enum is slow to look up.
_WAITING, _STARTED, _IN_BODY, _TRAILING, _DONE = Phase


class Response:
    """One response on its way through its phases.

    :param head: True if the request's method is HEAD, whose response has no body (RFC 9110, 9.3.2).

    `status` and `fields` are those of the start, checked, without what belongs to the connection;
    `close` is True if the app has asked for the end of the connection, `dated` if there is a Date
    among the headers, `bodiless` if no body is sent; `left` is how many bytes of the promised
    Content-Length are still missing, or None without a promise.
    """

    __slots__ = (
        "_head",
        "_trailers",
        "bodiless",
        "close",
        "dated",
        "fields",
        "left",
        "phase",
        "status",
    )

    def __init__(self, head: bool) -> None:
        self._head = head
        self._trailers = False
        self.phase = _WAITING
        self.status = 0
        self.fields: list[HeaderField] = []
        self.close = self.dated = False
        self.bodiless = head
        self.left: int | None = None

    def advance(self, message: Message) -> Phase:
        """Take note of a message of the app; the phase in which the response is then.

        :raises Misuse: it may not be sent now, its headers or its status are wrong, or the body is
            longer or shorter than its Content-Length. What follows a body of the wrong length can
            only be the end of the connection.
        """
        kind = message["type"]
        follow = _NEXT[self.phase].get(kind)
        if follow is None:
            raise Misuse(f"{kind} was sent while the response {_WORDS[self.phase]}")
        phase, with_more = follow
        if kind == _BODY:
            if message.get("more_body"):
                phase = with_more
            if self.left is not None and not self.bodiless:
                self.left -= len(message.get("body", b""))
                if self.left < 0 or (self.left and phase is _DONE):
                    self._fail_length(self.left)
            if self._trailers and phase is _DONE:
                phase = _TRAILING
        elif kind == _START:
            self._start(message)
        elif kind == _TRAILERS and message.get("more_trailers"):
            phase = with_more
        self.phase = phase
        return phase

    @property
    def begun(self) -> bool:
        """True if the client may have seen a part of it: a start alone is not sent."""
        return self.phase >= _IN_BODY

    def _start(self, message: Message) -> None:
        status = message["status"]
        if not (isinstance(status, int) and 200 <= status < 600):
            raise Misuse(f"a response has a status from 200 to 599, not {status!r}")
        self.left = None
        self.dated = self.close = False
        fields = []
        for name, value in message.get("headers", ()):
            field = _fields.get((name, value)) or _checked(name, value)
            if field.plain or self._look_at(*field.header):
                fields.append(field)
        self.fields = fields
        self.status = status
        self._trailers = bool(message.get("trailers", False))
        self.bodiless = self._head or status == 204 or status == 304
        if status == 204 and self.left is not None:  # RFC 9110, 8.6
            self.fields = [field for field in fields if field.header[0] != b"content-length"]

    def _look_at(self, name: bytes, value: bytes) -> bool:
        """Note what a field says to the server; True if it is for the client, too."""
        if name == b"content-length":
            if self.left is not None or not value.isdigit() or len(value) > 19:
                raise Misuse(f"Content-Length is one number, not {value!r}")
            self.left = int(value)
            return True
        if name == b"date":
            self.dated = True
            return True
        if name == b"connection":
            self.close = self.close or b"close" in value.lower()
        return False

    def _fail_length(self, left: int) -> NoReturn:
        if left < 0:
            raise Misuse("the body is longer than its Content-Length")
        raise Misuse(f"the body is {left} bytes shorter than its Content-Length")


def checked_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers of the app, fit to be sent, with names in lower case, without those of a connection.

    :raises Misuse: a name is no token, or a value has a control character (RFC 9110, 5.5).
    """
    checked = [_fields.get((name, value)) or _checked(name, value) for name, value in headers]
    return [field.header for field in checked if field.header[0] not in _HOP_BY_HOP]


def _checked(name: bytes, value: bytes) -> HeaderField:
    if not _is_token(name):
        raise Misuse(f"{name!r} is no name of a header")
    if _find_control(value):
        raise Misuse(f"the value of the header {name!r} has a control character")
    field = HeaderField(bytes(name).lower(), bytes(value).strip(b" \t"))
    if len(_fields) < 1000 and len(name) + len(value) < 200:
        _fields[name, value] = field
    return field
