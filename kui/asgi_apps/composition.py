"""Apps that choose among other apps: by the path (`Router`, `Subpaths`) or by the host (`Hosts`).

Each is an ASGI app, can be nested in another, and can be mounted in a Kui app. Its lifespan runs those of its
apps. `routing/mounts.py` makes a route of a single app.
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
from kui.routing.stand_ins import not_found

from .endpoint import EndpointApp

__all__ = ["Hosts", "Router", "Subpaths"]

AppRoute: TypeAlias = tuple[str, ASGIApp] | tuple[str, ASGIApp, str]

_NOT_FOUND: Final = EndpointApp(not_found)


class _Lives:
    """The lifespan of several apps: they start in their order, and stop in the reverse order."""

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


class Router(routing.RouteTable, EndpointApp):
    """An ASGI app that routes by path to ASGI apps, routes and groups of routes.

    A request without a route gets 404, a method without a route 405; if there is an outer Kui app, it
    answers them. Raises what HttpRoute raises, and TypeError if a value is no ASGI app.

    :param routes: pairs of a path and an ASGI app, triples of these and a name, or what the router of a Kui
        app takes. An app gets all methods and WebSockets, the path unchanged, and the parameters in
        `scope["path_params"]`.
    :param middlewares: `http_middlewares` and `socket_middlewares`, around every route; the first is the
        outermost.

    Example::

        app = Router(
            ("/static/{filepath:any}", static_files),
            ("/about/{name}", about_page, "about"),
            ("/", homepage, "homepage"),
        )
        app.build_url("about", {"name": "kui"})  # "/about/kui"
    """

    def __init__(self, *routes: Several | AppRoute, **middlewares: Any) -> None:
        routing.RouteTable.__init__(self, **middlewares)
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
        """Return the path of the route of this name with these parameters, as `url_for` does.

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
    endpoint, params, connection.scope["route"] = found
    connection.path_params = {**connection.path_params, **params}
    return await endpoint()


class Subpaths:
    """An ASGI app that routes by prefix to other ASGI apps; the longest matching prefix is chosen.

    `scope["root_path"]` is extended by the prefix; the prefix and the old root_path are removed from
    `scope["path"]`, so that apps that ignore root_path work too. If the rest would begin with the new
    root_path again, or be empty, the path is left whole, as ASGI has it, because apps that use root_path
    would misread it. For frameworks that build URLs from root_path and path use
    `Router(Mount("/api", app))`, which always leaves the path whole. A path without a prefix gets 404.

    :param routes: pairs of a prefix and an ASGI app. A prefix begins with a slash and matches whole
        segments: `/api` matches `/api` and `/api/...`, not `/apiary`. "" matches every path.
    :raises ValueError: a prefix is malformed, or given twice.
    :raises TypeError: a value is no ASGI app.

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
        """Return the longest matching prefix of a path, and its app; None if there is none. Takes linear time."""
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
    r"""An ASGI app that routes by host name to other ASGI apps; the first matching one is chosen.

    The name in the Host header is compared without case and port; then name and port together are
    compared. A host without a match, or that is malformed (RFC 3986), gets 404.

    :param hosts: pairs of a regular expression, which must match the whole name, and an ASGI app.
    :raises TypeError: a value is no ASGI app.
    :raises re.error: an expression is malformed.

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
        """Return the app for the value of a Host header; None if there is none."""
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
