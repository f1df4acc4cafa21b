"""One HTTP request: its method, its body in every form, and its lifetime.

Only the exchange calls `receive`. Forms are parsed in `kui.forms`, JSON in `kui.http.json`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from baize.typing import Message, Receive, Scope, Send

from kui.http.exceptions import HTTPException
from kui.http.media import MULTIPART, URLENCODED

from .concurrency import AsyncCached, Exchange, owner_of
from .concurrency.async_cached import ToAwait
from .connections import HTTPConnection, no_receive, no_send
from .http.headers import merge_headers
from .http.json import decode_json, is_json, is_plain_json, json_charset
from .http.media import parse_content_length, refuse_encoding
from .limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from .forms import FormCollector, FormData, MultipartReader

__all__ = ["BodyStream", "HttpRequest"]


M = TypeVar("M")
T = TypeVar("T")


class BodyStream:
    """The body as it arrives: `async for chunk in request.stream()`.

    Each chunk is non-empty bytes. Raises ClientDisconnect where the client leaves before the end.
    Under cancellation no chunk is lost.
    """

    __slots__ = ("_exchange", "_first")

    def __init__(self, exchange: Exchange, first: list[bytes]) -> None:
        self._exchange = exchange
        self._first = first  # what was read before; with b"" at its end, all of it

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = self._first.pop(0) if self._first else await self._exchange.next_chunk()
        if not chunk:
            self._first.append(chunk)
            raise StopAsyncIteration
        self._exchange.held.taken = True
        return chunk


class HttpRequest(HTTPConnection):
    """The request that a handler answers; in handlers, the proxy `kui.asgi.request`.

    Example::

        async def create():
            data = await request.json
            request.background_tasks.append(index, data["id"])
            return {"method": request.method, "id": data["id"]}, 201
    """

    _collector: FormCollector | None = None  # set on the instance by the few requests that have one
    _refusal: str | None = None  # why its body cannot be read from it
    _json: AsyncCached[Any] | None = None
    _form: AsyncCached[FormData] | None = None
    _limits: Limits | None = None  # those of the route

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
        """What may be buffered of this request: the limits of the route or the app, else the defaults."""
        if self._limits is not None:
            return self._limits
        limits = getattr(self.scope.get("app"), "limits", None)  # of a Kui; others may be called so
        return limits if isinstance(limits, Limits) else DEFAULT_LIMITS

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits

    # ---- the body

    def stream(self) -> BodyStream:
        """Return the body as an asynchronous iterator of bytes, of any length, kept nowhere.

        After `body` it gives the bytes that were kept. Raises RuntimeError if the body was given to
        another reader before, for it can be streamed once, and while another task reads `body`.
        """
        return self._give("request.stream()", lambda stream: stream)

    @property
    def body(self) -> Awaitable[bytes]:
        """The whole body: `await request.body`, as often as needed, by any task.

        Raises HTTPException 413 beyond `limits.body` bytes, ClientDisconnect where the client
        leaves before the end, RuntimeError after `stream()`. Nothing is lost if it is cancelled.
        """
        return ToAwait(self._read_body)

    @property
    def json(self) -> Awaitable[Any]:
        """The body decoded as JSON (RFC 8259): `await request.json`.

        Raises HTTPException 415 for another content type or a content encoding, 400 for what is
        not JSON, and what `body` raises.
        """
        if self._json is None:
            self._json = AsyncCached(self._read_json)
        return self._json

    @property
    def form(self) -> Awaitable[FormData]:
        """The body decoded as a form, urlencoded or multipart: `await request.form`.

        Files are `UploadFile`s, closed and gone when the request ends. Raises HTTPException 415
        for another content type, 400 for a malformed form, 413 beyond the limits, and what
        `body` raises. After a multipart form, `body` and `json` raise RuntimeError, unless the body
        was read before it.
        """
        if self._form is None:
            self._form = AsyncCached(self._read_form)
        return self._form

    async def data(self) -> Any:
        """Return the body by its content type: JSON decoded, a form as `FormData`, all else as bytes.

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

    def parts(self) -> MultipartReader:
        """Return the parts of a multipart form as they arrive, their bodies as streams.

        Nothing is stored. Raises as `form` and `stream` do.

        Example::

            async for part in request.parts():
                async for chunk in part:
                    await store(part.filename, chunk)
        """
        from .forms import parse_multipart

        self._expect_multipart(MULTIPART)
        parse = partial(parse_multipart, content_type=self.content_type, limits=self.limits)
        return self._give("request.parts()", parse)

    def query_as(self, model: type[M]) -> M:
        """Return the query as a model: a pydantic model, a dataclass, a TypedDict or a Struct, or another type.

        A list is given all values of its name, another type the last. Raises RequestValidationError,
        which is 422, for a query that does not fit, TypeError for a type that cannot be validated.

        Example: `filters = request.query_as(Filters)`.
        """
        from .parameters.asking import query_as

        return query_as(self, model)

    async def json_as(self, model: type[M]) -> M:
        """Return the JSON body as a model: all types that `query_as` takes, and `list[Model]` and so on.

        Raises RequestValidationError, which is 422, for a body that does not fit, and what `json` raises.

        Example: `item = await request.json_as(Item)`.
        """
        from .parameters.asking import json_as

        return await json_as(self, model)

    async def form_as(self, model: type[M]) -> M:
        """Return the form as a model, urlencoded or multipart; a file is an `UploadFile`.

        Raises RequestValidationError, which is 422, for a form that does not fit, and what `form` raises.

        Example: `login = await request.form_as(Login)`.
        """
        from .parameters.asking import form_as

        return await form_as(self, model)

    def _read_body(self) -> Generator[Any, Any, bytes]:
        """Read the body as it was sent, even if a subclass overrides `body`."""
        self._refuse_reading()
        held = self.exchange.held
        limit = self.limits.body
        if not held.complete:
            length = self.fields.get(b"content-length", b"")  # `headers` would parse all of them
            if len(length) >= len(str(limit)):  # a number of fewer digits is less
                if (parse_content_length(length.decode("latin-1")) or 0) > limit:
                    raise body_too_large(limit)
            # What passes the limit is kept, too: a caller that asks again is refused again, and not given the rest.
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

    def _read_form(self) -> Generator[Any, Any, FormData]:
        from .forms import FormCollector, FormData, parse_urlencoded

        headers = self.headers
        usual = headers.get("content-type") == URLENCODED
        if usual or self.content_type == URLENCODED:
            refuse_encoding(headers.get("content-encoding"))
            body = yield from self._read_body()
            charset = None if usual else self.content_type.options.get("charset")
            fields = parse_urlencoded(body, max_fields=self.limits.fields, charset=charset)
            return FormData(fields)
        if self._collector is None:
            self._expect_multipart(f"{URLENCODED} or {MULTIPART}")
            collector = partial(FormCollector, content_type=self.content_type, limits=self.limits)
            self._collector = self._give("request.form", collector)
            self.lasting = True
        return (yield from self._collector.read().__await__())

    def _expect_multipart(self, wanted: str) -> None:
        if self.content_type != MULTIPART:
            raise HTTPException(415, {"accept": wanted}, f"A body of type {wanted} is wanted here.")
        refuse_encoding(self.headers.get("content-encoding"))

    def _give(self, reader: str, make: Callable[[BodyStream], T]) -> T:
        """Return `make(stream of the body)`; no other reader gets the body, unless all of it is kept."""
        self._refuse_reading()
        held = self.exchange.held
        if held.keepers:
            raise RuntimeError("another task is reading request.body; await it here as well")
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
        """Add headers to the response, whichever it is: an error has them too.

        A name replaces that of the response; the lists of `Vary` are merged. Names are bytes in
        lower case (ASGI).
        """
        exchange = self.exchange
        before = exchange.on_start

        def merge(start: Message) -> Message:
            if before is not None:
                start = before(start)
            return {**start, "headers": merge_headers(start.get("headers", ()), headers)}

        exchange.on_start = merge

    async def is_disconnected(self) -> bool:
        """Return True if the client has left. Never waits for the client, and never loses a message."""
        return await self.exchange.is_disconnected()

    def release(self) -> Awaitable[None] | None:
        """Settle the exchange, unless it is shared with an outer request, which settles it."""
        return None if self._shared else self.exchange.release()

    async def close(self) -> None:
        """Close the temporary files of the form. May be called at any time, any number of times."""
        if self._collector is not None:
            await self._collector.aclose()


def body_too_large(limit: int) -> HTTPException[str]:
    return HTTPException(413, content=f"The body may have at most {limit} bytes.")
