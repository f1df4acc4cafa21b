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
"""Several middlewares. The type is Any because type checkers infer no common type for a list of functions and
instances that is stored in a variable; registration refuses a value that is no middleware."""


def decorate(endpoint: Endpoint, middlewares: Iterable[Middleware]) -> Endpoint:
    """Return the endpoint with these middlewares around it; the first is the outermost.

    :raises TypeError: a middleware, or what it returns, is not callable.
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
    """Return the complete endpoint of a handler: the handler, its middlewares around it, its dependencies around both.

    :raises TypeError: as for `decorate`.
    """
    return handler.around(decorate(handler.endpoint, middlewares))
