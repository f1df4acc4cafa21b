"""Responses whose body is made while it is sent. `kui.concurrency.http.stream` has the tasks that send it."""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from functools import lru_cache
from inspect import isasyncgenfunction, iscoroutine, isgeneratorfunction
from typing import Any, ClassVar, Final, Generic, TypeVar

from baize.typing import Message, Receive, Scope, Send

from kui.argument_checks import describe, takes
from kui.concurrency import Exchange, exchange_of
from kui.concurrency.http.generator_runner import close_unstarted
from kui.concurrency.http.stream import StreamSource, stream
from kui.habits import STREAM_PARAMETERS, told
from kui.http.headers import ResponseHeaders, charset_of, content_type
from kui.http.text import encode_text

from .base import WITHOUT_CONTENT, HttpResponse
from .encode import to_json

__all__ = ["JSON_LINES", "JSONLinesResponse", "StreamResponse"]

T = TypeVar("T")

JSON_LINES: Final = "application/jsonl"


class StreamResponse(HttpResponse):
    """A response whose body is sent in chunks of `bytes` or `str` as they are made. It can be sent only once.

    The source of the chunks is one of these:

    - an async generator or another async iterable;
    - a generator or another iterable, each step of which runs in a worker thread;
    - a function `async def feed(send)`, which awaits `send(chunk)` for each chunk. Write a function if a stream needs
      task groups or timeouts: a generator must not yield inside of them (PEP 789).

    The source waits while the client is slow. If the client leaves, the source is cancelled at its next checkpoint, and
    its `finally` blocks have 5 s. If the app must stop, the source is cancelled while it waits, and the body ends
    properly. An exception before the first chunk is answered like an exception of a handler; after that the connection
    is cut, so that the client can see it. HEAD gets the headers, and no code of a generator runs.

    :param iterable: the source.
    :param status_code: as for HttpResponse; so is `headers`.
    :param content_type: its charset encodes `str` chunks; the default charset is UTF-8. A Content-Type among the
        headers is preferred.
    :raises TypeError: `iterable` is no source of chunks.
    :raises LookupError: the charset is unknown.

    Example::

        async def feed(send):
            async with open_cursor() as rows, anyio.create_task_group() as tasks:
                tasks.start_soon(keep_the_lock_alive)
                async for row in rows:
                    await send(f"{row.id}\\n")
                tasks.cancel_scope.cancel()

        return StreamResponse(feed, content_type="text/csv")
    """

    __slots__ = ("_charset", "_default_headers", "_default_text", "_source")

    _more: ClassVar[tuple[tuple[str, str], ...]] = ()
    """The headers of all responses of this class besides the Content-Type."""

    @told(STREAM_PARAMETERS)
    def __init__(
        self,
        iterable: StreamSource[Any],
        status_code: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str = "application/octet-stream",
    ) -> None:
        self._charset, self._default_text, self._default_headers = _described(
            content_type, self._more
        )
        super().__init__(status_code, headers)
        self.body = None
        self._source = checked_source(iterable, type(self).__name__)

    def encode(self, chunk: Any) -> bytes:
        """Return the bytes of a chunk.

        :raises TypeError: it is neither bytes nor str.
        """
        if isinstance(chunk, bytes):
            return chunk
        if isinstance(chunk, str):
            return encode_text(chunk, self._charset)
        if isinstance(chunk, (bytearray, memoryview)):
            return bytes(chunk)
        raise TypeError(f"a chunk is bytes or str, not {type(chunk).__qualname__}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response. This makes it an ASGI application."""
        start: Message = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers(),
        }
        async with exchange_of(scope, receive, send) as exchange:
            if self.status_code in WITHOUT_CONTENT:
                await close_unstarted(self._source)
                await exchange.send(start)
                await exchange.send({"type": "http.response.body"})
            else:
                await self._stream(exchange, start)

    async def _stream(self, exchange: Exchange, start: Message) -> None:
        await stream(exchange, self._source, start=start, encode=self.encode)


class JSONLinesResponse(StreamResponse, Generic[T]):
    """A stream of values, each sent as one line of JSON (application/jsonl).

    Parameters and behaviour are those of StreamResponse; each chunk is a value that JSONResponse takes. With the return
    annotation `JSONLinesResponse[Tick]` the lines are written by that type, if it has a model. A value that cannot be
    encoded raises TypeError in the source.

    - `write`: returns a value as JSON; by default as JSONResponse does.

    Example: `return JSONLinesResponse({"row": n} for n in range(10))`.
    """

    __slots__ = ("write",)

    def __init__(
        self,
        iterable: StreamSource[T],
        status_code: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(iterable, status_code, headers, JSON_LINES)
        self.write: Callable[[Any], bytes] = to_json

    def encode(self, chunk: Any) -> bytes:
        """Return the bytes of a line.

        :raises TypeError: the value cannot be encoded.
        """
        return self.write(chunk) + b"\n"


@lru_cache(maxsize=128)
def _described(
    media_type: str, more: tuple[tuple[str, str], ...]
) -> tuple[str, Mapping[str, str], tuple[tuple[bytes, bytes], ...]]:
    """Return the charset of text chunks, and the default headers, as text and as bytes."""
    charset = codecs.lookup(charset_of(media_type) or "utf-8").name
    headers = ResponseHeaders([("content-type", content_type(media_type, charset)), *more])
    return charset, dict(headers), tuple(headers.encode())


def checked_source(source: Any, name: str) -> StreamSource[Any]:
    """Return the source of a stream.

    :raises TypeError: it is none; the message says what to give instead.
    """
    if isinstance(source, AsyncGenerator):
        return source
    if isinstance(source, (str, bytes, bytearray, memoryview, Mapping)):
        raise TypeError(f"{name} takes something that gives chunks, not a {type(source).__name__}")
    if isinstance(source, (AsyncIterable, Iterable)):
        return source
    if iscoroutine(source):
        source.close()
        raise TypeError(f"{name} takes the function feed itself: write feed, not feed()")
    if callable(source):
        called = f"{describe(source)}()"
        if isgeneratorfunction(source) or isasyncgenfunction(source):
            raise TypeError(f"{name} takes what a generator function returns: write {called}")
        if not takes(source, 1):
            raise TypeError(
                f"{name} calls a function with send: write async def {describe(source)}(send), or "
                f"{called} if it returns an iterable"
            )
        feed: StreamSource[Any] = source
        return feed
    raise TypeError(
        f"{name} takes an async or a sync iterable, or a function async def feed(send), not"
        f" {source!r}"
    )
