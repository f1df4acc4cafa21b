"""Server-sent events (WHATWG HTML, 9.2): the encoding of an event, and the response that sends a stream of them."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, Generic, Required, TypedDict, TypeVar

from baize.typing import Message

from kui.concurrency import Exchange
from kui.concurrency.http.stream import StreamSource, stream
from kui.habits import EVENTS_PARAMETERS, told
from kui.http.event_streams import farewell
from kui.http.text import encode_text

from .content import PlainTextResponse
from .encode import to_json
from .stream import StreamResponse

__all__ = [
    "RETRY",
    "EncodedEvent",
    "Event",
    "EventSource",
    "SendEventResponse",
    "ServerSentEvent",
    "come_back_later",
    "encode_event",
]

T = TypeVar("T")

OPEN_AFTER: Final = 0.25
"""Seconds after which the headers are sent even if there is no event yet."""
PING: Final = b": ping\n\n"
HEADERS: Final = (("cache-control", "no-store"), ("x-accel-buffering", "no"))
RETRY: Final = 3000
"""Milliseconds after which a client reconnects when its stream was cut. It is Chromium's default."""

# The fields whose value is written unchanged after the name if it is one line without NUL.
_PLAIN: Final = frozenset(("data", "id", "event"))
# The line ends of the standard; others, such as U+2028, are text.
_lines = re.compile("\r\n|\r|\n").split


class ServerSentEvent(TypedDict, total=False):
    """The fields of an event, for annotations. A handler may yield any dictionary with these keys.

    - `data`: text of one or more lines; bytes, which are decoded as UTF-8; any other value is sent as JSON.
    - `id`: one line, which a client that reconnects sends in `Last-Event-ID`.
    - `event`: the name of the event, one line.
    - `retry`: milliseconds after which a client reconnects.
    - `comment`: text that clients ignore.

    Example::

        async def news() -> AsyncIterator[ServerSentEvent]:
            yield {"id": 7, "data": {"title": "news"}}
    """

    data: Any
    id: int | str
    event: str
    retry: int
    comment: str


class Event(TypedDict, Generic[T], total=False):
    """A `ServerSentEvent` with a type for its data, for annotations. The OpenAPI description has that type.

    Example::

        async def prices() -> AsyncIterator[Event[Price]]:
            yield {"id": 7, "data": Price(10)}
    """

    data: Required[T]
    id: int | str
    event: str
    retry: int
    comment: str


class EncodedEvent:
    """An event that was encoded once for many streams. `data` are the bytes to send."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class EventSource(AsyncIterator[Any]):
    """A source of events whose headers are sent with its first event, however long that takes.

    So an exception before the first event, such as HTTPException(403), becomes the response.
    """

    __slots__ = ()

    @abstractmethod
    async def __anext__(self) -> Any:
        """Return the next event, in a form that SendEventResponse takes."""


class SendEventResponse(StreamResponse):
    """A stream of events for a browser's `EventSource`.

    An event is a `str` (its data) or a dictionary with any fields of `ServerSentEvent`. A client that reconnects sends
    the id of the last event that it has seen in `request.headers["last-event-id"]`.

    The headers are sent with the first event, or after 0.25 s. A ping is never sent inside of an event, and never
    delays or cancels the source. Slow clients, clients that leave, and an app that must stop are handled as in
    StreamResponse. When the app stops, each client is told to reconnect after a random time from 1 to 10 s, so that
    they do not all come at once; a client that has reconnected is told `retry` again, or 3 s.

    :param iterable: the source of the events; all that StreamResponse takes.
    :param status_code: as for HttpResponse; so is `headers`.
    :param ping_interval: seconds without an event after which a comment is sent, so that no proxy closes the
        connection; None for no pings.
    :param retry: milliseconds after which a client reconnects when the connection is lost, sent before the first
        event; None for the client's default.
    :param charset: must be UTF-8, as the standard says.
    :raises ValueError: the charset is another one, or the interval is not positive.
    :raises TypeError: `iterable` is no source of events. An event that cannot be encoded raises ValueError or
        TypeError in the source, while the response is sent.

    Example::

        async def news():
            async for item in feed.since(request.headers.get("last-event-id")):
                yield {"id": item.id, "event": "news", "data": item.text}

        return SendEventResponse(news())
    """

    __slots__ = ("_ping_interval", "_retry")

    _more = HEADERS

    @told(EVENTS_PARAMETERS)
    def __init__(
        self,
        iterable: StreamSource[Any],
        status_code: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        *,
        ping_interval: float | None = 3,
        retry: int | None = None,
        charset: str = "utf-8",
    ) -> None:
        if charset.lower().replace("_", "-") not in ("utf-8", "utf8"):
            raise ValueError(f"event streams are UTF-8 by the standard, not {charset}")
        if ping_interval is not None and not ping_interval > 0:
            raise ValueError("ping_interval is a positive number of seconds, or None for no pings")
        super().__init__(iterable, status_code, headers, "text/event-stream")
        self._ping_interval = ping_interval
        self._retry = None if retry is None else _field("retry", retry).encode()

    def encode(self, chunk: Any) -> bytes:
        """Return the bytes of an event. Raises what `encode_event` raises."""
        return encode_event(chunk)

    async def _stream(self, exchange: Exchange, start: Message) -> None:
        interval = self._ping_interval
        decides = isinstance(self._source, EventSource)
        opening = self._retry
        if opening is None and not decides and _comes_back(exchange):
            opening = b"retry: %d\n" % RETRY
        await stream(
            exchange,
            self._source,
            start=start,
            encode=self.encode if opening is None else _behind(opening, self.encode),
            ping=None if interval is None else PING,
            ping_interval=interval or 0,
            open_after=math.inf if decides else OPEN_AFTER,
            farewell=farewell,
        )


def come_back_later() -> PlainTextResponse:
    """Return an event stream without events that tells its client to reconnect later. Clients do not give up on it."""
    headers = dict(HEADERS)
    return PlainTextResponse(farewell(), 200, headers, media_type="text/event-stream")


def _comes_back(exchange: Exchange) -> bool:
    """True if the client has read a stream before, and may have been told when to reconnect."""
    return any(name == b"last-event-id" for name, _ in exchange.scope["headers"])


def _behind(opening: bytes, encode_one: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Return a function that encodes events, and puts `opening` before the first one."""
    pending = opening

    def encode(event: Any) -> bytes:
        nonlocal pending
        data, pending = pending + encode_one(event), b""
        return data

    return encode


def encode_event(event: Mapping[str, Any] | str | EncodedEvent) -> bytes:
    """Return the bytes of an event: a line for each field, and an empty line.

    :raises ValueError: a field is unknown, an id or a name has a line break, an id has a NUL, or `retry` is no number
        of milliseconds.
    :raises TypeError: `event` is no event.

    Example: `encode_event({"id": 7, "data": "a\\nb"})` -> `b"id: 7\\ndata: a\\ndata: b\\n\\n"`.
    """
    if isinstance(event, str):
        event = {"data": event}
    elif not isinstance(event, (dict, Mapping)):  # the check for a dict alone is much faster
        if isinstance(event, EncodedEvent):
            return event.data
        raise TypeError(f"an event is a dictionary or a str, not {type(event).__qualname__}")
    if not event:
        raise ValueError("an event has at least one of data, event, id, retry and comment")
    text = ""
    for name, value in event.items():
        if (
            name in _PLAIN
            and type(value) is str
            and "\n" not in value
            and "\r" not in value
            and "\0" not in value
        ):
            text = f"{text}{name}: {value}\n"
        else:
            text += _field(name, value)
    return encode_text(f"{text}\n")


def _field(name: str, value: Any) -> str:
    """Return the lines of a field, whose value may be of any type."""
    if name == "data":
        return _block(name, value)
    if name == "id":
        return _line(name, value, "\0")
    if name == "event":
        return _line(name, value, "\n")
    if name == "retry":
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"retry is a number of milliseconds, not {value!r}")
        return f"retry: {value}\n"
    if name == "comment":
        return _block("", value)
    raise ValueError(
        f"an event has no {name!r}, but data, event, id, retry and comment; put it into data"
    )


def _line(name: str, value: Any, refused: str) -> str:
    text = str(value)
    if "\n" in text or "\r" in text or refused in text:
        raise ValueError(f"the {name} of an event is one line without NUL, not {text!r}")
    return f"{name}: {text}\n"


def _block(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else _text(value)
    if "\n" in text or "\r" in text:
        return "".join([f"{name}: {line}\n" for line in _lines(text)])
    return f"{name}: {text}\n"


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    return to_json(value).decode()
