"""Check a list of middlewares where it is given, and not when a request arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeAlias, TypeVar

from kui.argument_checks import describe, list_of_functions, takes

__all__ = ["ConnectionKind", "makes_middleware", "middleware_list", "only_for"]

ConnectionKind: TypeAlias = Literal["HTTP", "WebSocket"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK: Final = "__kui_connections__"
_MAKES: Final = "__kui_makes_middleware__"


def makes_middleware(function: F) -> F:
    """Mark a function that returns a middleware, and is none itself."""
    setattr(function, _MAKES, True)
    return function


def only_for(connections: ConnectionKind, name: str = "") -> Callable[[F], F]:
    """Mark a middleware, or a class of middlewares, as one for HTTP or for WebSockets only.

    :param name: the name for error messages, such as that of the function that has made the middleware.
    """

    def mark(middleware: F) -> F:
        setattr(middleware, _MARK, connections)
        if name:
            middleware.__qualname__ = name
        return middleware

    return mark


def middleware_list(
    parameter: str, connections: ConnectionKind, middlewares: Iterable[Any]
) -> tuple[Any, ...]:
    """Return the middlewares of a list.

    :param parameter: the name of the list, for error messages.
    :param connections: the kind of connections for which the list is.
    :raises TypeError: a function was given without a list around it, or one of the middlewares is an ASGI middleware
        or no function of an endpoint, or is for the other kind of connections.
    """
    found = list_of_functions(parameter, middlewares)
    for each in found:
        if getattr(each, _MAKES, False) or (isinstance(each, type) and _MARK in vars(each)):
            raise TypeError(f"{describe(each)} returns a middleware: write {each.__name__}(...)")
        if _is_asgi(each):
            raise TypeError(
                f"{describe(each)} is an ASGI middleware, and {parameter} takes functions of an "
                f"endpoint: write Kui(asgi_middlewares=[{_factory(each)}])"
            )
        if callable(each) and not takes(each, 1):
            raise TypeError(
                f"{describe(each)} is no middleware: give a function that takes an endpoint and "
                f"returns one"
            )
        meant = getattr(each, _MARK, connections)
        if meant != connections:
            raise TypeError(
                f"{describe(each)} is for {meant} routes only, not for {connections}: "
                f"{_INSTEAD.get(connections, 'take it away')}"
            )
    return found


_INSTEAD: Final[dict[str, str]] = {
    "HTTP": "take allow_cors() to let pages of other origins ask, or cross_origin_protection() "
    "to keep them away",
    "WebSocket": "take it away, or give it to the HTTP routes (http_middlewares)",
}


def _is_asgi(middleware: Any) -> bool:
    """True if this is a class of ASGI middlewares, or an ASGI app."""
    if isinstance(middleware, type):
        return "__call__" in dir(middleware) and takes(middleware.__call__, 4)
    return callable(middleware) and takes(middleware, 3) and not takes(middleware, 1)


def _factory(middleware: Any) -> str:
    if isinstance(middleware, type):
        return middleware.__name__
    return "a function of the ASGI app that returns one"
