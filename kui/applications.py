"""Kui, the composition root: which parts there are is decided here, what they do is theirs.

An HTTP request is served by `Kui.__call__`, whose straight line is all that a plain handler pays
for (rule 6); whatever else can happen stands in the functions below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from baize.typing import ASGIApp, Receive, Scope, Send

from .admission import RULED, Admission, bad_host, going_down, no_content, not_found
from .answering import answer, failed, finish, needs_no_exchange
from .argument_checks import expect, table_of_types
from .concurrency.lifespans import lifespans
from .concurrency.services import Services
from .concurrency.signals import ExitSignal
from .connections import Call, State, calls, request_of
from .exceptions import ExceptionTable, HTTPException, check_key, plainly
from .http.urls import route_path
from .lifespan import SERVER, Callbacks, Lifespan
from .limits import Limits
from .middlewares.cors import allow_cors
from .requests import HttpRequest
from .responses.base import HttpResponse, content_length
from .responses.convert import ResponseConverter
from .routing import Router
from .routing.methods import Middleware, decorate
from .routing.mounts import INSIDE, mounted_apps, wrapped
from .routing.routes import Several
from .templating import BaseTemplates
from .views import Endpoint
from .websockets import WebSocket, serve_socket

__all__ = ["FactoryClass", "Kui"]

F = TypeVar("F", bound=Callable[..., Any])

_NOT_FOUND: Final = plainly(HTTPException(404))

_enter = calls.set
_leave = calls.reset


@dataclass(frozen=True)
class FactoryClass:
    """The classes that an application makes of its connections: `Kui(factory_class=...)`.

    Raises TypeError for what is not derived from HttpRequest, or WebSocket.
    """

    http: type[HttpRequest] = HttpRequest
    websocket: type[WebSocket] = WebSocket

    def __post_init__(self) -> None:
        for made, kind in ((self.http, HttpRequest), (self.websocket, WebSocket)):
            if not (isinstance(made, type) and issubclass(made, kind)):
                raise TypeError(f"a class of connections is derived from {kind.__name__}: {made!r}")


class Kui:
    """An application: routes, what stands around them, and what lives as long as they are served.

    It is an ASGI 3 application, the same on asyncio and on trio. Parameters, all optional:

    - `templates`: what `TemplateResponse` renders with, such as `Jinja2Templates("templates")`.
    - `on_startup`, `on_shutdown`: functions of the app, `async def` or `def`, called in this order
      before the first request, and in the reverse order after the last.
    - `lifespan`: an async generator function of the app with one `yield`, or a function of it that
      returns an async context manager; runs in one task, around the app's life.
    - `resources`: async context managers, such as `Channels` or a pool of connections, that are entered
      in this order before `lifespan`, and left in the reverse order after it, in the same task.
    - `routes`: `HttpRoute`s and `SocketRoute`s, or `Routes` of them.
    - `http_middlewares`, `socket_middlewares`: endpoint decorators around every endpoint, 404 and
      405 included; the first is the outermost.
    - `exception_handlers`: from a status code or an exception class to a function of the exception.
    - `cors_config`: the parameters of `allow_cors`, for every path and every answer.
    - `factory_class`: the classes of requests and WebSockets.
    - `response_converters`: from a type to a function that makes a response of a value of it.
    - `json_encoder`: from a type to a function that makes something JSON can hold of a value of it.
    - `limits`: how much of a request is buffered; see `Limits`.
    - `allowed_hosts`: the Host headers that are answered, as in `["example.com", "*.example.com"]`;
      others get 400. Default: all that are valid.
    - `handle_signals`: whether the app learns of SIGTERM and SIGINT under servers that do not tell.
    - `asgi_middlewares`: functions of an ASGI app that return one, of any framework, around the
      whole app; the first is the outermost.

    Raises TypeError or ValueError, in a sentence, for what cannot work.

    Example::

        app = Kui()

        @app.router.http.get("/")
        async def hello():
            return "hello"
    """

    def __init__(
        self,
        *,
        templates: BaseTemplates | None = None,
        on_startup: Iterable[Callable[[Any], Any]] = (),
        on_shutdown: Iterable[Callable[[Any], Any]] = (),
        lifespan: Callable[[Any], Any] | None = None,
        resources: Iterable[AbstractAsyncContextManager[Any]] = (),
        routes: Several = (),
        http_middlewares: Iterable[Middleware] = (),
        socket_middlewares: Iterable[Middleware] = (),
        exception_handlers: Mapping[int | type[BaseException], Callable[..., Any]] | None = None,
        cors_config: Mapping[str, Any] | None = None,
        factory_class: FactoryClass | None = None,
        response_converters: Mapping[type, Callable[..., HttpResponse]] | None = None,
        json_encoder: Mapping[type, Callable[[Any], Any]] | None = None,
        limits: Limits | None = None,
        allowed_hosts: Iterable[str] = ("*",),
        handle_signals: bool = True,
        asgi_middlewares: Iterable[Callable[[ASGIApp], ASGIApp]] = (),
    ) -> None:
        self.state = State()
        engine = 'an engine, such as Jinja2Templates("templates")'
        self.templates = expect("templates", templates, BaseTemplates, engine)
        self.limits = expect("limits", limits, Limits, "kui.asgi.Limits(...)") or Limits()
        self.json_encoder = table_of_types("json_encoder", json_encoder)
        classes = expect("factory_class", factory_class, FactoryClass, "FactoryClass(http=...)")
        self.factory_class = classes or FactoryClass()
        self.response_converter = ResponseConverter(response_converters)
        self.exceptions = ExceptionTable(self.response_converter, exception_handlers)
        self.router = Router(
            routes, http_middlewares=http_middlewares, socket_middlewares=socket_middlewares
        )
        self.in_flight = 0
        self._admitted = Admission(allowed_hosts, self._is_special)
        self.lifespan = Lifespan(
            self,
            on_startup=on_startup,
            on_shutdown=on_shutdown,
            lifespan=lifespan,
            resources=resources,
            handle_signals=handle_signals,
            mounted=self._mounted,
            turned=self._admitted.clear,
        )
        self._search = self.router.http_routes.search
        self._convert = self.response_converter.convert
        self._plain = self.response_converter.plain
        around = self.router.http_middlewares
        self._missing = decorate(not_found, around) if around else self._not_found
        self._no_socket = decorate(not_found, self.router.socket_middlewares)
        cors = expect("cors_config", cors_config, Mapping, "the parameters of allow_cors, or {}")
        self._cors = None if cors is None else allow_cors(**cors)
        self._around = wrapped(self, asgi_middlewares)

    # ---- what a user registers

    def exception_handler(self, key: int | type[BaseException]) -> Callable[[F], F]:
        """Decorate the function that answers for a status code or for a class of exceptions.

        Raises TypeError or ValueError for a key that can have no handler: see `ExceptionTable`.

        Example::

            @app.exception_handler(404)
            async def not_found(exc):
                return "what do you want to do?", 404
        """

        check_key(key)

        def register(handler: F) -> F:
            self.exceptions.register(key, handler)
            return handler

        return register

    def overrides(
        self,
        *,
        state: Mapping[str, Any] | None = None,
        handlers: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
    ) -> AbstractContextManager[None]:
        """For a test: other entries in `state`, or other handlers, while a `with` block lasts.

        What is given, raised and undone, `kui.testing.overrides` says. A request pays nothing for it.

        Example: `with app.overrides(state={"db": FakeDatabase()}): ...`
        """
        from .testing.overrides import overrides

        return overrides(self, state=state, handlers=handlers)

    @property
    def on_startup(self) -> Callbacks:
        """The functions of the app that are called before the first request; also a decorator."""
        return self.lifespan.on_startup

    @property
    def on_shutdown(self) -> Callbacks:
        """The functions that are called after the last request, the last first; also a decorator."""
        return self.lifespan.on_shutdown

    # ---- what a running app tells

    @property
    def task_group(self) -> Services:
        """Where work that outlives a request runs; it ends with the app.

        Its methods raise RuntimeError where there is no lifespan: see `Services`.

        Example: `request.app.task_group.start_soon(refresh, feed)`.
        """
        return self.lifespan.services

    @property
    def exit_signal(self) -> ExitSignal:
        """What tells that the server is stopping, to whatever listens."""
        return self.lifespan.exit

    @property
    def should_exit(self) -> bool:
        """Whether the server is stopping: what goes on for long is to end itself."""
        return self.lifespan.exit.is_set

    async def wait_for_exit(self) -> None:
        """Wait until the server is stopping. Cancelling the wait changes nothing."""
        await self.lifespan.exit.wait()

    def _is_special(self) -> bool:
        return self._cors is not None or self.lifespan.crashed is not None

    def _mounted(self) -> AbstractAsyncContextManager[None]:
        apps = mounted_apps(self.router)
        return lifespans(apps, {SERVER: self.lifespan}) if apps else nullcontext()

    # ---- one request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: an HTTP request, a WebSocket or the lifespan.

        Raises what a handler raised and no exception handler has dealt with, once the client has
        been told. Cancelled, it closes what the request has opened, for a bounded time.
        """
        if self._around is not None and scope.get(INSIDE) is not self:
            await self._around(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._serve_other(scope, receive, send)
            return
        scope["app"] = self
        call: Call = [None, scope, receive, send]
        token = _enter(call)
        self.in_flight += 1
        direct = False  # is it sent, or being sent, with no exchange in between?
        try:
            try:
                method = scope["method"]
                # A request is simple if the rules about hosts, bodies and prefixes have nothing to say.
                try:
                    simple = scope["http_version"] == "1.1" and not scope["root_path"]
                except KeyError:  # they may be missing
                    simple = False
                host = None
                bare = simple  # without a body
                for name, value in scope["headers"]:
                    if name in RULED:
                        if name != b"host":
                            bare = False
                        elif host is None:
                            host = value
                        else:
                            host = b""  # two are as bad as an empty one
                if simple and self._admitted[host]:
                    endpoint = self._routed(scope, scope["path"])
                    simple = bare
                else:
                    endpoint = self._endpoint(scope, call, host)
                    simple = False
                value = await endpoint()
                exchange = None
                if call[0] is not None and call[0]._exchange is not None:
                    exchange = call[0]._exchange
                    if bare:
                        exchange.expect_no_body()
                    simple, send = exchange.untouched, exchange.server_send
                plain = self._plain[type(value)] if simple and method != "HEAD" else None
                if plain is not None:
                    encode, content_type = plain
                    body = encode(value)
                    headers = [content_type, content_length[len(body)]]
                    start = {"type": "http.response.start", "status": 200, "headers": headers}
                    direct = True
                    await send(start if exchange is None else exchange.passed(start))
                    await send({"type": "http.response.body", "body": body})
                else:
                    response = value if isinstance(value, HttpResponse) else self._convert(value)
                    direct = exchange is None and response.buffered
                    direct = direct and (simple or needs_no_exchange(None, scope))
                    if direct:
                        await response(scope, receive, send)
                    else:
                        await answer(request_of(call), response)
            except Exception as exc:
                await failed(request_of(call), exc, None if direct else self.exceptions)
            except BaseException as exc:
                if call[0] is not None and call[0].lasting:
                    await call[0].abandon(exc)
                raise
            else:
                if call[0] is not None and call[0].lasting:
                    await finish(call[0], None)
        finally:
            self.in_flight -= 1
            if call[0] is not None and call[0]._exchange is not None:
                if call[0]._exchange.unsettled:
                    await call[0]._exchange.settle()
            _leave(token)

    def _endpoint(self, scope: Scope, call: Call, host: bytes | None) -> Endpoint:
        """What answers a request: the endpoint of its route, or what there is in its place."""
        if self._cors is not None:
            answer = self._cors.answer(scope["method"], scope["headers"])
            request_of(call).add_response_headers(answer.headers)
            if answer.preflight:
                return no_content
        if self.lifespan.crashed is not None:
            return going_down
        if not self._admitted.allowed(host):
            return bad_host
        path = route_path(scope) if scope.get("root_path") else scope["path"]
        return self._routed(scope, path)

    def _routed(self, scope: Scope, path: str) -> Endpoint:
        """The endpoint of the route of a path, or what answers where there is none."""
        found = self._search(path, scope["method"], scope["headers"])
        if found is None:
            if path[:1] == "/":
                return self._missing
            if path == "*" and scope["method"] == "OPTIONS":  # of the server (RFC 9110, 9.3.7)
                return no_content
            # In absolute form:
            found = self._search(route_path(scope), scope["method"], scope["headers"])
            if found is None:
                return self._missing
        endpoint, params = found
        if params:  # beside those of the prefix, where this app is mounted
            before = scope.get("path_params")
            scope["path_params"] = {**before, **params} if before else params
        return endpoint

    async def _not_found(self) -> Any:
        """What `not_found` raises, or the value that stands for it, where nobody else has a say in it."""
        return await not_found() if self.exceptions.handles(404) else _NOT_FOUND

    # ---- everything else

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self.lifespan(scope, receive, send)
        elif kind == "websocket":
            await self._serve_socket(scope, receive, send)
        else:
            raise RuntimeError(f"Kui serves HTTP, WebSockets and the lifespan, not {kind!r}")

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        websocket = self.factory_class.websocket(scope, receive, send)
        self.in_flight += 1
        try:
            endpoint = self._socket_endpoint(scope)
            await serve_socket(
                websocket, endpoint, self.exceptions, self._convert, self.lifespan.exit
            )
        finally:
            self.in_flight -= 1

    def _socket_endpoint(self, scope: Scope) -> Endpoint:
        if self.lifespan.crashed is not None:
            return going_down
        if not self._admitted.allows(scope["headers"]):
            return bad_host
        found = self.router.socket_routes.search(route_path(scope))
        if found is None:
            return self._no_socket
        endpoint, params = found
        scope["path_params"] = {**(scope.get("path_params") or {}), **params}
        return endpoint
