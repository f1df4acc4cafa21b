"""Mount any ASGI app as a route: `Mount("/admin", admin)`.

A mounted app receives and sends through the outer request's exchange or the outer WebSocket, because only one object
may call the server's `receive`. Its lifespan runs within the lifespan of the outer app.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, overload

from baize.typing import ASGIApp, Message, Receive, Scope, Send

from kui.argument_checks import describe, list_of_functions, takes
from kui.concurrency import exchange_of
from kui.concurrency.websocket.states import Incoming, WebSocketDisconnect
from kui.connections import HTTPConnection, pass_on_route
from kui.current import request_var, websocket_var
from kui.http.headers import merge_headers
from kui.http.urls import full_paths, route_path
from kui.responses.base import HttpResponse

from . import HttpRoute, Middleware, Middlewares, Routes, SocketRoute
from .routes import Route

__all__ = ["INSIDE", "Forward", "Mount", "Mounted", "below", "mounted_apps", "wrapped"]

INSIDE = "kui.inside"
"""The key under which a scope that has passed an app's ASGI middlewares holds that app."""

_ZERO_COPY = "http.response.zerocopysend"

REST = "path"
"""The name of the path parameter for the part of the path after a mount's prefix."""


def below(scope: Scope, prefix: str) -> Scope:
    """Return a new scope for an app that is mounted at `prefix`. The given scope is not changed.

    `root_path` is extended by the prefix. `path` and `raw_path` begin with `root_path` (ASGI: the path is the whole
    path), also if the server leaves it out.

    :param prefix: the decoded beginning of the path.

    Example: for `/api/users` on any server, `below(scope, "/api")` has the root_path `/api`, the path
    `/api/users`, and `route_path` gives `/users`.
    """
    root, path, raw = full_paths(scope)
    child = {**scope, "root_path": root + prefix, "path": path}
    if raw is not None:
        child["raw_path"] = raw
    return child


class Forward(HttpResponse):
    """A response that an ASGI app sends. Headers and cookies that are set on it replace those of the app.

    Calling it raises what the app raises.
    """

    __slots__ = ("app", "scope")

    def __init__(self, app: ASGIApp, scope: Scope | None = None) -> None:
        super().__init__()
        self.app = app
        self.scope = scope
        self.body = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app with this connection. The response is an ASGI application."""
        inner = scope if self.scope is None else self.scope
        added = self.raw_headers()
        if not added:
            await self.app(inner, receive, send)
            return
        async with exchange_of(scope, receive, send) as exchange:
            before = exchange.on_start

            def merge(start: Message) -> Message:
                if before is not None:
                    start = before(start)
                return {**start, "headers": merge_headers(start.get("headers", ()), added)}

            exchange.on_start = merge
            await self.app(inner, exchange.receive, exchange.send)


class _Gone(WebSocketDisconnect, OSError):
    """Raised by a mounted app's `send` if the connection is closed: an OSError (ASGI 2.4), which Kui does not log."""


def checked_app(app: ASGIApp) -> ASGIApp:
    """Return the app.

    :raises TypeError: it cannot be an ASGI app; the message says what to write.
    """
    if isinstance(app, type):
        raise TypeError(f"{describe(app)} is a class: give an app made of it")
    if not callable(app):
        raise TypeError(f"{app!r} is no ASGI app: give an async callable of scope, receive, send")
    if not takes(app, 3):
        advice = "; a WSGI app becomes one with WSGI(app)" if takes(app, 2) else ""
        raise TypeError(
            f"{describe(app)} is no ASGI app: it cannot be called with scope, receive, send{advice}"
        )
    return app


class Mounted:
    """The endpoint that passes connections on to an ASGI app.

    `state` is the state that the app's lifespan has filled. If `grows` is True, the part of the path before the
    route's last parameter becomes part of the app's `root_path`.
    """

    __slots__ = ("app", "grows", "state")

    def __init__(self, app: ASGIApp, *, grows: bool = True) -> None:
        self.app = checked_app(app)
        self.grows = grows
        self.state: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"the app {describe(self.app)}"

    async def __call__(self) -> Forward:
        """Answer the current request."""
        return Forward(self.app, self._scope(request_var.get()))

    async def socket(self) -> None:
        """Serve the current WebSocket."""
        websocket = websocket_var.get()
        socket = websocket.socket

        async def receive() -> Message:
            try:
                if socket.state.incoming is Incoming.HANDSHAKE:
                    return await socket.receiving.connect()
                message: Message = await socket.receiving.receive()
            except WebSocketDisconnect as end:
                return {"type": "websocket.disconnect", "code": end.code, "reason": end.reason}
            return message

        async def send(message: Message) -> None:
            kind = message["type"]
            try:
                if kind == "websocket.send":
                    text = message.get("text")
                    if text is not None:
                        await socket.sending.send("text", text)
                    else:
                        await socket.sending.send("bytes", message["bytes"])
                elif kind == "websocket.accept":
                    await socket.accept(message)
                elif kind == "websocket.close":
                    await socket.sending.close(
                        message.get("code", 1000), message.get("reason") or ""
                    )
                else:
                    await socket.sending.deny(message)
            except WebSocketDisconnect as end:
                raise _Gone(end.code, end.reason) from None

        await self.app(self._scope(websocket), receive, send)

    def _scope(self, connection: HTTPConnection) -> Scope:
        scope: Scope = {**connection.scope}
        params = dict(scope.get("path_params") or {})
        if self.grows:
            scope.pop("route", None)  # the app has routes of its own
            path = route_path(scope)
            if REST in params:
                path = path[: len(path) - len(params.pop(REST)) - 1]
            scope = below(scope, path)
        scope["path_params"] = params
        return self.with_state(scope)

    def with_state(self, scope: Scope) -> Scope:
        """Return the scope with its state extended by the state that the app's lifespan has filled."""
        return (
            {**scope, "state": {**(scope.get("state") or {}), **self.state}}
            if self.state
            else scope
        )


class Mount(Sequence[Route]):
    """An ASGI app that answers a prefix and all paths below it: HTTP, WebSockets and the app's lifespan.

    A mount is a group of routes, for the prefix itself and for the paths below it, and can be used like `Routes`.
    More specific routes are preferred, in whatever order they are added: a fixed path or a parameter below the
    prefix, and a mount with a longer prefix. The app answers all methods that no such route has.

    The prefix is added to the app's `root_path`. The scope's state holds the state of the app and of the outer app.
    The app is started after the outer app's `lifespan` and before its `on_startup`; an app that is mounted twice is
    started once. `"/prefix" // mount` and `mount @ middleware` (for HTTP) return new mounts.

    :param path: the prefix, which begins with a slash, does not end with one, and may have placeholders; "/" for
        every path, "" for a mount that will get a prefix.
    :param app: any ASGI 3 app: a Kui, an app of another framework, `Files`, `Hosts`, `WSGI(app)`.
    :param name: the name for `url_for(name, path="the/rest")`; None for no name.
    :param http_middlewares: around the app for HTTP; the first is the outermost.
    :param socket_middlewares: the same for WebSockets.
    :param namespace: a prefix of the name, followed by a colon.
    :raises ValueError: the path is wrong.
    :raises TypeError: the app cannot be an ASGI app.

    Example::

        app = Kui(routes=[Mount("/static", Files("static"), name="static"), Mount("/admin", admin)])
        app.router.url_for("static", path="css/site.css")  # "/static/css/site.css"
    """

    __slots__ = ("_routes", "app", "path")

    def __init__(
        self,
        path: str,
        app: ASGIApp,
        name: str | None = None,
        http_middlewares: Middlewares = (),
        socket_middlewares: Middlewares = (),
        namespace: str = "",
    ) -> None:
        if path.endswith("/") and path != "/":
            raise ValueError(
                f"the path of a mount does not end with a slash: write {path.rstrip('/')!r}"
            )
        self.path = path
        self.app = app
        endpoint = Mounted(app)
        around, beside = tuple(http_middlewares), tuple(socket_middlewares)
        routes: list[Route] = []
        for each, given in ((path, None), (f"{path.rstrip('/')}/{{{REST}:any}}", name)):
            if each != "/":
                routes.append(HttpRoute(each, endpoint, given, None, around, namespace))
                routes.append(SocketRoute(each, endpoint.socket, None, beside, namespace))
        self._routes = tuple(routes)

    def _of(self, path: str, routes: Iterable[Route]) -> Self:
        mount = type(self).__new__(type(self))
        mount.path = path
        mount.app = self.app
        mount._routes = tuple(routes)  # noqa: SLF001  # of this module
        return mount

    def __rfloordiv__(self, prefix: str) -> Self:
        if not isinstance(prefix, str):
            return NotImplemented
        return self._of(prefix + self.path, [route.within(prefix=prefix) for route in self])

    def __matmul__(self, middleware: Middleware) -> Self:
        routes = [
            route.within(middlewares=(middleware,)) if isinstance(route, HttpRoute) else route
            for route in self
        ]
        return self._of(self.path, routes)

    def __add__(self, routes: Any) -> Routes:
        return Routes(self, routes)

    def __radd__(self, routes: Any) -> Routes:
        return Routes(routes, self)

    @overload
    def __getitem__(self, index: int) -> Route: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Route]: ...
    def __getitem__(self, index: int | slice) -> Route | Sequence[Route]:
        return self._routes[index]

    def __len__(self) -> int:
        return len(self._routes)

    def __repr__(self) -> str:
        return f"<Mount {self.path} {describe(self.app)}>"


def mounted_apps(routes: Iterable[Route]) -> list[tuple[ASGIApp, dict[str, Any]]]:
    """Return each mounted app once, with a new state that all mounts of that app share."""
    states: dict[int, tuple[ASGIApp, dict[str, Any]]] = {}
    for route in routes:
        if isinstance(route.endpoint, Mounted):
            mounted = route.endpoint
            mounted.state = states.setdefault(id(mounted.app), (mounted.app, {}))[1]
    return list(states.values())


def wrapped(app: ASGIApp, middlewares: Iterable[Callable[[ASGIApp], ASGIApp]]) -> ASGIApp | None:
    """Return `app` with ASGI middlewares around it, the first outermost; None if there are none.

    The scope with which `app` is then called holds `app` under `INSIDE`, and does not offer `zerocopysend`: some
    middlewares, such as Starlette's GZipMiddleware, lose its messages. Afterwards the scope that a middleware has passed
    on has the `route` that `app` has found.

    :raises TypeError: a middleware, or what it returns, is not callable.
    """

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        seen = {**scope, INSIDE: app}
        if _ZERO_COPY in (scope.get("extensions") or ()):
            seen["extensions"] = {k: v for k, v in scope["extensions"].items() if k != _ZERO_COPY}
        try:
            await app(seen, receive, send)
        finally:
            pass_on_route(seen, scope)

    around: ASGIApp | None = None
    for middleware in reversed(list_of_functions("asgi_middlewares", middlewares)):
        if not callable(middleware):
            raise TypeError(
                f"{middleware!r} is no ASGI middleware: give a function that takes an ASGI app and "
                f"returns one"
            )
        around = middleware(inside if around is None else around)
        if not callable(around):
            raise TypeError(
                f"the ASGI middleware {describe(middleware)} returned {around!r}: return an ASGI app"
            )
    return around
