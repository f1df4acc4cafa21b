"""The states of an HTTP exchange, and the tables of their transitions (docs/design.md, "The states").

Nothing here waits or calls a server. A table gives the next state for a state and an event; an event that a row does
not name changes nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, TypeVar

from baize.typing import Message

__all__ = [
    "BodyEvent",
    "ExchangeState",
    "Gone",
    "RequestBodyState",
    "ResponseEvent",
    "ResponseState",
    "body_expected",
    "event_of",
]

S = TypeVar("S", bound=enum.IntEnum)
E = TypeVar("E", bound=enum.IntEnum)

_HTTP_1: Final = frozenset(("1.0", "1.1"))


class RequestBodyState(enum.IntEnum):
    """The state of the request's body."""

    COMING = 0
    """More may arrive, and is kept for a reader."""
    UNWANTED = 1
    """More may arrive, and may be discarded to make room, because the handler has returned."""
    CUT = 2
    """A part was discarded, and more may arrive."""
    UNANNOUNCED = 3
    """The headers announced no body. A reader asks the server nevertheless."""
    WHOLE = 4
    """The end of the body has arrived, or there is no body."""
    CUT_SHORT = 5
    """The end of the body has arrived, and a part was discarded."""


class BodyEvent(enum.IntEnum):
    """An event of the request's body."""

    ENDS = 0
    """The last message of the body arrives."""
    GIVEN_UP = 1
    """The handler has returned, or the last message of the response is sent."""
    DISCARDED = 2
    """An unread part is discarded."""


BODY: Final[Mapping[RequestBodyState, Mapping[BodyEvent, RequestBodyState]]] = {
    RequestBodyState.COMING: {
        BodyEvent.ENDS: RequestBodyState.WHOLE,
        BodyEvent.GIVEN_UP: RequestBodyState.UNWANTED,
        BodyEvent.DISCARDED: RequestBodyState.CUT,
    },
    RequestBodyState.UNWANTED: {
        BodyEvent.ENDS: RequestBodyState.WHOLE,
        BodyEvent.DISCARDED: RequestBodyState.CUT,
    },
    RequestBodyState.CUT: {BodyEvent.ENDS: RequestBodyState.CUT_SHORT},
    RequestBodyState.UNANNOUNCED: {
        BodyEvent.ENDS: RequestBodyState.WHOLE,
        BodyEvent.GIVEN_UP: RequestBodyState.WHOLE,
    },
    RequestBodyState.WHOLE: {BodyEvent.DISCARDED: RequestBodyState.CUT_SHORT},
    RequestBodyState.CUT_SHORT: {},
}


class ResponseState(enum.IntEnum):
    """The state of the response."""

    NOT_BEGUN = 0
    BODY = 1
    """The response has begun; the last piece of its body ends it."""
    BODY_THEN_TRAILERS = 2
    """The response has begun; its trailers end it."""
    ENDING = 3
    """The last message is being sent. A disconnect is ignored from now on: servers send one after each response."""
    ENDED = 4
    """The last message was sent."""
    CUT_OFF = 5
    """The response has begun, and nothing more will be sent."""
    NEVER_BEGUN = 6
    """Nothing was sent, and nothing will be sent."""


class ResponseEvent(enum.IntEnum):
    """An event of the response."""

    START = 0
    START_WITH_TRAILERS = 1
    LAST_PIECE = 2
    """The last piece of the body, or the file that is its body, is about to be sent."""
    LAST_TRAILERS = 3
    """The last trailers are about to be sent."""
    SENT = 4
    """The message that was about to be sent has been sent."""
    ABANDONED = 5
    """The request ends."""
    OTHER = 6
    """A message that is not the last, such as a piece of the body or an early hint."""


RESPONSE: Final[Mapping[ResponseState, Mapping[ResponseEvent, ResponseState]]] = {
    ResponseState.NOT_BEGUN: {
        ResponseEvent.START: ResponseState.BODY,
        ResponseEvent.START_WITH_TRAILERS: ResponseState.BODY_THEN_TRAILERS,
        # The server refuses these without a start; the rest of the request is discarded meanwhile.
        ResponseEvent.LAST_PIECE: ResponseState.ENDING,
        ResponseEvent.LAST_TRAILERS: ResponseState.ENDING,
        ResponseEvent.ABANDONED: ResponseState.NEVER_BEGUN,
    },
    ResponseState.BODY: {
        ResponseEvent.LAST_PIECE: ResponseState.ENDING,
        ResponseEvent.ABANDONED: ResponseState.CUT_OFF,
    },
    ResponseState.BODY_THEN_TRAILERS: {
        ResponseEvent.LAST_TRAILERS: ResponseState.ENDING,
        ResponseEvent.ABANDONED: ResponseState.CUT_OFF,
    },
    ResponseState.ENDING: {
        ResponseEvent.SENT: ResponseState.ENDED,
        ResponseEvent.ABANDONED: ResponseState.CUT_OFF,
    },
    ResponseState.ENDED: {},
    ResponseState.CUT_OFF: {},
    ResponseState.NEVER_BEGUN: {},
}


class Gone(enum.Enum):
    """The reason why an exchange is over before its last message was sent."""

    CLIENT_LEFT = "the client left"
    SERVER_CANCELLED = "the server cancelled the request"
    DRAIN = "the server is stopping"
    STALLED = "the client stopped reading"


REPLACEABLE: Final = frozenset((None, Gone.DRAIN))
"""The reasons that a later reason replaces: a client may leave while the server drains."""


_Rows: TypeAlias = tuple[tuple[S, ...], ...]


def _rows(table: Mapping[S, Mapping[E, S]], states: type[S], events: type[E]) -> _Rows[S]:
    """Return the table as tuples that are indexed by state and event, which is faster than a dictionary of enums."""
    return tuple(tuple(table[state].get(event, state) for event in events) for state in states)


_BODY: Final = _rows(BODY, RequestBodyState, BodyEvent)
_RESPONSE: Final = _rows(RESPONSE, ResponseState, ResponseEvent)

# Python 3.11 takes ten times as long to find a member in its class as to find a name here.
_UNANNOUNCED: Final = RequestBodyState.UNANNOUNCED
_NOT_BEGUN: Final = ResponseState.NOT_BEGUN
_ENDING: Final = ResponseState.ENDING
_ENDED: Final = ResponseState.ENDED
_GIVEN_UP: Final = BodyEvent.GIVEN_UP
_START: Final = ResponseEvent.START
_LAST_PIECE: Final = ResponseEvent.LAST_PIECE
_SENT: Final = ResponseEvent.SENT
_OTHER: Final = ResponseEvent.OTHER


class ExchangeState:
    """The state of one exchange: its request body, its response, and why it is over.

    - `request_body`: the creator sets it to `COMING` if a body is expected.
    - `response`: how far the response has come.
    - `gone`: the reason why the exchange is over, or None.

    Example::

        state = ExchangeState()
        state.response_event(event_of(message))
    """

    request_body: RequestBodyState = _UNANNOUNCED
    response: ResponseState = _NOT_BEGUN
    gone: Gone | None = None

    def body_event(self, event: BodyEvent) -> None:
        """Apply an event to the state of the request's body."""
        self.request_body = _BODY[self.request_body][event]

    def response_event(self, event: ResponseEvent) -> None:
        """Apply an event to the state of the response."""
        self.response = _RESPONSE[self.response][event]

    def sends(self, message: Message) -> bool:
        """Record that a message of the response is about to be sent; return True if it is the last.

        With the last message, the request's body is given up.
        """
        self.response_event(event_of(message))
        if self.response is not _ENDING:
            return False
        self.body_event(_GIVEN_UP)
        return True

    def sends_whole(self) -> None:
        """Record that both messages of a response of two messages are about to be sent."""
        self.response = _RESPONSE[_RESPONSE[self.response][_START]][_LAST_PIECE]
        self.request_body = _BODY[self.request_body][_GIVEN_UP]

    def sent_the_last(self) -> None:
        """Record that the last message of the response was sent."""
        self.response = _RESPONSE[self.response][_SENT]

    def give_up_body(self) -> None:
        """Allow to discard what arrives of the body from now on, because the handler has returned.

        A reader that reads after a part was discarded gets a RuntimeError.
        """
        self.body_event(_GIVEN_UP)

    def ends(self, why: Gone) -> bool:
        """End the exchange; return True if `why` is now the reason, False if an earlier reason is kept."""
        if self.gone not in REPLACEABLE or self.gone is why:
            return False
        self.gone = why
        return True

    @property
    def body_is_coming(self) -> bool:
        """True if more of the request body may arrive."""
        return self.request_body < _UNANNOUNCED

    @property
    def discards(self) -> bool:
        """True if what arrives of the request body is not kept."""
        return self.request_body in (RequestBodyState.UNWANTED, RequestBodyState.CUT)

    @property
    def started(self) -> bool:
        """True if the response has begun."""
        return self.response not in (_NOT_BEGUN, ResponseState.NEVER_BEGUN)

    @property
    def answered(self) -> bool:
        """True if the last message of the response is being sent or was sent, or none will be sent."""
        return self.response >= _ENDING

    @property
    def finished(self) -> bool:
        """True if the last message of the response has been sent."""
        return self.response is _ENDED


def event_of(message: Message) -> ResponseEvent:
    """Return the event for sending an ASGI message."""
    kind = message["type"]
    if kind == "http.response.body" or kind == "http.response.zerocopysend":
        return _OTHER if message.get("more_body") else _LAST_PIECE
    if kind == "http.response.start":
        return ResponseEvent.START_WITH_TRAILERS if message.get("trailers") else _START
    if kind == "http.response.pathsend":
        return _LAST_PIECE
    if kind == "http.response.trailers" and not message.get("more_trailers"):
        return ResponseEvent.LAST_TRAILERS
    return _OTHER


def body_expected(scope: Mapping[str, Any], fields: Mapping[bytes, bytes] | None = None) -> bool:
    """Return True if a request may have a body.

    The headers of HTTP/1 say so (RFC 9112, section 6.3). In HTTP/2 and 3 a body needs no announcement; only
    `Content-Length: 0` says that there is none.

    :param fields: the headers as a dictionary, if the caller has one.
    """
    if fields is None:
        fields = dict(scope["headers"])
    length = fields.get(b"content-length")
    if length is not None:
        return bool(length.strip(b" 0"))
    return b"transfer-encoding" in fields or scope.get("http_version", "1.1") not in _HTTP_1
