"""A response whose body is made while it is sent. The tasks that send it are in `kui.concurrency.http.stream`."""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from functools import lru_cache
from inspect import isasyncgenfunction, iscoroutine, isgeneratorfunction
from typing import Any, ClassVar, Final, Generic, TypeVar

from baize.typing import Message, Receive, Scope, Send

from kui.argument_checks import describe, takes
from kui.concurrency import Exchange, exchange_of
from kui.concurrency.http.generator_runner import close_unstarted
from kui.concurrency.http.stream import StreamSource, stream
from kui.http.headers import ResponseHeaders, charset_of, content_type
from kui.http.text import encode_text

from .base import WITHOUT_CONTENT, HttpResponse
from .encode import to_json

__all__ = ["JSON_LINES", "JSONLinesResponse", "StreamResponse"]

T = TypeVar("T")

JSON_LINES: Final = "application/jsonl"


class StreamResponse(HttpResponse):
    """A body in chunks of `bytes` or `str`, sent as they are made.

    Parameters: `iterable`, where the chunks come from; `status_code` and `headers`, as for
    HttpResponse; `content_type`, whose charset is that of `str` chunks (UTF-8 unless it says
    otherwise). A Content-Type among the headers comes before it.

    The chunks come from an async generator or another async iterable, from a generator or another
    iterable, whose every step runs in a worker thread, or from a function `async def feed(send)`,
    which awaits `send(chunk)` as often as it likes. Where a stream needs task groups or timeouts
    of its own, write a function: it may use them without limits, whereas a generator must not
    yield inside of them (PEP 789).

    A slow client holds the source back. When the client leaves, the source is cancelled at its
    next checkpoint and its `finally` blocks run, for 5 s at most; when the app stops, it is
    cancelled while it waits, and the body ends properly. What it raises before its first chunk is
    answered like what a handler raises; after that the connection is cut, so that the client can
    see it. HEAD gets the headers; nothing of a generator runs. It can be sent once.

    Raises TypeError for what gives no chunks, LookupError for an unknown charset.

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
    """The headers of a response of this class besides its Content-Type."""

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
        """Return the bytes of a chunk. Raises TypeError for what is neither bytes nor text."""
        if isinstance(chunk, bytes):
            return chunk
        if isinstance(chunk, str):
            return encode_text(chunk, self._charset)
        if isinstance(chunk, (bytearray, memoryview)):
            return bytes(chunk)
        raise TypeError(f"a chunk is bytes or str, not {type(chunk).__qualname__}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; an ASGI application."""
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
    """A stream of JSON texts, one a line (application/jsonl), for programs that read them as they arrive.

    Parameters and behaviour are those of StreamResponse; each chunk is a value that JSONResponse takes. As a return
    annotation, `JSONLinesResponse[Tick]` describes what the lines are.

    Raises TypeError in the source for what JSON does not know.

    Example: `return JSONLinesResponse({"row": n} for n in range(10))`.
    """

    __slots__ = ()

    def __init__(
        self,
        iterable: StreamSource[T],
        status_code: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(iterable, status_code, headers, JSON_LINES)

    def encode(self, chunk: Any) -> bytes:
        """Return the bytes of a line. Raises TypeError for what JSON does not know."""
        return to_json(chunk) + b"\n"


@lru_cache(maxsize=128)
def _described(
    media_type: str, more: tuple[tuple[str, str], ...]
) -> tuple[str, Mapping[str, str], tuple[tuple[bytes, bytes], ...]]:
    """Return the charset of text chunks, and the default headers, as text and as bytes."""
    charset = codecs.lookup(charset_of(media_type) or "utf-8").name
    headers = ResponseHeaders([("content-type", content_type(media_type, charset)), *more])
    return charset, dict(headers), tuple(headers.encode())


def checked_source(source: Any, name: str) -> StreamSource[Any]:
    """Return the source of a stream. Raises TypeError, which says what to give instead, if it is none."""
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
