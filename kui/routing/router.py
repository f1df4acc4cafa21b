"""The routes of an application, which are found by path and method, or by name.

A request calls only `http_routes.search` or `socket_routes.search`; all other code runs when a route is added. The
order in which routes are added does not matter (see `patterns`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from kui.argument_checks import describe
from kui.middlewares.placement import middleware_list
from kui.parameters.handlers import JoinedHandler
from kui.views import Endpoint

from .around import Middlewares, complete
from .lookup import HttpRoutes, SocketRoutes
from .methods import methods_of
from .routes import HttpRoute, Registrar, Route, Several

if TYPE_CHECKING:
    from kui.parameters.plans import Plan

__all__ = ["NoSuchRoute", "RouteTable"]


class NoSuchRoute(KeyError):
    """Raised by `url_for` if no route has the name. It is a KeyError."""

    def __str__(self) -> str:
        return str(self.args[0])


def _undo(steps: list[Callable[[], object]]) -> None:
    for step in reversed(steps):
        step()


class RouteTable(Registrar):
    """The routes of an application.

    :param routes: the first routes, or groups of routes.
    :param http_middlewares: around all HTTP routes; the first is the outermost.
    :param socket_middlewares: around all WebSocket routes.
    :raises ValueError: two routes of one path answer the same method, or two routes were given the same name; the
        message shows both. The second route is not added.
    :raises Exception: what a middleware raises when it is called with an endpoint.

    Example::

        router = RouteTable(HttpRoute("/", homepage), "/api" // api_routes)

        @router.http.get("/users/{id:int}")
        async def user(): ...

        router.url_for("user", {"id": 7})  # "/users/7"
    """

    def __init__(
        self,
        *routes: Several,
        http_middlewares: Middlewares = (),
        socket_middlewares: Middlewares = (),
    ) -> None:
        super().__init__()
        self.http_middlewares = middleware_list("http_middlewares", "HTTP", http_middlewares)
        self.socket_middlewares = middleware_list(
            "socket_middlewares", "WebSocket", socket_middlewares
        )
        self.http_routes = HttpRoutes()
        self.socket_routes = SocketRoutes()
        self._routes: list[Route] = []
        self._handlers: list[JoinedHandler] = []  # those of the routes, in the same order
        self._overrides: Mapping[Any, Callable[..., Any]] = {}
        self._given: dict[str, Route] = {}
        self._default: dict[str, list[Route]] = {}
        self << routes

    def __iter__(self) -> Iterator[Route]:
        """Iterate over the routes, in the order in which they were added."""
        return iter(self._routes)

    def __len__(self) -> int:
        return len(self._routes)

    def append(self, route: Route) -> None:
        """Add one route. `router << routes` adds several. Raises what the class says."""
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
            handler = route.handler.join(route.pattern, self._overrides)
            self.http_routes.add(route, methods, around, handler)
        else:
            self.socket_routes.check(route)
            handler = route.handler.join(route.pattern, self._overrides)
            self.socket_routes.add(route, (*self.socket_middlewares, *route.middlewares), handler)
        self._routes.append(route)
        self._handlers.append(handler)
        if name is not None:
            if route.name:
                self._given[name] = route
            else:
                self._default.setdefault(name, []).append(route)

    def substitute(self, handler: Any, replacement: Any) -> Callable[[], None]:
        """Replace a handler on each of its routes, for tests; return a function that undoes it.

        The routes keep their paths, names, methods and middlewares. Requests that are being answered keep the old
        handler.

        :raises LookupError: no route has the handler.
        :raises Exception: what HttpRoute or SocketRoute raises for the replacement.
        """
        undo: list[Callable[[], object]] = []
        for place, route in enumerate(self._routes):
            if route.endpoint is handler or route.endpoint == handler:
                changed = replace(route, endpoint=replacement).handler
                undo.append(self._exchange(place, changed.join(route.pattern, self._overrides)))
        if not undo:
            raise LookupError(f"no route has the handler {describe(handler)}")
        return partial(_undo, undo)

    def override(self, overrides: Mapping[Any, Callable[..., Any]]) -> Callable[[], None]:
        """Replace dependencies of all handlers, for tests; return a function that undoes it.

        :param overrides: from each dependency to its replacement, as for `parameters.planning.plan`.
        :raises TypeError: a function cannot replace the other.
        """
        before, self._overrides = self._overrides, {**self._overrides, **overrides}
        undo: list[Callable[[], object]] = [partial(setattr, self, "_overrides", before)]
        try:
            for place, route in enumerate(self._routes):
                if self._handlers[place].declared:
                    joined = route.handler.join(route.pattern, self._overrides)
                    undo.append(self._exchange(place, joined))
        except BaseException:
            _undo(undo)
            raise
        return partial(_undo, undo)

    def _exchange(self, place: int, handler: JoinedHandler) -> Callable[[], None]:
        """Replace the handler of one route; return a function that undoes it."""
        route, before = self._routes[place], self._handlers[place]
        put: Callable[[Endpoint], Endpoint]
        if isinstance(route, HttpRoute):
            put = partial(self.http_routes.substitute, route)
            middlewares = (*self.http_middlewares, *route.middlewares)
        else:
            put = partial(self.socket_routes.substitute, route)
            middlewares = (*self.socket_middlewares, *route.middlewares)
        endpoint = put(complete(handler, middlewares))
        self._handlers[place] = handler

        def undo() -> None:
            put(endpoint)
            self._handlers[place] = before

        return undo

    # ---- what the handlers declare

    def plans(self, route: Route) -> Mapping[str | None, Plan]:
        """Return the plans of a route's handler: one for each method of a view, or one under None for a function.

        :raises LookupError: the route is not one of this router.
        :raises TypeError: an annotation uses a name that is not defined.
        """
        for mine, handler in zip(self._routes, self._handlers, strict=True):
            if mine is route:
                return handler.plans
        raise LookupError(f"{route} is no route of this router")

    def declared(self) -> Iterator[Plan]:
        """Iterate over the plans of all handlers that declare parameters.

        :raises TypeError: as for `plans`.
        """
        for handler in self._handlers:
            handler.prepare()
            yield from handler.declared.values()

    def methods(self, route: HttpRoute) -> frozenset[str] | None:
        """Return the methods that a route of this router answers.

        None means all methods that no other route of its path answers.
        """
        return methods_of(route, (*self.http_middlewares, *route.middlewares))

    def url_for(self, name: str, params: Mapping[str, Any] | None = None, /, **values: Any) -> str:
        """Return the path of the route with this name, percent-encoded as UTF-8.

        A name that was given to a route is preferred to the default, the name of the handler.

        :param params: parameters of the path; others may be given by keyword, also those called `name` or `params`.
        :raises NoSuchRoute: no route has the name.
        :raises ValueError: several routes have the name by default; or a parameter is missing or unknown, or its value
            does not fit: its text would not be matched again, or is `.` or `..`, which clients resolve.

        Example: `router.url_for("item", {"id": 7})` or `router.url_for("item", id=7)`.
        """
        if isinstance(values.get("params"), Mapping):
            raise TypeError("give the mapping of parameters as the second argument, without a name")
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
