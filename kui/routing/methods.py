"""The methods of a route, and the check that two routes of one path share none."""

from __future__ import annotations

from collections.abc import Iterable

from kui.middlewares.methods import required_method

from .around import Middleware
from .routes import HttpRoute

__all__ = ["methods_of", "refuse_clash"]


def methods_of(route: HttpRoute, middlewares: Iterable[Middleware] = ()) -> frozenset[str] | None:
    """Return the methods that a route answers: those that the route, its view and its middlewares all allow.

    None means all methods.

    :raises ValueError: there is no such method.
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
    """Return what is in both sets, where GET includes HEAD."""
    both = one & other
    if "GET" not in both and all({"GET", "HEAD"} & methods for methods in (one, other)):
        both |= {"HEAD"}
    return both


def refuse_clash(
    taken: Iterable[tuple[HttpRoute, frozenset[str] | None]],
    route: HttpRoute,
    methods: frozenset[str] | None,
) -> None:
    """Check that no other route of the path has one of the methods.

    :raises ValueError: one has; the message shows both routes.
    """
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
