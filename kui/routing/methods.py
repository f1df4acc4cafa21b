"""What stands around a handler, middlewares, and which methods it answers with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import iscoroutine
from typing import TYPE_CHECKING, TypeAlias

from kui.argument_checks import describe
from kui.middlewares.methods import required_method
from kui.parameters.joining import JoinedHandler
from kui.views import Endpoint

if TYPE_CHECKING:
    from .routes import HttpRoute

__all__ = [
    "Middleware",
    "complete",
    "decorate",
    "methods_of",
    "refuse_clash",
]

Middleware: TypeAlias = Callable[[Endpoint], Endpoint]


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


def complete(handler: JoinedHandler, middlewares: Iterable[Middleware]) -> Endpoint:
    """The whole endpoint of a handler, from the dependencies that are around its middlewares to itself.

    Raises TypeError as `decorate` does.
    """
    return handler.around(decorate(handler.endpoint, middlewares))


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
