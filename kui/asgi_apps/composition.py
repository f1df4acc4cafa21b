"""Apps made of apps: chosen by the path (`Router`, `Subpaths`) or by the host (`Hosts`).

Each is an ASGI app, and can stand at the top, in one another, or behind a prefix of a Kui app. Their lifespan is
that of the apps in them. How one app becomes a route is in `mounts`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from baize.typing import ASGIApp, Receive, Scope, Send

import kui.routing as routing  # not from kui, which would load kui.asgi for it
from kui.argument_checks import describe
from kui.concurrency.lifespans import lifespans
from kui.connections import HTTPConnection
from kui.current import request_var, websocket_var
from kui.http.exceptions import HTTPException
from kui.http.hosts import split_host
from kui.http.urls import route_path
from kui.routing import HttpRoute, SocketRoute
from kui.routing.lookup import Found
from kui.routing.mounts import Mounted, below, mounted_apps
from kui.routing.routes import Several

from .endpoint import EndpointApp, not_found

__all__ = ["Hosts", "Router", "Subpaths"]

AppRoute: TypeAlias = tuple[str, ASGIApp] | tuple[str, ASGIApp, str]

_NOT_FOUND: Final = EndpointApp(not_found)


class _Lives:
    """The lifespan of apps that are parts of one: they start in their order, and stop in the other."""

    def __init__(self, apps: Callable[[], Sequence[tuple[ASGIApp, dict[str, Any]]]]) -> None:
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        phase = "startup"
        try:
            async with lifespans(self._apps(), scope.get("extensions")):
                await send({"type": "lifespan.startup.complete"})
                phase = ""
                await receive()
                phase = "shutdown"
        except Exception as error:
            if phase:
                await send({"type": f"lifespan.{phase}.failed", "message": repr(error)})
            raise
        await send({"type": "lifespan.shutdown.complete"})


def _with_states(apps: Iterable[Mounted]) -> list[tuple[ASGIApp, dict[str, Any]]]:
    return mounted_apps(HttpRoute("/", each) for each in apps)


class Router(routing.Router, EndpointApp):
    """Paths and what answers them: ASGI apps, routes, and groups of routes; an ASGI app itself.

    - `routes`: pairs of a path and an ASGI app, triples of these and a name, or whatever a router of a
      Kui app takes. An app is given all methods, and WebSockets; it finds the parameters in
      `scope["path_params"]`, and its path as it was.
    - `http_middlewares`, `socket_middlewares`: around every route; the first is the outermost.

    What has no route gets 404, a method that has none 405, from the app around it if there is a Kui
    app. Raises what HttpRoute raises, and TypeError for what is no app.

    Example::

        app = Router(
            ("/static/{filepath:any}", static_files),
            ("/about/{name}", about_page, "about"),
            ("/", homepage, "homepage"),
        )
        app.build_url("about", {"name": "kui"})  # "/about/kui"
    """

    def __init__(self, *routes: Several | AppRoute, **middlewares: Any) -> None:
        routing.Router.__init__(self, **middlewares)
        EndpointApp.__init__(self, self._request, self._websocket)
        self._lives = _Lives(lambda: mounted_apps(self))
        for route in routes:
            if isinstance(route, tuple) and route and isinstance(route[0], str):
                self._add(*route)
            else:
                self << route

    def _add(self, path: str, app: ASGIApp, name: str | None = None) -> None:
        endpoint = Mounted(app, grows=False)
        self << HttpRoute(path, endpoint, name) << SocketRoute(path, endpoint.socket, None)

    def build_url(self, name: str, params: Mapping[str, Any] | None = None) -> str:
        """The path of the route of this name with these parameters: what `url_for` gives.

        Raises as `url_for` does.
        """
        return self.url_for(name, params)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope, a request, a WebSocket or the lifespan."""
        app = self._lives if scope["type"] == "lifespan" else super().__call__
        await app(scope, receive, send)

    async def _request(self) -> Any:
        request = request_var.get()
        scope = request.scope
        found = self.http_routes.search(route_path(scope), request.method, scope["headers"])
        return await _found(request, found)

    async def _websocket(self) -> Any:
        websocket = websocket_var.get()
        return await _found(websocket, self.socket_routes.search(route_path(websocket.scope)))


async def _found(connection: HTTPConnection, found: Found | None) -> Any:
    if found is None:
        raise HTTPException(404)
    endpoint, params = found
    connection.path_params = {**connection.path_params, **params}
    return await endpoint()


class Subpaths:
    """Prefixes and the ASGI apps behind them; the longest prefix that fits wins, whatever the order.

    - `routes`: pairs of a prefix and an ASGI app. A prefix begins with a slash and fits whole
      segments only: `/api` stands for `/api` and `/api/...`, not for `/apiary`. "" fits every path.

    It changes `scope["root_path"]`, which grows by the prefix, and `scope["path"]`, which loses it
    and whatever root_path the server has put in front, so that an app that knows of no root_path is
    served too. Where the path without it would begin with the new root_path again, or be empty,
    it stays whole, as ASGI has it: an app that knows of root_path would be misled. For apps of frameworks
    that build URLs from root_path and path take `Router(Mount("/api", app))`, where it always does. A
    path without a prefix gets 404.

    Raises ValueError for a wrong prefix and for one that is there twice, TypeError for what is no app.

    Example::

        app = Subpaths(("/static", static_files), ("/api", api_app), ("", default_app))
    """

    def __init__(self, *routes: tuple[str, ASGIApp]) -> None:
        self._apps: dict[str, Mounted] = {}
        for prefix, app in routes:
            if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
                raise ValueError(
                    f"the prefix {prefix!r} must begin with a slash and not end with one: "
                    f"write {'/' + prefix.strip('/') if prefix.strip('/') else ''!r}"
                )
            if prefix in self._apps:
                other = describe(self._apps[prefix].app)
                raise ValueError(
                    f"the prefix {prefix!r} is that of {other} and of {describe(app)}: take one away"
                )
            self._apps[prefix] = Mounted(app)
        self._depth = max((prefix.count("/") for prefix in self._apps), default=0)
        self._lives = _Lives(lambda: _with_states(self._apps.values()))

    def search(self, path: str) -> tuple[str, ASGIApp] | None:
        """The longest prefix that fits a path, and its app; None if there is none. Takes linear time."""
        found = self._search(path)
        return None if found is None else (found[0], found[1].app)

    def _search(self, path: str) -> tuple[str, Mounted] | None:
        # No prefix has more slashes than the deepest one.
        prefix = "/".join(path.split("/", self._depth + 1)[: self._depth + 1])
        while True:
            app = self._apps.get(prefix)
            if app is not None:
                return prefix, app
            if not prefix:
                return None
            prefix = prefix.rpartition("/")[0]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope, a request, a WebSocket or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lives(scope, receive, send)
            return
        found = self._search(route_path(scope))
        if found is None:
            await _NOT_FOUND(scope, receive, send)
            return
        prefix, mounted = found
        child = below(scope, prefix)
        root: str = child["root_path"]
        rest = child["path"][len(root) :]
        if rest and not (root and f"{rest}/".startswith(f"{root}/")):
            child["path"] = rest
        await mounted.app(mounted.with_state(child), receive, send)


class Hosts:
    r"""Host names, as regular expressions, and the ASGI apps that answer for them; the first that fits.

    - `hosts`: pairs of a regular expression, which has to fit all of the name, and an ASGI app.

    Of the Host header the name counts, without case and port; an expression that names a port is held
    against both. A host that none of them fits, or that is no host (RFC 3986), gets 404.

    Raises TypeError for what is no app, re.error for what is no expression.

    Example::

        app = Hosts(
            (r"static\.example\.com", static_files),
            (r"(www\.)?example\.com", default_app),
        )
    """

    def __init__(self, *hosts: tuple[str, ASGIApp]) -> None:
        self._hosts = [(re.compile(pattern, re.IGNORECASE), Mounted(app)) for pattern, app in hosts]
        self._lives = _Lives(lambda: _with_states(mounted for _, mounted in self._hosts))

    def search(self, host: str) -> ASGIApp | None:
        """The app for the value of a Host header; None if there is none."""
        found = self._search(host.encode("latin-1", "replace"))
        return None if found is None else found.app

    def _search(self, header: bytes) -> Mounted | None:
        parts = split_host(header)
        if parts is None:
            return None
        name, port = parts
        names = [name] if port is None else [name, f"{name}:{port}"]
        for pattern, mounted in self._hosts:
            if any(map(pattern.fullmatch, names)):
                return mounted
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope, a request, a WebSocket or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lives(scope, receive, send)
            return
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        mounted = self._search(hosts[0]) if len(hosts) == 1 else None
        if mounted is None:
            await _NOT_FOUND(scope, receive, send)
            return
        await mounted.app(mounted.with_state(scope), receive, send)
