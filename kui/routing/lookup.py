"""Find the route for a path and a method, and the endpoint for a method that no route of the path has.

What can be decided when a route is added is decided then. `RouteTable` adds the routes; `Tree` finds one of them for a
path.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from kui.middlewares.methods import required_method
from kui.parameters.handlers import JoinedHandler
from kui.views import Endpoint, allowed, other_method

from .around import Middleware, complete, decorate
from .methods import refuse_clash
from .patterns import PathPattern
from .routes import HttpRoute, SocketRoute
from .tree import Tree

__all__ = ["Found", "HttpRoutes", "SocketRoutes"]

Found: TypeAlias = tuple[Endpoint, dict[str, Any], HttpRoute | SocketRoute | None]
"""A complete endpoint, with all middlewares around it, the path parameters, and the route; None for 405 and OPTIONS."""

HeaderPairs: TypeAlias = Iterable[tuple[bytes, bytes]]

NO_PARAMETERS: Final[dict[str, Any]] = {}
"""The path parameters of a path without placeholders. It must not be changed."""

STANDARD: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")

MISSES_KEPT: Final = 256
"""How many endpoints for 405 and OPTIONS are kept for later requests, at most."""


@dataclass(slots=True, eq=False)
class Entry:
    """A route that was added. `endpoint` is its handler with `middlewares` around it.

    `methods` are the methods that it answers; None means all methods that no other route of its path answers.
    """

    route: HttpRoute
    methods: frozenset[str] | None
    middlewares: tuple[Middleware, ...]
    endpoint: Endpoint

    def found(self, values: list[Any]) -> Found:
        """Return the endpoint, and the values as a dictionary by parameter name."""
        names = self.route.pattern.names
        if not names:
            return self.endpoint, NO_PARAMETERS, self.route
        if len(names) == 1:  # dict(zip(...)) would take longer than the search
            return self.endpoint, {names[0]: values[0]}, self.route
        return self.endpoint, dict(zip(names, values, strict=True)), self.route

    def comes_before(self, other: Entry) -> bool:
        """True if this route is preferred to another that matches the same path and method."""
        mine, its = self.route.pattern.key, other.route.pattern.key
        return mine < its or (mine == its and other.methods is None)


class HttpRoutes:
    """The HTTP routes, by path and method.

    There is a tree for each method that a route names, with all routes that answer that method, and one tree with the
    routes that answer any other method. So a lookup finds the most specific route that has the method: `GET /users/me`
    does not hide `DELETE /users/{id}`. A route for GET also answers HEAD, unless a route of the same path names HEAD.
    """

    __slots__ = ("_any", "_entries", "_misses", "_paths", "_trees")

    def __init__(self) -> None:
        self._trees: dict[str, Tree[Entry]] = {}
        self._any: Tree[Entry] = Tree()
        # All routes, so that one lookup finds out that no route has the path.
        self._paths: Tree[bool] = Tree()
        self._entries: list[Entry] = []
        self._misses: dict[tuple[object, ...], Endpoint] = {}

    def search(self, path: str, method: str, headers: HeaderPairs = ()) -> Found | None:
        """Find the endpoint for a request; return None if no route matches the path (404).

        If routes match the path but none has the method, the endpoint raises HTTPException 405 with the methods of
        these routes in `Allow`, or answers OPTIONS with them. It has the middlewares that all of these routes share.
        For a CORS preflight it has the middlewares of the route that would answer the announced request.

        :param path: decoded, without root_path.
        :param headers: the headers of the request, used for OPTIONS only.
        """
        if method == "OPTIONS":
            return self._search_options(path, headers)
        tree = self._trees.get(method, self._any)
        entry = tree.fixed.get(path)
        if entry is not None:
            return entry.endpoint, NO_PARAMETERS, entry.route
        found = tree.find_open(path)
        if found is None:
            return self._miss(path)
        entry, values = found
        return entry.found(values)

    def _find(self, path: str, method: str) -> tuple[Entry, list[Any]] | None:
        return self._trees.get(method, self._any).find(path)

    def _search_options(self, path: str, headers: HeaderPairs) -> Found | None:
        found = self._find(path, "OPTIONS")
        asked = dict(headers).get(b"access-control-request-method")
        if asked is not None:
            wanted = self._find(path, asked.decode("latin-1"))
            # A route that answers every method answers OPTIONS as well.
            if wanted is not None and wanted[0].methods is not None:
                entry, values = wanted
                if found is None or entry.comes_before(found[0]):
                    endpoint = self._missed(self._allow(path), entry.middlewares)
                    return endpoint, entry.found(values)[1], None
        if found is None:
            return self._miss(path)
        entry, values = found
        return entry.found(values)

    def _miss(self, path: str) -> Found | None:
        """Return the endpoint for a method that no route of the path has; None if no route matches."""
        if self._paths.find(path) is None:
            return None
        matching = [found for tree in self._trees.values() if (found := tree.find(path))]
        matching.sort(key=lambda found: found[0].route.pattern.key)
        entry, values = matching[0]
        shared = tuple(
            one
            for one in entry.middlewares
            if all(any(one is its for its in other.middlewares) for other, _ in matching)
        )
        return self._missed(self._allow(path), shared), entry.found(values)[1], None

    def _missed(self, allow: str, middlewares: tuple[Middleware, ...]) -> Endpoint:
        """Return the endpoint that answers 405 or OPTIONS with `allow`, inside these middlewares."""
        key = (allow, *map(id, middlewares))
        endpoint = self._misses.get(key)
        if endpoint is None:
            if len(self._misses) >= MISSES_KEPT:
                self._misses.clear()
            endpoint = self._misses[key] = decorate(partial(other_method, allow), middlewares)
        return endpoint

    def _allow(self, path: str) -> str:
        """Return the methods that are answered at a path, as the value of `Allow`."""
        methods = {method for method, tree in self._trees.items() if tree.find(path)}
        return allowed(methods.union(STANDARD) if self._any.find(path) else methods)

    def check(self, route: HttpRoute, methods: frozenset[str] | None) -> None:
        """Raise ValueError if another route of the same path has one of these methods."""
        trees = (*self._trees.values(), self._any)
        here = dict.fromkeys(tree.get(route.pattern) for tree in trees)
        refuse_clash([(one.route, one.methods) for one in here if one is not None], route, methods)

    def add(
        self,
        route: HttpRoute,
        methods: frozenset[str] | None,
        middlewares: Iterable[Middleware],
        handler: JoinedHandler,
    ) -> None:
        """Add a route that `check` has accepted.

        :param middlewares: all middlewares around the route.
        :param handler: the route's handler, joined with its path.
        :raises Exception: what a middleware raises when it gets the endpoint; then nothing has changed.
        """
        around = tuple(
            one
            for one in middlewares
            # The method check is left out: `methods` includes it, so that a request need not be checked again.
            if type(one).__call__ is not required_method.__call__
        )
        entry = Entry(route, methods, around, complete(handler, around))
        self._entries.append(entry)
        self._paths.put(route.pattern, True)
        if methods is None:
            self._any.put(route.pattern, entry)
            for tree in self._trees.values():
                if tree.get(route.pattern) is None:
                    tree.put(route.pattern, entry)
            return
        for method in methods:
            self._tree(method).put(route.pattern, entry)
        if "GET" in methods and not self._names_head(route.pattern):
            self._tree("HEAD").put(route.pattern, entry)

    def _names_head(self, pattern: PathPattern) -> bool:
        """True if a route of this path answers HEAD itself."""
        entry = self._tree("HEAD").get(pattern)
        return entry is not None and entry.methods is not None and "HEAD" in entry.methods

    def _tree(self, method: str) -> Tree[Entry]:
        tree = self._trees.get(method)
        if tree is None:
            tree = self._trees[method] = Tree()
            for entry in self._entries:
                if entry.methods is None:
                    tree.put(entry.route.pattern, entry)
        return tree

    def substitute(self, route: HttpRoute, endpoint: Endpoint) -> Endpoint:
        """Replace the complete endpoint of a route; return the old one."""
        entry = next(entry for entry in self._entries if entry.route is route)
        before, entry.endpoint = entry.endpoint, endpoint
        return before


class SocketRoutes:
    """The WebSocket routes, by path."""

    __slots__ = ("_tree",)

    def __init__(self) -> None:
        self._tree: Tree[tuple[Endpoint, SocketRoute]] = Tree()

    def search(self, path: str) -> Found | None:
        """Find the endpoint for a decoded path; return None if no route matches."""
        found = self._tree.find(path)
        if found is None:
            return None
        (endpoint, route), values = found
        return endpoint, dict(zip(route.pattern.names, values, strict=True)), route

    def check(self, route: SocketRoute) -> None:
        """Raise ValueError if another route has the same path."""
        found = self._tree.get(route.pattern)
        if found is not None:
            raise ValueError(f"both {found[1]} and {route} have the same path: take one away")

    def add(
        self, route: SocketRoute, middlewares: Iterable[Middleware], handler: JoinedHandler
    ) -> None:
        """Add a route that `check` accepted; `middlewares` are all middlewares around its `handler`."""
        self._tree.put(route.pattern, (complete(handler, middlewares), route))

    def substitute(self, route: SocketRoute, endpoint: Endpoint) -> Endpoint:
        """Replace the complete endpoint of a route; return the old one."""
        found = self._tree.get(route.pattern)
        assert found is not None, "the route was added"
        self._tree.put(route.pattern, (endpoint, route))
        return found[0]
