"""The states of an HTTP exchange, and the tables that say how they change (docs/design.md, "The states").

Nothing here waits, and nothing knows a server: what happens is an event, and a table gives the next state. An event
that a row does not name changes nothing.
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
    """What is known of the request's body."""

    COMING = 0
    """More may arrive, and is kept for a reader."""
    UNWANTED = 1
    """More may arrive. The handler has returned: it may be discarded to make room."""
    CUT = 2
    """A part was discarded, and more may arrive."""
    UNANNOUNCED = 3
    """None was announced. A reader asks the server all the same."""
    WHOLE = 4
    """Its end has arrived, or there is none."""
    CUT_SHORT = 5
    """Its end has arrived, and a part was discarded."""


class BodyEvent(enum.IntEnum):
    """What happens to the request's body."""

    ENDS = 0
    """Its last message arrives."""
    GIVEN_UP = 1
    """The handler has returned, or the last message of the response is sent."""
    DISCARDED = 2
    """A part that was not read is thrown away."""


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
    """How far the response has come."""

    NOT_BEGUN = 0
    BODY = 1
    """It has begun; the last piece of its body ends it."""
    BODY_THEN_TRAILERS = 2
    """It has begun; trailers end it."""
    ENDING = 3
    """Its last message is being sent. A disconnect from now on means nothing: servers send one behind it."""
    ENDED = 4
    """Its last message was sent."""
    CUT_OFF = 5
    """It has begun, and nothing more will be sent."""
    NEVER_BEGUN = 6
    """Nothing was sent, and nothing will be."""


class ResponseEvent(enum.IntEnum):
    """What happens to the response."""

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
    """A message that others follow: a piece of the body, an early hint."""


RESPONSE: Final[Mapping[ResponseState, Mapping[ResponseEvent, ResponseState]]] = {
    ResponseState.NOT_BEGUN: {
        ResponseEvent.START: ResponseState.BODY,
        ResponseEvent.START_WITH_TRAILERS: ResponseState.BODY_THEN_TRAILERS,
        # Without a start, the server refuses these; what is left of the request is discarded meanwhile.
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
    """Why an exchange is over before its last message was sent."""

    CLIENT_LEFT = "the client left"
    SERVER_CANCELLED = "the server cancelled the request"
    DRAIN = "the server is stopping"
    STALLED = "the client stopped reading"


REPLACEABLE: Final = frozenset((None, Gone.DRAIN))
"""The reasons that a later one replaces: a client may leave while the server drains. Other reasons stay."""


_Rows: TypeAlias = tuple[tuple[S, ...], ...]


def _rows(table: Mapping[S, Mapping[E, S]], states: type[S], events: type[E]) -> _Rows[S]:
    """Return the same table, where a state and an event are an index each: enums are slow keys of a dictionary."""
    return tuple(tuple(table[state].get(event, state) for event in events) for state in states)


_BODY: Final = _rows(BODY, RequestBodyState, BodyEvent)
_RESPONSE: Final = _rows(RESPONSE, ResponseState, ResponseEvent)

# Python 3.11 takes ten times as long to find a member in its class as to find a name here.
_UNANNOUNCED: Final = RequestBodyState.UNANNOUNCED
_WHOLE: Final = RequestBodyState.WHOLE
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

    Example::

        state = ExchangeState(body_expected(scope))
        state.response_event(event_of(message))
    """

    __slots__ = ("body", "gone", "response")

    def __init__(self, expects_body: bool) -> None:
        self.body = RequestBodyState.COMING if expects_body else _UNANNOUNCED
        self.response = _NOT_BEGUN
        self.gone: Gone | None = None

    def body_event(self, event: BodyEvent) -> None:
        """Apply an event to the state of the request's body."""
        self.body = _BODY[self.body][event]

    def response_event(self, event: ResponseEvent) -> None:
        """Apply an event to the state of the response."""
        self.response = _RESPONSE[self.response][event]

    def sends(self, message: Message) -> bool:
        """Note that a message of the response is about to be sent; True if it is the last: then no body is wanted."""
        self.response_event(event_of(message))
        if self.response is not _ENDING:
            return False
        self.body_event(_GIVEN_UP)
        return True

    def sends_whole(self) -> None:
        """Note that the two messages that a response consists of are about to be sent."""
        self.response = _RESPONSE[_RESPONSE[self.response][_START]][_LAST_PIECE]
        self.body = _BODY[self.body][_GIVEN_UP]

    def sent_the_last(self) -> None:
        """Note that the last message of the response has been sent."""
        self.response = _RESPONSE[self.response][_SENT]

    def give_up_body(self) -> None:
        """Keep no more of the request's body: the handler has returned, or the last message is sent."""
        self.body_event(_GIVEN_UP)

    def terminate(self, why: Gone) -> bool:
        """End the exchange; True if this is the reason now, and not one that came before."""
        if self.gone not in REPLACEABLE or self.gone is why:
            return False
        self.gone = why
        return True

    @property
    def body_is_coming(self) -> bool:
        """True if more of the request body may arrive."""
        return self.body < _UNANNOUNCED

    @property
    def body_is_open(self) -> bool:
        """True if a reader has to ask for more, or to be told that a part was discarded."""
        return self.body is not _WHOLE

    @property
    def discards(self) -> bool:
        """True if what arrives of the request body is not kept."""
        return self.body is RequestBodyState.UNWANTED or self.body is RequestBodyState.CUT

    @property
    def answered(self) -> bool:
        """True if the last message of the response is on its way, or there will be none."""
        return self.response >= _ENDING

    @property
    def finished(self) -> bool:
        """True if the last message of the response has been sent."""
        return self.response is _ENDED


def event_of(message: Message) -> ResponseEvent:
    """Return the event that sending an ASGI message is."""
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
    """True if this request may have a body.

    HTTP/1 says so in its headers (RFC 9112, section 6.3); HTTP/2 and 3 only say when there is none.

    :param fields: the headers as a dictionary, if the caller has one.
    """
    if fields is None:
        fields = dict(scope["headers"])
    length = fields.get(b"content-length")
    if length is not None:
        return bool(length.strip(b" 0"))
    return b"transfer-encoding" in fields or scope.get("http_version", "1.1") not in _HTTP_1
