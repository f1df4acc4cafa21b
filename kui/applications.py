"""`Kui`, the composition root: it puts the parts of an application together, and finds the endpoint of a connection.

`request_cycle` runs the endpoint of a request, `websockets/session` that of a WebSocket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
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
    """The classes of an application's requests and WebSockets: `Kui(factory_class=...)`.

    :raises TypeError: a class is not derived from HttpRequest, or from WebSocket.
    """

    http: type[HttpRequest] = HttpRequest
    websocket: type[WebSocket] = WebSocket

    def __post_init__(self) -> None:
        for made, kind in ((self.http, HttpRequest), (self.websocket, WebSocket)):
            if not (isinstance(made, type) and issubclass(made, kind)):
                raise TypeError(f"a class of connections is derived from {kind.__name__}: {made!r}")


class Description(Protocol):
    """The argument of `Kui(openapi=...)`, such as a `kui.openapi.OpenAPI`."""

    @property
    def routes(self) -> Routes:
        """The routes that serve the description. The app puts them behind `/docs`."""
        ...

    def document(self, app: Any) -> dict[str, Any]:
        """Return the description of an app."""
        ...


class Kui(AppHabits, MethodDecorators):
    """An application: an ASGI 3 app with routes, middlewares, exception handlers and a lifespan.

    It behaves the same on asyncio and on trio. All parameters are optional.

    :param templates: the engine with which `TemplateResponse` renders, such as `Jinja2Templates("templates")`.
    :param on_startup: functions that are called in order before the first request. They must accept exactly one
        argument, the app, and may be `async def` or `def`.
    :param on_shutdown: the same, called in reverse order after the last request.
    :param lifespan: an async generator function of the app with one `yield`, or a function of the app that returns an
        async context manager. It runs in one task, around the app's life.
    :param resources: async context managers, such as `Channels` or a pool of connections. They are entered in order
        before `lifespan`, and left in reverse order after it, in the same task.
    :param routes: the routes: `HttpRoute`, `SocketRoute`, `Routes` and `Mount` objects.
    :param http_middlewares: endpoint decorators around every HTTP endpoint, also around 404 and 405; the first is the
        outermost.
    :param socket_middlewares: the same for WebSockets.
    :param exception_handlers: a mapping from a status code or an exception class to a function of the exception.
    :param error_response: a function that returns the response to an HTTPException without a handler whose content is
        a sentence or None. The errors of Kui itself are such exceptions. By default clients that prefer JSON to HTML
        get problem details (RFC 9457), others get plain text.
    :param cors_config: the parameters of `allow_cors`, for every path and every response.
    :param factory_class: the classes of requests and WebSockets.
    :param response_converters: a mapping from a type to a function that makes a response of a value of that type.
    :param json_encoder: a mapping from a type to a function that makes a value that JSON has of a value of that type.
    :param limits: how much of a request is buffered; see `Limits`.
    :param allowed_hosts: the Host headers that are answered, such as `["example.com", "*.example.com"]`; others get
        400. By default all valid hosts are answered.
    :param handle_signals: True if the app must learn of SIGTERM and SIGINT under servers that do not tell it.
    :param openapi: an `OpenAPI(title=...)`, which describes the app below `/docs`.
    :param asgi_middlewares: functions of an ASGI app that return an ASGI app, of any framework, around the whole app;
        the first is the outermost.
    :raises TypeError: an argument cannot work; the message says what to write.
    :raises ValueError: the same.

    Example::

        app = Kui()

        @app.get("/")
        async def hello():
            return "hello"

    `app.get`, `post`, `put`, `patch` and `delete` are the decorators of `app.router.http`; `app.websocket` is that of
    `app.router`.

    Attributes:

    - `router`: the routes, with `router.http`, `router.websocket` and `router.url_for`.
    - `state`: a namespace for objects of the app, such as a pool of connections.
    - `templates`, `limits`, `json_encoder`, `factory_class`, `openapi`: the arguments of these names.
    - `response_converter`, `exceptions`: the tables of converters and of exception handlers.
    - `lifespan`: starts the app and shuts it down.
    - `in_flight`: how many requests and WebSockets are served now.
    - `shared`: the values of dependencies with `scope="app"`.
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
        """A namespace for objects of the app, such as a pool of connections."""
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
        """The `openapi` argument, or None."""
        if openapi is not None and not hasattr(openapi, "routes"):
            raise TypeError(f"openapi= takes OpenAPI(title=...) of kui.openapi, not {openapi!r}")
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
            from .middlewares.cors import allow_cors  # see on_demand

            self._cors = allow_cors(**cors)
        self._around = wrapped(self, asgi_middlewares)

    # ---- what a user registers

    def _add(self, route: Route) -> None:
        self.router.append(route)

    @told(ROUTE_PARAMETERS)
    def websocket(
        self, path: str, name: str | None = "", middlewares: Middlewares = ()
    ) -> Callable[[F], F]:
        """Register a handler of WebSockets. This is a shorter name of `app.router.websocket`."""
        return self.router.websocket(path, name, middlewares)

    def exception_handler(self, key: int | type[BaseException]) -> Callable[[F], F]:
        """Decorate a function that answers a status code or a class of exceptions.

        :raises TypeError: the key cannot have a handler; see `ExceptionTable.register`. ValueError for a wrong status.

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
        """Replace entries of `state`, handlers or dependencies during a `with` block, for tests.

        See `kui.overrides` for the parameters and the exceptions.

        Example: `with app.overrides(state={"db": FakeDatabase()}): ...`
        """
        from .overrides import overrides  # see on_demand

        return overrides(self, state=state, handlers=handlers, dependencies=dependencies)

    @property
    def on_startup(self) -> Callbacks:
        """The functions that are called before the first request. It is also a decorator."""
        return self.lifespan.on_startup

    @property
    def on_shutdown(self) -> Callbacks:
        """The functions that are called after the last request, in reverse order. It is also a decorator."""
        return self.lifespan.on_shutdown

    # ---- what a running app tells

    @property
    def task_group(self) -> Services:
        """The task group for work that outlives a request. Its tasks end with the app.

        Its methods raise RuntimeError if there is no lifespan: see `Services`.

        Example: `request.app.task_group.start_soon(refresh, feed)`.
        """
        return self.lifespan.services

    @property
    def exit_signal(self) -> ExitSignal:
        """The signal by which waiting code learns that the app must stop."""
        return self.lifespan.exit

    @property
    def should_exit(self) -> bool:
        """True if the app must stop. Code that runs for long must then end by itself."""
        return self.lifespan.exit.is_set

    async def wait_for_exit(self) -> None:
        """Wait until the app must stop."""
        await self.lifespan.exit.wait()

    def _open_shared(self) -> AbstractAsyncContextManager[None]:
        from .parameters.app_scope import AppDependencies  # see on_demand
        from .parameters.unread import told_of_unread

        plans = partial(told_of_unread, self.router.declared)
        return AppDependencies(plans, self.shared, self.task_group.stop)

    def _mounted(self) -> AbstractAsyncContextManager[None]:
        apps = mounted_apps(self.router)
        return lifespans(apps, {SERVER: self.lifespan}) if apps else nullcontext()

    # ---- one connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: an HTTP request, a WebSocket or the lifespan.

        If cancelled, it closes what the request has opened, within 5 s.

        :raises Exception: what a handler has raised and no exception handler has handled; raised after the client got
            a response.
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
                from .websockets.session import serve_socket  # see on_demand

                await serve_socket(socket, find, self.exceptions, self._convert, exit_signal)
            else:
                raise RuntimeError(f"Kui serves HTTP, WebSockets and the lifespan, not {kind!r}")
        finally:
            self.in_flight -= 1

    def _endpoint(self, request: HttpRequest) -> Endpoint:
        """Return the endpoint of the request's route, or a substitute if the request has no route."""
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
        endpoint, parameters, scope["route"] = found
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
        endpoint, parameters, scope["route"] = found
        if parameters:
            _add_parameters(scope, parameters)
        return endpoint


def _add_parameters(scope: Scope, parameters: dict[str, Any]) -> None:
    """Add the path parameters of a route to those of the prefix under which the app is mounted."""
    scope["path_params"] = {**(scope.get("path_params") or {}), **parameters}
