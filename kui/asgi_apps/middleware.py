"""Middlewares between ASGI apps, as functions of a request and of the next app.

The next app runs in a task beside the function, which gets the response as soon as it begins. Bodies are passed on as
they arrive; nothing is buffered. `endpoint` sends what the function returns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from functools import update_wrapper
from typing import Any, Final, TypeAlias

from baize.typing import ASGIApp, Message, Receive, Scope, Send

from kui.concurrency import ClientDisconnect, Exchange, Gone, exchange_of
from kui.concurrency.app_runner import AppRunner, running_apps
from kui.concurrency.http.stream import stream
from kui.concurrency.http.watched_send import watched_send
from kui.connections import pass_on_route
from kui.current import request_var
from kui.lifetime import lifetime_of
from kui.requests import HttpRequest
from kui.responses.base import WITHOUT_CONTENT, HttpResponse
from kui.responses.convert import convert_response

from .endpoint import EndpointApp

__all__ = ["NextRequest", "NextResponse", "middleware"]

NextCall: TypeAlias = Callable[["NextRequest"], Awaitable["NextResponse"]]

_FILES: Final = ("http.response.pathsend", "http.response.zerocopysend")


class NextRequest(HttpRequest, MutableMapping[str, Any]):
    """The request in a middleware; as a mapping, the scope of the next app.

    `request["state"] = ...` and `del request["state"]` change that scope. The body belongs to the
    app; methods that would read it raise RuntimeError.
    """

    def __setitem__(self, key: str, value: Any) -> None:
        self.scope[key] = value

    def __delitem__(self, key: str) -> None:
        del self.scope[key]

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    _refusal = "the body is the next app's: a middleware passes it on unread"


class NextResponse(HttpResponse):
    """The response of the next app, before it is sent: `status_code`, `headers` and cookies may be changed.

    `iterable` yields the chunks of the body as the app sends them. It may be replaced by anything that a
    StreamResponse takes; the Content-Length is then removed. If it is not replaced, all messages of the app are
    passed on, including trailers. The response can be sent once; if it is not sent, the app is cancelled.

    Example::

        @middleware
        async def shout(request, next_call):
            response = await next_call(request)
            chunks = response.iterable
            response.iterable = (chunk.upper() async for chunk in chunks)
            return response
    """

    __slots__ = ("_chunks", "_exchange", "_iterable", "_relay", "_start")

    def __init__(self, start: Message, relay: AppRunner, exchange: Exchange) -> None:
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in start.get("headers", ())
        ]
        super().__init__(start["status"], headers)
        self.body = None
        self._start = start
        self._relay = relay
        self._exchange = exchange
        self._chunks: _Chunks | None = None
        self._iterable: Any = None

    @property
    def iterable(self) -> Any:
        """The source of the body; if it is the app, an asynchronous iterator of bytes."""
        if self._iterable is None:
            self._chunks = self._chunks or _Chunks(self._relay, self._exchange)
            return self._chunks
        return self._iterable

    @iterable.setter
    def iterable(self, iterable: Any) -> None:
        self._iterable = iterable
        if "content-length" in self.headers:
            del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; an ASGI application. Raises what the app raises."""
        start = {**self._start, "status": self.status_code, "headers": self.raw_headers()}
        async with exchange_of(scope, receive, send) as exchange:
            if self._iterable is None:
                await self._pass_all(exchange, start)
                return
            start.pop("trailers", None)
            source = () if self.status_code in WITHOUT_CONTENT else self._iterable
            await stream(exchange, source, start=start, encode=_encode)
            await self._relay.leave()

    async def _pass_all(self, exchange: Exchange, start: Message) -> None:
        await exchange.send(start)
        # A short response is complete with the next message; no watcher is needed.
        last = await self._relay.next()
        if last is not None and not self._is_last(last):
            last = await self._pass_on(exchange, last)
        if last is not None:
            await exchange.send(last)
            if await self._relay.next() is not None:
                raise RuntimeError("the app has sent something after the end of its response")
        elif exchange.gone is not None and exchange.gone is not Gone.DRAIN:
            await self._relay.leave()
        else:
            raise _unfinished(exchange, "before the end of its response")

    def _is_last(self, message: Message) -> bool:
        if message["type"] == "http.response.body":
            return not (message.get("more_body") or self._start.get("trailers"))
        return message["type"] == "http.response.trailers" and not message.get("more_trailers")

    async def _pass_on(self, exchange: Exchange, message: Message) -> Message | None:
        """Send this message and the next ones, and return the last; None if there is none, or no client."""

        async def send_all_but_the_last() -> Message | None:
            passing: Message | None = message
            while passing is not None and not self._is_last(passing):
                await exchange.send(passing)
                passing = await self._relay.next()
            return passing

        return await watched_send(exchange, send_all_but_the_last)


class _Chunks:
    """The body that an app sends."""

    __slots__ = ("_ended", "_exchange", "_relay")

    def __init__(self, relay: AppRunner, exchange: Exchange) -> None:
        self._relay = relay
        self._exchange = exchange
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            message = await self._relay.next()
            if message is None:
                raise _unfinished(self._exchange, "before the end of its response")
            if message["type"] == "http.response.body":
                self._ended = not message.get("more_body", False)
                body: bytes = message.get("body", b"")
                if body:
                    return body
        raise StopAsyncIteration


def _unfinished(exchange: Exchange, when: str) -> Exception:
    """Return the exception for an app that returned without a response; None if its client had left."""
    if exchange.client_gone:
        return ClientDisconnect(f"the client has left, and the app has returned {when}")
    return RuntimeError(f"the app has returned {when}")


def _encode(chunk: Any) -> bytes:
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise TypeError(f"a chunk of a NextResponse is bytes, not {type(chunk).__qualname__}")


class _Between(HttpResponse):
    """The response of a middleware and the next app."""

    __slots__ = ("_app", "_handler")

    def __init__(self, handler: Callable[[NextRequest, NextCall], Awaitable[Any]], app: ASGIApp):
        super().__init__()
        self.body = None
        self._handler = handler
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        offered = scope.get("extensions") or {}
        extensions = {name: value for name, value in offered.items() if name not in _FILES}
        request = NextRequest({**scope, "extensions": extensions}, receive, send)
        await lifetime_of(request, request_var, self._answer(request, scope, request.exchange))

    async def _answer(self, request: NextRequest, scope: Scope, exchange: Exchange) -> None:
        inner: Scope = {}
        try:
            async with running_apps() as call:

                async def next_call(request: NextRequest) -> NextResponse:
                    nonlocal inner
                    inner = {**request}
                    relay = call(self._app, inner, exchange.receive)
                    while (message := await relay.next()) is not None:
                        if message["type"] == "http.response.start":
                            return NextResponse(message, relay, exchange)
                        await exchange.send(message)
                    raise _unfinished(exchange, "without a response")

                response = convert_response(await self._handler(request, next_call))
                await response(scope, exchange.receive, exchange.send)
        finally:
            pass_on_route(inner, scope)


def middleware(
    handler: Callable[[NextRequest, NextCall], Awaitable[Any]],
) -> Callable[[ASGIApp], ASGIApp]:
    """Make a middleware for ASGI apps of an async function of the request and of the next app.

    `await next_call(request)` starts the app, and returns when its response begins, or raises what the app
    raised before that. The function returns this response, or anything else that a handler may return;
    the app is then cancelled. Requests and responses are streamed, with backpressure in both directions.
    WebSockets and the lifespan go to the app directly.

    Example::

        @middleware
        async def timing(request, next_call):
            begin = anyio.current_time()
            response = await next_call(request)
            response.headers["Server-Timing"] = f"app;dur={(anyio.current_time() - begin) * 1000}"
            return response

        app = Kui(asgi_middlewares=[timing])
        other = timing(any_asgi_app)
    """

    def decorate(app: ASGIApp) -> ASGIApp:
        async def endpoint() -> HttpResponse:
            return _Between(handler, app)

        answering = EndpointApp(endpoint)

        async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
            await (answering if scope["type"] == "http" else app)(scope, receive, send)

        return update_wrapper(asgi, app, updated=()) if hasattr(app, "__name__") else asgi

    return update_wrapper(decorate, handler)
