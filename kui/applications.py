"""Kui, the composition root: it decides which parts there are, and which endpoint answers a connection.

How the endpoint is run is in `request_cycle`, and for WebSockets in `websockets/session`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from baize.typing import ASGIApp, Receive, Scope, Send

from .argument_checks import expect, table_of_types
from .concurrency.lifespans import lifespans
from .concurrency.services import Services
from .concurrency.signals import ExitSignal
from .connections import State, request_var
from .exceptions import ExceptionTable, check_key
from .habits import APP_PARAMETERS, ROUTE_PARAMETERS, AppHabits, told
from .http.hosts import AllowedHosts
from .http.urls import route_path
from .lifespan import SERVER, Callbacks, Lifespan
from .lifetime import lifetime_of
from .limits import Limits
from .request_cycle import answer
from .requests import HttpRequest
from .responses.convert import ResponseConverter
from .responses.errors import error_response as problem_or_text
from .routing import Routes, RouteTable
from .routing.around import Middlewares, decorate
from .routing.mounts import INSIDE, mounted_apps, wrapped
from .routing.routes import MethodDecorators, Route, Several
from .routing.stand_ins import bad_host, no_content, not_found, service_unavailable
from .templating import BaseTemplates
from .views import Endpoint
from .websockets.connection import WebSocket

__all__ = ["FactoryClass", "Kui"]

F = TypeVar("F", bound=Callable[..., Any])


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


class Description(Protocol):
    """What `Kui(openapi=...)` takes: a `kui.openapi.OpenAPI`."""

    @property
    def routes(self) -> Routes:
        """The routes that serve the description; the app puts them behind `/docs`."""
        ...

    def document(self, app: Any) -> dict[str, Any]:
        """Return the description of an app."""
        ...


class Kui(AppHabits, MethodDecorators):
    """An application: routes, what is around them, and what lives as long as they are served.

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
    - `error_response`: a function of an HTTPException that has no handler, and a sentence or None as its content,
      that returns its answer; the errors of Kui itself are among them. Default: problem details (RFC 9457) for
      clients that accept JSON before HTML, plain text for others.
    - `cors_config`: the parameters of `allow_cors`, for every path and every answer.
    - `factory_class`: the classes of requests and WebSockets.
    - `response_converters`: from a type to a function that makes a response of a value of it.
    - `json_encoder`: from a type to a function that makes something JSON can hold of a value of it.
    - `limits`: how much of a request is buffered; see `Limits`.
    - `allowed_hosts`: the Host headers that are answered, as in `["example.com", "*.example.com"]`;
      others get 400. Default: all that are valid.
    - `handle_signals`: whether the app learns of SIGTERM and SIGINT under servers that do not tell.
    - `openapi`: an `OpenAPI(title=...)`, which describes the app below `/docs`.
    - `asgi_middlewares`: functions of an ASGI app that return one, of any framework, around the
      whole app; the first is the outermost.

    Raises TypeError or ValueError, in a sentence, for what cannot work.

    Example::

        app = Kui()

        @app.get("/")
        async def hello():
            return "hello"

    `app.get`, `post`, `put`, `patch`, `delete` and `websocket` are those of `app.router.http` and of
    `app.router`.

    Attributes:

    - `router`: the routes; `router.http`, `router.websocket`, `router.url_for`.
    - `state`: a namespace for what the app keeps, such as a pool of connections.
    - `templates`, `limits`, `json_encoder`, `factory_class`: what was given.
    - `response_converter`, `exceptions`: the tables of converters and of exception handlers.
    - `lifespan`: what starts the app and winds it down.
    - `in_flight`: how many requests and WebSockets are served now.
    - `shared`: the values of dependencies that live as long as the app.
    """

    @told(APP_PARAMETERS)
    def __init__(
        self,
        *,
        templates: BaseTemplates | None = None,
        on_startup: Iterable[Callable[[Any], Any]] = (),
        on_shutdown: Iterable[Callable[[Any], Any]] = (),
        lifespan: Callable[[Any], Any] | None = None,
        resources: Iterable[AbstractAsyncContextManager[Any]] = (),
        routes: Several = (),
        http_middlewares: Middlewares = (),
        socket_middlewares: Middlewares = (),
        exception_handlers: Mapping[Any, Any] | None = None,
        error_response: Callable[[Any], Any] | None = None,
        cors_config: Mapping[str, Any] | None = None,
        factory_class: FactoryClass | None = None,
        response_converters: Mapping[Any, Any] | None = None,
        json_encoder: Mapping[Any, Any] | None = None,
        limits: Limits | None = None,
        allowed_hosts: Iterable[str] = ("*",),
        handle_signals: bool = True,
        asgi_middlewares: Iterable[Callable[[ASGIApp], ASGIApp]] = (),
        openapi: Description | None = None,
    ) -> None:
        self.state = State()
        """What the app keeps, such as a pool of connections."""
        engine = 'an engine, such as Jinja2Templates("templates")'
        self.templates = expect("templates", templates, BaseTemplates, engine)
        self.limits = expect("limits", limits, Limits, "kui.asgi.Limits(...)") or Limits()
        self.json_encoder = table_of_types("json_encoder", json_encoder)
        classes = expect("factory_class", factory_class, FactoryClass, "FactoryClass(http=...)")
        self.factory_class = classes or FactoryClass()
        self.response_converter = ResponseConverter(response_converters)
        self.exceptions = ExceptionTable(
            self.response_converter, exception_handlers, error_response or problem_or_text
        )
        self.router = RouteTable(
            routes, http_middlewares=http_middlewares, socket_middlewares=socket_middlewares
        )
        """The routes."""
        self.openapi = openapi
        """What describes the app; None if nothing does."""
        if openapi is not None:
            self.router << "/docs" // openapi.routes
        self.shared: dict[Any, Any] = {}
        """The values of the dependencies with `scope="app"`, by `parameters.identity`."""
        self.in_flight = 0
        """How many requests and WebSockets are served now."""
        self._hosts = AllowedHosts(allowed_hosts)
        self.lifespan = Lifespan(
            self,
            on_startup=on_startup,
            on_shutdown=on_shutdown,
            lifespan=lifespan,
            resources=resources,
            handle_signals=handle_signals,
            shared=self._open_shared,
            mounted=self._mounted,
        )
        self._convert = self.response_converter.convert
        self._missing = decorate(not_found, self.router.http_middlewares)
        self._no_socket = decorate(not_found, self.router.socket_middlewares)
        cors = expect("cors_config", cors_config, Mapping, "the parameters of allow_cors, or {}")
        self._cors = None
        if cors is not None:
            from .middlewares.cors import allow_cors

            self._cors = allow_cors(**cors)
        self._around = wrapped(self, asgi_middlewares)

    # ---- what a user registers

    def _add(self, route: Route) -> None:
        self.router.append(route)

    @told(ROUTE_PARAMETERS)
    def websocket(
        self, path: str, name: str | None = "", middlewares: Middlewares = ()
    ) -> Callable[[F], F]:
        """Register a handler of WebSockets: `app.router.websocket`, under a shorter name."""
        return self.router.websocket(path, name, middlewares)

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
        dependencies: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
    ) -> AbstractContextManager[None]:
        """For a test: other entries in `state`, handlers or dependencies, while a `with` block lasts.

        See `kui.overrides` for the parameters, what is raised and what is undone. A request pays nothing for it.

        Example: `with app.overrides(state={"db": FakeDatabase()}): ...`
        """
        from .overrides import overrides

        return overrides(self, state=state, handlers=handlers, dependencies=dependencies)

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
        """True if the server is stopping: what goes on for long must end itself."""
        return self.lifespan.exit.is_set

    async def wait_for_exit(self) -> None:
        """Wait until the server is stopping. Cancelling the wait changes nothing."""
        await self.lifespan.exit.wait()

    def _open_shared(self) -> AbstractAsyncContextManager[None]:
        from .parameters.app_scope import AppDependencies

        return AppDependencies(self.router.declared, self.shared, self.task_group.stop)

    def _mounted(self) -> AbstractAsyncContextManager[None]:
        apps = mounted_apps(self.router)
        return lifespans(apps, {SERVER: self.lifespan}) if apps else nullcontext()

    # ---- one connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: an HTTP request, a WebSocket or the lifespan.

        Raises what a handler raised and no exception handler has dealt with, once the client has
        been told. Cancelled, it closes what the request has opened, for a bounded time.
        """
        kind = scope["type"]
        if self._around is not None and scope.get(INSIDE) is not self:
            await self._around(scope, receive, send)
            return
        if kind == "lifespan":
            await self.lifespan(scope, receive, send)
            return
        scope["app"] = self
        self.in_flight += 1
        try:
            if kind == "http":
                request = self.factory_class.http(scope, receive, send)
                work = answer(request, self._endpoint, self.exceptions, self._convert)
                await lifetime_of(request, request_var, work)
            elif kind == "websocket":
                socket = self.factory_class.websocket(scope, receive, send)
                find, exit_signal = self._socket_endpoint, self.lifespan.exit
                from .websockets.session import serve_socket

                await serve_socket(socket, find, self.exceptions, self._convert, exit_signal)
            else:
                raise RuntimeError(f"Kui serves HTTP, WebSockets and the lifespan, not {kind!r}")
        finally:
            self.in_flight -= 1

    def _endpoint(self, request: HttpRequest) -> Endpoint:
        """Return the endpoint of the request's route, or what answers in the place of one."""
        scope = request.scope
        if self._cors is not None and self._cors.admit(request):
            return no_content
        if self.lifespan.crashed is not None:
            return service_unavailable
        if not self._hosts.allow(request.fields, scope["headers"]):
            return bad_host
        found = self.router.http_routes.search(route_path(scope), scope["method"], scope["headers"])
        if found is None:
            if scope["path"] == "*" and scope["method"] == "OPTIONS":  # RFC 9110, 9.3.7
                return no_content
            return self._missing
        endpoint, parameters = found
        if parameters:
            _add_parameters(scope, parameters)
        return endpoint

    def _socket_endpoint(self, socket: WebSocket) -> Endpoint:
        scope = socket.scope
        if self.lifespan.crashed is not None:
            return service_unavailable
        if not self._hosts.allow(socket.fields, scope["headers"]):
            return bad_host
        found = self.router.socket_routes.search(route_path(scope))
        if found is None:
            return self._no_socket
        endpoint, parameters = found
        if parameters:
            _add_parameters(scope, parameters)
        return endpoint


def _add_parameters(scope: Scope, parameters: dict[str, Any]) -> None:
    """Add the path parameters of a route to those of the prefix at which the app is mounted."""
    scope["path_params"] = {**(scope.get("path_params") or {}), **parameters}
