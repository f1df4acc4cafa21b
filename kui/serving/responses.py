"""The states of one response, for every version of HTTP: which ASGI message may come next, and what it may hold.

Nothing here knows how a message is written, or to whom: that is `http1` and `http2`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from baize.typing import Message

__all__ = ["Headers", "Misuse", "Phase", "Response", "checked_headers"]

Headers: TypeAlias = list[tuple[bytes, bytes]]


class Misuse(RuntimeError):
    """The app has sent what may not be sent, or not now; the text says what it should send."""


class Phase(enum.Enum):
    """How far a response is."""

    WAITING = "has not begun"
    STARTED = "was started"
    BODY = "is in its body"
    TRAILERS = "is in its trailers"
    DONE = "is complete"


_START: Final = "http.response.start"
_HINT: Final = "http.response.early_hint"
_BODY: Final = "http.response.body"
_TRAILERS: Final = "http.response.trailers"

# From a phase, by a message and whether another of its kind follows, to the next phase. Where
# trailers were announced, `Response.advance` puts TRAILERS in the place of the first DONE.
_NEXT: Final[dict[tuple[Phase, str, bool], Phase]] = {
    (Phase.WAITING, _HINT, False): Phase.WAITING,
    (Phase.WAITING, _START, False): Phase.STARTED,
    (Phase.STARTED, _BODY, True): Phase.BODY,
    (Phase.STARTED, _BODY, False): Phase.DONE,
    (Phase.BODY, _BODY, True): Phase.BODY,
    (Phase.BODY, _BODY, False): Phase.DONE,
    (Phase.TRAILERS, _TRAILERS, True): Phase.TRAILERS,
    (Phase.TRAILERS, _TRAILERS, False): Phase.DONE,
}
_MORE: Final = {_BODY: "more_body", _TRAILERS: "more_trailers"}

_is_token = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_is_value = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*").fullmatch
# What belongs to a connection, and not to a response (RFC 9110, 7.6.1): the server decides on it.
_HOP_BY_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_names: Final[dict[bytes, bytes]] = {}
"""Valid names as apps write them, in lower case; bounded, for an app may make names up."""


class Response:
    """One response on its way through its phases.

    :param head: True if the request's method is HEAD, whose response has no body (RFC 9110, 9.3.2).

    `status` and `headers` are those of the start, checked, without what belongs to the connection;
    `close` is True if the app has asked for the end of the connection; `bodiless` if no body is
    sent; `left` is how much of the promised Content-Length is to come, or None without a promise.
    """

    __slots__ = (
        "_head",
        "_trailers",
        "bodiless",
        "close",
        "headers",
        "left",
        "phase",
        "status",
    )

    def __init__(self, head: bool) -> None:
        self._head = head
        self._trailers = False
        self.phase = Phase.WAITING
        self.status = 0
        self.headers: Headers = []
        self.close = False
        self.bodiless = head
        self.left: int | None = None

    def advance(self, message: Message) -> Phase:
        """Take note of a message of the app; the phase in which the response is then.

        :raises Misuse: it may not be sent now, its headers or its status are wrong, or the body is
            longer or shorter than its Content-Length. What follows a body of the wrong length can
            only be the end of the connection.
        """
        kind = message["type"]
        name = _MORE.get(kind)
        more = name is not None and bool(message.get(name, False))
        phase = _NEXT.get((self.phase, kind, more))
        if phase is None:
            raise Misuse(f"{kind} was sent while the response {self.phase.value}")
        if kind is _BODY or kind == _BODY:
            if self.left is not None and not self.bodiless:
                self._count(len(message.get("body", b"")), more)
            if phase is Phase.DONE and self._trailers:
                phase = Phase.TRAILERS
        elif phase is Phase.STARTED:
            self._start(message)
        self.phase = phase
        return phase

    @property
    def begun(self) -> bool:
        """True if the client may have seen a part of it: a start alone is not sent."""
        return self.phase not in (Phase.WAITING, Phase.STARTED)

    def _start(self, message: Message) -> None:
        status = message["status"]
        if not (isinstance(status, int) and 200 <= status < 600):
            raise Misuse(f"a response has a status from 200 to 599, not {status!r}")
        self.status = int(status)
        self.headers, self.close, length = checked_headers(message.get("headers", ()))
        self._trailers = bool(message.get("trailers", False))
        self.bodiless = self._head or status == 204 or status == 304
        self.left = length
        if status == 204 and length is not None:  # RFC 9110, 8.6
            self.headers = [header for header in self.headers if header[0] != b"content-length"]

    def _count(self, size: int, more: bool) -> None:
        assert self.left is not None
        self.left -= size
        if self.left < 0:
            raise Misuse("the body is longer than its Content-Length")
        if self.left and not more:
            raise Misuse(f"the body is {self.left} bytes shorter than its Content-Length")


def checked_headers(
    headers: Iterable[tuple[bytes, bytes]],
) -> tuple[Headers, bool, int | None]:
    """Headers fit to be sent, their names in lower case; whether they ask to close; the Content-Length.

    :raises Misuse: a name is no token, a value has a control character (RFC 9110, 5.5), or the
        Content-Length is no number, or there are two of them.
    """
    checked: Headers = []
    close = False
    length: int | None = None
    for name, value in headers:
        lower = _names.get(name)
        if lower is None:
            lower = _checked_name(name)
        if not _is_value(value):
            raise Misuse(f"the header {name!r} has a control character in its value")
        if lower in _HOP_BY_HOP:
            close = close or (lower == b"connection" and b"close" in value.lower())
            continue
        if lower == b"content-length":
            if length is not None or not value.isdigit() or len(value) > 19:
                raise Misuse(f"Content-Length is one number, not {value!r}")
            length = int(value)
        checked.append((lower, value))
    return checked, close, length


def _checked_name(name: bytes) -> bytes:
    if not _is_token(name):
        raise Misuse(f"{name!r} is no name of a header")
    lower = bytes(name).lower()
    if len(_names) < 1000:
        _names[bytes(name)] = lower
    return lower
