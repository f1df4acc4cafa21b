"""The routes of one path: which of them answers a method, and what answers the methods of none.

Everything is decided when a route is added: an endpoint for each method, complete with its
middlewares, so that a request only looks up. The method check stands inside the middlewares of a
route (design: "Middlewares"), so that allow_cors on a POST route sees the preflight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kui.argument_checks import describe
from kui.connections import request_var
from kui.middlewares.methods import required_method
from kui.views import Endpoint, allowed, other_method

if TYPE_CHECKING:
    from .routes import HttpRoute

__all__ = [
    "Hit",
    "MethodTable",
    "Middleware",
    "decorate",
    "methods_of",
    "refuse_clash",
]

Middleware: TypeAlias = Callable[[Endpoint], Endpoint]
Hit: TypeAlias = tuple[Endpoint, tuple[str, ...]]
"""The endpoint for a method, and the names of its path parameters."""

STANDARD: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")


def decorate(endpoint: Endpoint, middlewares: Iterable[Middleware]) -> Endpoint:
    """The endpoint with these middlewares around it, the first of them outermost.

    Raises TypeError if one cannot be called, or returns something that cannot be.
    """
    for middleware in reversed(list(middlewares)):
        if not callable(middleware):
            raise TypeError(
                f"{middleware!r} is no middleware: give a function that takes an endpoint and "
                f"returns one"
            )
        result: object = middleware(endpoint)
        if not callable(result):
            if iscoroutine(result):
                result.close()
            raise TypeError(
                f"the middleware {describe(middleware)} returned {result!r}: return an endpoint, "
                f"which is an async function without arguments"
            )
        endpoint = result
    return endpoint


def methods_of(route: HttpRoute, middlewares: Iterable[Middleware] = ()) -> frozenset[str] | None:
    """The methods that a route answers: all that it, its view and its middlewares agree on.

    None stands for all methods. Raises ValueError if they agree on none.
    """
    methods: frozenset[str] | None = None
    required = [one.methods for one in middlewares if isinstance(one, required_method)]
    for some in (route.methods, route.handler.methods, *required):
        if some is not None:
            methods = some if methods is None else _both(methods, some)
    if methods is not None and not methods:
        raise ValueError(f"{route} answers no method at all: its methods exclude one another")
    return methods


def _both(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """What is in both sets, where GET stands for HEAD too."""
    both = one & other
    if "GET" not in both and all({"GET", "HEAD"} & methods for methods in (one, other)):
        both |= {"HEAD"}
    return both


def refuse_clash(
    taken: Iterable[tuple[HttpRoute, frozenset[str] | None]],
    route: HttpRoute,
    methods: frozenset[str] | None,
) -> None:
    """Raise ValueError, showing both, if one of the routes of this path has one of the methods."""
    for other, others in taken:
        if methods is None or others is None:
            both = "every method" if methods is others else ""
        else:
            both = " and ".join(sorted(methods & others))
        if both:
            raise ValueError(
                f"both {other} and {route} answer {both} there: take one away, or give one of "
                f"them other methods"
            )


@dataclass(frozen=True, slots=True)
class Entry:
    """A route on this path; `hit` is its handler, `miss` what it has around the method check."""

    route: HttpRoute
    methods: frozenset[str] | None
    hit: Endpoint
    miss: Endpoint


class MethodTable(dict[str, Hit]):
    """Of one path, the endpoint for each method: `table["GET"]`, with an answer for every method.

    HEAD follows GET unless a route answers HEAD itself. A route without methods answers whatever
    no other does. OPTIONS is answered with all methods of the path unless a route answers it.
    """

    __slots__ = ("_other", "allow", "entries", "routes")

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self.routes: dict[str, Entry] = {}
        self.allow = ""
        self._other: Hit = (self._answer, ())

    def __missing__(self, method: str) -> Hit:
        return self._other

    def add(
        self,
        route: HttpRoute,
        methods: frozenset[str] | None,
        middlewares: Iterable[Middleware],
    ) -> None:
        """Add a route that conflicts with none. Raises what its middlewares raise, unchanged then."""
        around = [
            one
            for one in middlewares
            # Its methods are in `methods`: nothing is left to check when a request comes.
            if type(one).__call__ is not required_method.__call__
        ]

        async def miss() -> Any:
            return await other_method(self.allow)

        hit = decorate(route.handler.endpoint, around)
        self.entries.append(Entry(route, methods, hit, decorate(miss, around)))
        self._decide()

    def substitute(self, route: HttpRoute, hit: Endpoint) -> Endpoint:
        """Have `hit`, complete with middlewares, answer in the place of a route that is here.

        Returns what did before.
        """
        place = next(at for at, entry in enumerate(self.entries) if entry.route is route)
        before = self.entries[place].hit
        self.entries[place] = replace(self.entries[place], hit=hit)
        self._decide()
        return before

    def entry(self, method: str) -> Entry | None:
        """Whose handler answers a method; None if that is 405, or OPTIONS by itself."""
        found = self.routes.get(method)
        if found is None:
            found = next((one for one in self.entries if one.methods is None), None)
        return found

    def _decide(self) -> None:
        self.routes = {
            method: entry for entry in self.entries if entry.methods for method in entry.methods
        }
        if "GET" in self.routes:
            self.routes.setdefault("HEAD", self.routes["GET"])
        self.clear()
        self.update(
            {
                method: (entry.hit, entry.route.pattern.names)
                for method, entry in self.routes.items()
            }
        )
        every = [entry for entry in self.entries if entry.methods is None]
        self.allow = allowed({*self.routes, *(STANDARD if every else ())})
        only = self.entries[0]
        if len(self.entries) > 1:
            self._other = (self._answer, only.route.pattern.names)
        else:
            self._other = (only.hit if every else only.miss, only.route.pattern.names)
            self.update(dict.fromkeys(STANDARD if every else (), self._other))

    async def _answer(self) -> Any:
        """Answer a method that no route has named, where there are several routes."""
        request = request_var.get()
        if request.method == "OPTIONS":
            # The middlewares of the route that a preflight asks about are to see it.
            wanted = self.routes.get(request.headers.get("access-control-request-method", ""))
            if wanted is not None:
                return await wanted.miss()
        every = self.entry("")
        return await (self.entries[0].miss if every is None else every.hit)()
