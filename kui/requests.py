"""One HTTP request: its method, its body as bytes, stream, JSON or form, and its end.

Only the exchange calls `receive`. `kui.forms` parses forms, `kui.http.json` parses JSON.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from functools import partial
from typing import Any, TypeVar

from baize.typing import Message, Receive, Scope, Send

import kui.forms as forms  # not "from": that would ask the package, which would load kui.asgi
from kui.http.exceptions import HTTPException
from kui.http.media import MULTIPART, URLENCODED

from .concurrency import AsyncCached, Exchange, owner_of
from .concurrency.async_cached import ToAwait
from .connections import HTTPConnection, no_receive, no_send
from .habits import RequestHabits
from .http.headers import merge_headers
from .http.json import decode_json, is_json, is_plain_json, json_charset
from .http.media import is_plain_form, parse_content_length, refuse_encoding
from .limits import DEFAULT_LIMITS, Limits

__all__ = ["BodyStream", "HttpRequest"]


M = TypeVar("M")
T = TypeVar("T")


class BodyStream:
    """Iterates over the body as it arrives: `async for chunk in request.stream()`.

    Each chunk is non-empty bytes. If cancelled, no chunk is lost.

    :raises ClientDisconnect: the client left before the end of the body.
    """

    __slots__ = ("_exchange", "_first")

    def __init__(self, exchange: Exchange, first: list[bytes]) -> None:
        self._exchange = exchange
        # The chunks that were read before; b"" at the end if they are the whole body.
        self._first = first

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = self._first.pop(0) if self._first else await self._exchange.next_chunk()
        if not chunk:
            self._first.append(chunk)
            raise StopAsyncIteration
        self._exchange.held.taken = True
        return chunk


class HttpRequest(RequestHabits, HTTPConnection):
    """An HTTP request. Handlers use it through the proxy `kui.asgi.request`.

    Example::

        async def create():
            data = await request.json
            request.background_tasks.append(index, data["id"])
            return {"method": request.method, "id": data["id"]}, 201
    """

    _collector: forms.FormCollector | None = (
        None  # set on the instance by the few requests that have one
    )
    _refusal: str | None = None  # why its body cannot be read from it
    _json: AsyncCached[Any] | None = None
    _form: AsyncCached[forms.FormData] | None = None
    _limits: Limits | None = None  # the limits of the route, if it has its own

    exchange: Exchange
    """The one owner of this request's `receive` and `send`."""
    _shared: bool
    """True if the exchange is that of an outer request, which settles it."""

    def __init__(self, scope: Scope, receive: Receive = no_receive, send: Send = no_send) -> None:
        HTTPConnection.__init__(self, scope)
        owner = owner_of(receive, send)
        self._shared = owner is not None
        self.exchange = Exchange(scope, receive, send, self.fields) if owner is None else owner

    @property
    def method(self) -> str:
        """The method, in upper case."""
        method: str = self.scope["method"]
        return method

    @property
    def limits(self) -> Limits:
        """The limits on what is buffered of this request: those of the route or of the app, or the defaults."""
        if self._limits is not None:
            return self._limits
        # Another framework's app may have others.
        limits = getattr(self.scope.get("app"), "limits", None)
        return limits if isinstance(limits, Limits) else DEFAULT_LIMITS

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits

    # ---- the body

    def stream(self) -> BodyStream:
        """Return the body as an asynchronous iterator of bytes. It has no size limit, and is not kept.

        After `await request.body` it gives the bytes that were kept.

        :raises RuntimeError: the body was streamed before, or another task is reading `body`.
        """
        return self._give("request.stream()", lambda stream: stream)

    @property
    def body(self) -> Awaitable[bytes]:
        """The whole body: `await request.body`. Any task may await it, any number of times.

        If cancelled, nothing is lost.

        :raises HTTPException: 413, if the body is larger than `limits.body`.
        :raises ClientDisconnect: the client left before the end of the body.
        :raises RuntimeError: `stream()` was called before.
        """
        return ToAwait(self._read_body)

    @property
    def json(self) -> Awaitable[Any]:
        """The body decoded as JSON (RFC 8259): `await request.json`. Raises what `body` raises, and:

        :raises HTTPException: 415 if the body has another content type or a content encoding, 400 if it is not JSON.
        """
        if self._json is None:
            self._json = AsyncCached(self._read_json)
        return self._json

    @property
    def form(self) -> Awaitable[forms.FormData]:
        """The body decoded as a form, urlencoded or multipart: `await request.form`.

        Files are `UploadFile`s, which are closed and deleted when the request ends. After a multipart form, `body` and
        `json` raise RuntimeError, unless the body was read before. Raises what `body` raises, and:

        :raises HTTPException: 415 if the body has another content type, 400 if the form is malformed, 413 if it exceeds
            a limit.
        """
        if self._form is None:
            self._form = AsyncCached(self._read_form)
        return self._form

    async def data(self) -> Any:
        """Return the body by its content type: JSON decoded, a form as `FormData`, any other as bytes.

        Raises what `json`, `form` and `body` raise.

        Example: `data = await request.data()`, or, in the thread of a `def` handler,
        `data = anyio.from_thread.run(request.data)`.
        """
        kind = self.content_type.type
        if is_json(kind):
            return await self.json
        if kind in (URLENCODED, MULTIPART):
            return await self.form
        return await self.body

    def parts(self) -> forms.MultipartReader:
        """Return the parts of a multipart form as they arrive, with their bodies as streams.

        Nothing is stored. Raises what `form` and `stream` raise.

        Example::

            async for part in request.parts():
                async for chunk in part:
                    await store(part.filename, chunk)
        """
        self._expect_multipart(MULTIPART)
        parse = partial(forms.parse_multipart, content_type=self.content_type, limits=self.limits)
        return self._give("request.parts()", parse)

    def query_as(self, model: type[M]) -> M:
        """Return the query as a model: a pydantic model, a dataclass, a TypedDict, a Struct, or another type.

        A list gets all values of its name, another type gets the last one.

        :raises RequestValidationError: the query does not fit (422).
        :raises TypeError: the type cannot be validated.

        Example: `filters = request.query_as(Filters)`.
        """
        from .parameters.asking import query_as

        return query_as(self, model)

    async def json_as(self, model: type[M]) -> M:
        """Return the JSON body as a model. It takes the types of `query_as`, and also `list[Model]` and so on.

        Raises what `json` raises, and:

        :raises RequestValidationError: the body does not fit (422).

        Example: `item = await request.json_as(Item)`.
        """
        from .parameters.asking import json_as

        return await json_as(self, model)

    async def form_as(self, model: type[M]) -> M:
        """Return the form, urlencoded or multipart, as a model. A file is an `UploadFile`.

        Raises what `form` raises, and:

        :raises RequestValidationError: the form does not fit (422).

        Example: `login = await request.form_as(Login)`.
        """
        from .parameters.asking import form_as

        return await form_as(self, model)

    def _read_body(self) -> Generator[Any, Any, bytes]:
        """Read the body that was sent, also if a subclass overrides `body`."""
        self._refuse_reading()
        held = self.exchange.held
        limit = self.limits.body
        if not held.complete:
            length = self.fields.get(b"content-length", b"")  # faster than `headers`
            if len(length) >= len(str(limit)):  # a number with fewer digits is smaller
                if (parse_content_length(length.decode("latin-1")) or 0) > limit:
                    raise body_too_large(limit)
            # The chunk that exceeds the limit is kept too, so that a second call is refused again.
            yield from self.exchange.keep_body(limit).__await__()
        if held.size > limit:
            raise body_too_large(limit)
        return held.value()

    def _read_json(self) -> Generator[Any, Any, Any]:
        self._refuse_reading()
        if not self.exchange.held.complete:
            self.exchange.held.check()
        charset = None
        if not is_plain_json(self.plain_fields()):
            headers = self.headers
            charset = json_charset(headers.get("content-type"), headers.get("content-encoding"))
        body = yield from self._read_body()
        return decode_json(body, charset)

    def _read_form(self) -> Generator[Any, Any, forms.FormData]:
        charset = None
        plain = is_plain_form(self.plain_fields())
        if plain or self.content_type == URLENCODED:
            if not plain:
                refuse_encoding(self.headers.get("content-encoding"))
                charset = self.content_type.options.get("charset")
            body = yield from self._read_body()
            fields = forms.parse_urlencoded(body, max_fields=self.limits.fields, charset=charset)
            return forms.FormData(fields)
        if self._collector is None:
            self._expect_multipart(f"{URLENCODED} or {MULTIPART}")
            collector = partial(
                forms.FormCollector, content_type=self.content_type, limits=self.limits
            )
            self._collector = self._give("request.form", collector)
            self.lasting = True
        return (yield from self._collector.read().__await__())

    def _expect_multipart(self, wanted: str) -> None:
        if self.content_type != MULTIPART:
            raise HTTPException(415, {"accept": wanted}, f"A body of type {wanted} is wanted here.")
        refuse_encoding(self.headers.get("content-encoding"))

    def _give(self, reader: str, make: Callable[[BodyStream], T]) -> T:
        """Return `make(stream)`, and give the body to this reader alone, unless the whole body is kept."""
        self._refuse_reading()
        held = self.exchange.held
        held.check_keepers()
        made = make(BodyStream(self.exchange, held.first_chunks()))
        held.give(reader)
        return made

    def _refuse_reading(self) -> None:
        if self._refusal is not None:
            raise RuntimeError(self._refusal)
        if self.exchange.settled and not self.exchange.body_is_kept:
            raise RuntimeError("this request is over: read its body before its handler returns")

    # ---- the answer and the client

    def add_response_headers(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Add headers to the response of this request, also if it is an error.

        They replace headers of the same names; the lists of `Vary` are merged.

        :param headers: pairs of bytes, with names in lower case (ASGI).
        """
        exchange = self.exchange
        before = exchange.on_start

        def merge(start: Message) -> Message:
            if before is not None:
                start = before(start)
            return {**start, "headers": merge_headers(start.get("headers", ()), headers)}

        exchange.on_start = merge

    async def is_disconnected(self) -> bool:
        """Return True if the client has left. This is a checkpoint; it never waits for the client.

        While the unread body fills the buffer (64 KiB or 16 messages), a disconnect behind it is not seen.
        """
        return await self.exchange.is_disconnected()

    def release(self) -> Awaitable[None] | None:
        """Settle the exchange, unless it belongs to an outer request, which settles it."""
        return None if self._shared else self.exchange.release()

    async def close(self) -> None:
        """Close the temporary files of the form. May be called at any time, and again."""
        if self._collector is not None:
            await self._collector.aclose()


def body_too_large(limit: int) -> HTTPException[str]:
    return HTTPException(413, content=f"The body may have at most {limit} bytes.")
