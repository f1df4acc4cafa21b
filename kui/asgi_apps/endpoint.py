"""Make ASGI apps of single functions, inside of a `Kui` app or without one.

A request is handled as in a Kui app: by the outer Kui app, or if there is none, by one of its own. `composition`
combines apps, and `middleware` puts middlewares around them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import update_wrapper, wraps
from typing import Any, TypeAlias, TypeVar

from baize.typing import Receive, Scope, Send

from kui.applications import Kui
from kui.concurrency import call, owner_of
from kui.connections import pass_on_route
from kui.current import request_var, websocket_var
from kui.lifetime import lifetime_of
from kui.requests import HttpRequest
from kui.responses.base import HttpResponse
from kui.responses.convert import ResponseConverter, convert_response
from kui.views import Endpoint
from kui.websockets import WebSocket

__all__ = ["EndpointApp", "View", "decorator", "request_response", "websocket_session"]

View: TypeAlias = Callable[[HttpRequest], Any]
NextView: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]
Session: TypeAlias = Callable[[WebSocket], Awaitable[Any]]

A = TypeVar("A")


class _Alone(Kui):
    """The Kui app of an endpoint that is served without one."""

    def __init__(self, endpoint: Endpoint | None, socket: Endpoint | None) -> None:
        super().__init__()
        self._http = endpoint
        self._websocket = socket

    def _endpoint(self, request: HttpRequest) -> Endpoint:
        return self._missing if self._http is None else self._http

    def _socket_endpoint(self, socket: WebSocket) -> Endpoint:
        return self._no_socket if self._websocket is None else self._websocket


class EndpointApp:
    """An ASGI app that answers every path with one endpoint.

    In an outer Kui app it answers within that app's request: `request.app` is that app, and its exception handlers
    answer the exceptions of the endpoint. Otherwise a Kui app of its own answers HTTPExceptions and runs the lifespan.

    :param endpoint: for HTTP requests; None for 404.
    :param socket: for WebSockets; None to refuse them with 404.
    """

    def __init__(self, endpoint: Endpoint | None, socket: Endpoint | None = None) -> None:
        self._served = endpoint
        self._socket = socket
        self._own: _Alone | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope. Raises exceptions without a handler, as `Kui` does."""
        app = scope.get("app")
        if scope["type"] == "http" and self._served is not None and isinstance(app, Kui):
            if owner_of(receive, send) is not None:
                request = app.factory_class.http(scope, receive, send)
                answer = _answer(request, self._served, app.response_converter)
                await lifetime_of(request, request_var, answer)
                return
        if self._own is None:
            self._own = _Alone(self._served, self._socket)
        own = {**scope}
        try:
            await self._own(own, receive, send)
        finally:
            pass_on_route(own, scope)


async def _answer(request: HttpRequest, endpoint: Endpoint, converter: ResponseConverter) -> None:
    """Answer within the request of the outer app, which handles exceptions."""
    response = converter.convert(await endpoint(), endpoint)
    exchange = request.exchange
    await response(request.scope, exchange.receive, exchange.send)


def _named(app: EndpointApp, function: object) -> EndpointApp:
    """Return the app, with the name and the docstring of its function."""
    update_wrapper(app, function, updated=())  # type: ignore[arg-type]  # it takes any object
    return app


def request_response(view: View) -> EndpointApp:
    """Make an ASGI app of a function of the request, `async def` or `def`.

    It returns a response, or anything that a handler may return. WebSockets are refused with 404.
    As for handlers of a Kui app, HTTPException is answered, background tasks run, forms are closed, and
    streams end when the client leaves.

    Example::

        @request_response
        async def hello(request: HttpRequest) -> HttpResponse:
            return PlainTextResponse(f"hello {request.client.host}")
    """

    async def endpoint() -> Any:
        return await call(view, request_var.get())

    return _named(EndpointApp(update_wrapper(endpoint, view)), view)


def websocket_session(session: Session) -> EndpointApp:
    """Make an ASGI app of an async function of the WebSocket. HTTP requests get 404.

    As for handlers of a Kui app, the connection is closed with 1000 when the function returns; an
    exception refuses it, or closes it with 1011.

    Example::

        @websocket_session
        async def echo(websocket: WebSocket) -> None:
            await websocket.accept()
            async for text in websocket.iter_text():
                await websocket.send_text(text)
    """

    async def endpoint() -> Any:
        return await session(websocket_var.get())

    return _named(EndpointApp(None, update_wrapper(endpoint, session)), session)


def decorator(
    handler: Callable[[HttpRequest, NextView], Awaitable[Any]],
) -> Callable[[View], View]:
    """Make a decorator for the functions that `request_response` takes.

    The handler is called with the request and the decorated function, as an `async def` that always
    returns a response; it need not call the function. The topmost decorator is the outermost.

    Example::

        @decorator
        async def no_store(request, next_call):
            response = await next_call(request)
            response.headers["Cache-Control"] = "no-store"
            return response

        @request_response
        @no_store
        async def balance(request): ...
    """

    @wraps(handler)
    def decorate(view: View) -> View:
        async def next_call(request: HttpRequest) -> HttpResponse:
            return convert_response(await call(view, request))

        @wraps(view)
        async def decorated(request: HttpRequest) -> Any:
            return await handler(request, next_call)

        return decorated

    return decorate
