"""Middlewares around an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import iscoroutine
from typing import Any, TypeAlias

from kui.argument_checks import describe
from kui.parameters.handlers import JoinedHandler
from kui.views import Endpoint

__all__ = ["Middleware", "Middlewares", "complete", "decorate"]

Middleware: TypeAlias = Callable[[Endpoint], Endpoint]
Middlewares: TypeAlias = Iterable[Any]
"""Middlewares in a list. It says Any because type checkers find no common type for functions and
instances in a list that has a name; what is no middleware is refused when it is registered."""


def decorate(endpoint: Endpoint, middlewares: Iterable[Middleware]) -> Endpoint:
    """Return the endpoint with these middlewares around it, the first outermost.

    Raises TypeError if a middleware, or what it returns, is not callable.
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
    """Return the complete endpoint of a handler: itself, the middlewares, and the dependencies around them.

    Raises TypeError as `decorate` does.
    """
    return handler.around(decorate(handler.endpoint, middlewares))
