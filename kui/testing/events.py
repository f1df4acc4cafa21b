"""Parse server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import codecs
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import anyio
import httpx2

from .exchanges import HttpExchange
from .signals import UNSET, Unset

if TYPE_CHECKING:
    from .transport import ASGITransport

__all__ = ["Event", "EventParser", "EventStream"]


@dataclass(frozen=True)
class Event:
    """One event, or one comment, which has only `comment`, if the stream was opened with `comments=True`.

    `id` is the last id of the stream, which may be that of an earlier event. `retry` is the
    reconnection time in milliseconds, if the event has one.
    """

    data: str = ""
    event: str = "message"
    id: str = ""
    retry: int | None = None
    comment: str | None = None

    def json(self) -> Any:
        """Return the data, parsed as JSON.

        :raises ValueError: it is not JSON.
        """
        return json.loads(self.data)


class EventParser:
    """Parses bytes into events; keeps `last_event_id` and `retry` as a browser does."""

    def __init__(self, *, comments: bool = False) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self._comments = comments
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._text = ""
        self._data: list[str] = []
        self._event = ""
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Return the events that `chunk` completes."""
        self._text += self._decoder.decode(chunk)
        while self._text:
            ends = [place for mark in "\r\n" if (place := self._text.find(mark)) >= 0]
            if not ends:
                return
            end = min(ends)
            if self._text[end] == "\r":
                if end + 1 == len(self._text):
                    return  # an LF that belongs to this line may follow
                after = end + 2 if self._text[end + 1] == "\n" else end + 1
            else:
                after = end + 1
            line, self._text = self._text[:end], self._text[after:]
            yield from self._line(line)

    def _line(self, line: str) -> Iterator[Event]:
        if not line:
            yield from self._dispatch()
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            if self._comments:
                yield Event(event="", comment=value, id=self.last_event_id)
        elif name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id":
            if "\0" not in value:
                self.last_event_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = self._retry = int(value)

    def _dispatch(self) -> Iterator[Event]:
        data, event, retry = self._data, self._event, self._retry
        self._data, self._event, self._retry = [], "", None
        if data:
            yield Event("\n".join(data), event or "message", self.last_event_id, retry)


class EventStream:
    """The events of one response; opened by `client.events(...)`.

    `last_event_id` is the id with which a client would resume, `retry` its reconnection time in
    milliseconds, if it was set.
    """

    def __init__(
        self,
        transport: ASGITransport,
        response: httpx2.Response,
        *,
        comments: bool = False,
        timeout: float | None = 5,
    ) -> None:
        self.response = response
        self._transport = transport
        self._exchange: HttpExchange = response.extensions["kui.exchange"]
        self._parser = EventParser(comments=comments)
        self._timeout = timeout
        self._events: deque[Event] = deque()

    @property
    def last_event_id(self) -> str:
        """The last id that was received."""
        return self._parser.last_event_id

    @property
    def retry(self) -> int | None:
        """The reconnection time in milliseconds, if it was set."""
        return self._parser.retry

    async def receive(self, *, timeout: float | Unset | None = UNSET) -> Event:
        """Return the next event.

        :param timeout: seconds of the loop's clock; None waits for ever.
        :raises anyio.EndOfStream: the response has ended properly.
        :raises DeadlineExceeded: no event was received within `timeout`; a later call may succeed.
        :raises httpx2.RemoteProtocolError: the response broke off, and the app raised nothing.
        :raises Exception: the app's own exception.

        If this is cancelled, no event is lost.
        """
        seconds = self._timeout if isinstance(timeout, Unset) else timeout
        end = None if seconds is None else anyio.current_time() + seconds
        while not self._events:
            left = None if end is None else max(end - anyio.current_time(), 0)
            try:
                chunk = await self._exchange.next_chunk(left)
            except httpx2.RemoteProtocolError:
                await self._transport.finish(self._exchange)
                raise
            if not chunk:
                raise anyio.EndOfStream
            self._events.extend(self._parser.feed(chunk))
        return self._events.popleft()

    def __aiter__(self) -> Self:
        """Iterate over the events until the response ends; see `receive`."""
        return self

    async def __anext__(self) -> Event:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
