"""Where the routes of an application are: looked up by path and method, or by name.

`http_routes.search` and `socket_routes.search` are all that a request asks; everything else here
happens when a route is added. The order of routes never matters (see `patterns`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from kui.argument_checks import describe, list_of_functions
from kui.views import Endpoint

from .methods import (
    Hit,
    MethodTable,
    Middleware,
    decorate,
    methods_of,
    refuse_clash,
)
from .routes import HttpRoute, Registrar, Route, Several, SocketRoute
from .tree import Tree

__all__ = ["HttpRoutes", "NoSuchRoute", "Router", "SocketRoutes"]

Found: TypeAlias = tuple[Endpoint, dict[str, Any]]


class NoSuchRoute(KeyError):
    """No route has the name that `url_for` was asked for."""

    def __str__(self) -> str:
        return str(self.args[0])


class HttpRoutes:
    """The HTTP routes, by path and method."""

    __slots__ = ("_find", "_tree", "fixed")

    def __init__(self) -> None:
        self._tree: Tree[MethodTable] = Tree()
        self.fixed = self._tree.fixed
        """The tables of the paths without parameters, which come before all others."""
        self._find = self._tree.find_open

    def search(self, path: str, method: str) -> Found | None:
        """The endpoint for a decoded path and a method, and the path parameters; None is a 404.

        The endpoint is complete, with all middlewares. For a method that no route of the path
        takes it raises HTTPException 405 inside them, or answers OPTIONS.
        """
        table = self.fixed.get(path)
        if table is not None:
            return table[method][0], {}
        found = self._find(path)
        if found is None:
            return None
        table, values = found
        endpoint, names = table[method]
        if len(names) == 1:  # dict(zip(...)) would take longer than the search
            return endpoint, {names[0]: values[0]}
        if len(names) == 2:
            return endpoint, {names[0]: values[0], names[1]: values[1]}
        return endpoint, {name: value for name, value in zip(names, values, strict=True)}

    def route(self, path: str, method: str) -> HttpRoute | None:
        """The route whose handler `search` would find, for messages; None if there is none."""
        found = self._tree.find(path)
        entry = None if found is None else found[0].entry(method)
        return None if entry is None else entry.route

    def check(self, route: HttpRoute, methods: frozenset[str] | None) -> None:
        """Raise ValueError if another route of the same path has one of these methods."""
        table = self._tree.get(route.pattern)
        if table is not None:
            refuse_clash([(one.route, one.methods) for one in table.entries], route, methods)

    def add(
        self,
        route: HttpRoute,
        methods: frozenset[str] | None,
        middlewares: Iterable[Middleware],
    ) -> None:
        """Add a route that `check` let pass; `middlewares` are all there are around it."""
        table = self._tree.get(route.pattern)
        if table is not None:
            table.add(route, methods, middlewares)
            return
        table = MethodTable()
        table.add(route, methods, middlewares)
        self._tree.put(route.pattern, table)

    def substitute(self, route: HttpRoute, endpoint: Endpoint) -> Endpoint:
        """Have a complete endpoint answer in the place of a route's; returns what did before."""
        table = self._tree.get(route.pattern)
        assert table is not None, "the route was added"
        return table.substitute(route, endpoint)


class SocketRoutes:
    """The WebSocket routes, by path."""

    __slots__ = ("_tree",)

    def __init__(self) -> None:
        self._tree: Tree[tuple[Hit, SocketRoute]] = Tree()

    def search(self, path: str) -> Found | None:
        """The endpoint for a decoded path, with all middlewares, and the path parameters, or None."""
        found = self._tree.find(path)
        if found is None:
            return None
        ((endpoint, names), _), values = found
        return endpoint, dict(zip(names, values, strict=True))

    def route(self, path: str) -> SocketRoute | None:
        """The route whose handler `search` would find, for messages; None if there is none."""
        found = self._tree.find(path)
        return None if found is None else found[0][1]

    def check(self, route: SocketRoute) -> None:
        """Raise ValueError if another route has the same path."""
        found = self._tree.get(route.pattern)
        if found is not None:
            raise ValueError(f"both {found[1]} and {route} have the same path: take one away")

    def add(self, route: SocketRoute, middlewares: Iterable[Middleware]) -> None:
        """Add a route that `check` let pass; `middlewares` are all there are around it."""
        endpoint = decorate(route.handler, middlewares)
        self._tree.put(route.pattern, ((endpoint, route.pattern.names), route))

    def substitute(self, route: SocketRoute, endpoint: Endpoint) -> Endpoint:
        """Have a complete endpoint answer in the place of a route's; returns what did before."""
        found = self._tree.get(route.pattern)
        assert found is not None, "the route was added"
        self._tree.put(route.pattern, ((endpoint, route.pattern.names), route))
        return found[0][0]


class Router(Registrar):
    """The routes of an application.

    Parameters: routes, or groups of routes, to begin with; the middlewares that stand around all
    HTTP and all WebSocket routes, the first outermost.

    Two routes may share a path if they answer different methods. Raises ValueError, which shows
    both, if they do not, or if two were given one name; and whatever a middleware raises when it
    is given an endpoint. A route that was refused has left no trace.

    Example::

        router = Router(HttpRoute("/", homepage), "/api" // api_routes)

        @router.http.get("/users/{id:int}")
        async def user(): ...

        router.url_for("user", {"id": 7})  # "/users/7"
    """

    def __init__(
        self,
        *routes: Several,
        http_middlewares: Iterable[Middleware] = (),
        socket_middlewares: Iterable[Middleware] = (),
    ) -> None:
        super().__init__()
        self.http_middlewares = list_of_functions("http_middlewares", http_middlewares)
        self.socket_middlewares = list_of_functions("socket_middlewares", socket_middlewares)
        self.http_routes = HttpRoutes()
        self.socket_routes = SocketRoutes()
        self._routes: list[Route] = []
        self._given: dict[str, Route] = {}
        self._default: dict[str, list[Route]] = {}
        self << routes

    def __iter__(self) -> Iterator[Route]:
        """The routes, in the order in which they were added."""
        return iter(self._routes)

    def __len__(self) -> int:
        return len(self._routes)

    def append(self, route: Route) -> None:
        """Add one route; `router << routes` adds several. Raises as the class says."""
        if not route.path:
            raise ValueError(f'the path of {route} is empty: write "/", or put it behind a prefix')
        name = route.full_name
        if name is not None and route.name and name in self._given:
            raise ValueError(
                f"the name {name!r} was given both to {self._given[name]} and to {route}: "
                f"give one of them another"
            )
        if isinstance(route, HttpRoute):
            around = (*self.http_middlewares, *route.middlewares)
            methods = methods_of(route, around)
            self.http_routes.check(route, methods)
            self.http_routes.add(route, methods, around)
        else:
            self.socket_routes.check(route)
            self.socket_routes.add(route, (*self.socket_middlewares, *route.middlewares))
        self._routes.append(route)
        if name is not None:
            if route.name:
                self._given[name] = route
            else:
                self._default.setdefault(name, []).append(route)

    def substitute(self, handler: Any, replacement: Any) -> Callable[[], None]:
        """Put another handler in the place of one, on each of its routes; return what undoes it.

        The routes keep their paths, names, methods and middlewares. For tests: requests that are
        being answered go on with the handler that they have.

        Raises LookupError if no route has the handler, and what HttpRoute or SocketRoute raises
        for the replacement.
        """
        undo: list[Callable[[], object]] = []
        for route in self._routes:
            if route.endpoint is not handler and route.endpoint != handler:
                continue
            if isinstance(route, HttpRoute):
                around = (*self.http_middlewares, *route.middlewares)
                put = partial(self.http_routes.substitute, route)
                endpoint = replace(route, endpoint=replacement).handler.endpoint
            else:
                around = (*self.socket_middlewares, *route.middlewares)
                put = partial(self.socket_routes.substitute, route)
                endpoint = replace(route, endpoint=replacement).handler
            undo.append(partial(put, put(decorate(endpoint, around))))
        if not undo:
            raise LookupError(f"no route has the handler {describe(handler)}")

        def restore() -> None:
            for step in reversed(undo):
                step()

        return restore

    def methods(self, route: HttpRoute) -> frozenset[str] | None:
        """The methods that a route of this router answers; None for all that are left."""
        return methods_of(route, (*self.http_middlewares, *route.middlewares))

    def url_for(self, name: str, /, params: Mapping[str, Any] | None = None, **values: Any) -> str:
        """The path of the route of this name, percent-encoded as UTF-8, with these parameters.

        Parameters may be given as a mapping, by name, or some in each way. A name that was given
        to a route is taken before one that is only its handler's.

        Raises NoSuchRoute, a KeyError, if no route has the name; ValueError if several have it by
        default, and if a parameter is missing, unknown, or has a value that does not fit (its text
        would not be matched again, or is `.` or `..`, which clients resolve).
        """
        if params:
            for given in params:
                if given in values:
                    raise ValueError(f"the parameter {given!r} was given twice: give it once")
            values = {**params, **values}
        route = self._given.get(name)
        if route is None:
            routes = self._default.get(name, [])
            if not routes:
                raise NoSuchRoute(f"no route has the name {name!r}")
            route = routes[0]
            others = [other for other in routes if other.path != route.path]
            if others:
                raise ValueError(
                    f"the name {name!r} is that of several routes, {route} and {others[0]}: "
                    f"give them names of their own"
                )
        return route.pattern.build(values)
