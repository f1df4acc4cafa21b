"""What may handle a request: functions, HttpView classes, any callable; each becomes an endpoint.

An endpoint is an async callable without arguments that returns the handler's raw value. It is made
once, when a route is registered; routing decides which one a request gets. This module knows
nothing of paths.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, ClassVar, Final, TypeAlias

from kui.http.exceptions import HTTPException

from .argument_checks import describe, takes
from .concurrency import in_thread
from .connections import request_var
from .responses.base import HttpResponse
from .websockets import SocketView, view_endpoint

__all__ = [
    "Endpoint",
    "Handler",
    "HttpView",
    "adapt",
    "allowed",
    "http_handler",
    "other_method",
    "socket_handler",
]

Endpoint: TypeAlias = Callable[[], Awaitable[Any]]

_NAMES: Final = ("__module__", "__name__", "__qualname__", "__doc__")


class HttpView:
    """A class whose methods answer the HTTP methods of their names.

    `get`, `post` and the others may be `async def` or `def` (run in a worker thread), instance,
    class or static methods, and generator functions; they take no arguments. Every request gets an
    instance of its own, made without arguments. HEAD is answered by `get` where there is no `head`,
    OPTIONS with the methods there are, every other method with 405 and `Allow` (RFC 9110, 15.5.6).

    To answer other methods than those, override `HTTP_METHOD_NAMES`.

    Registering a view raises TypeError if it has none of these methods, or one that is no handler.

    Example::

        @app.router.http("/cats/{id:int}")
        class Cat(HttpView):
            async def get(self):
                return cats[request.path_params["id"]]

            async def delete(self):
                del cats[request.path_params["id"]]
                return "", 204
    """

    HTTP_METHOD_NAMES: ClassVar[Sequence[str]] = (
        "get",
        "post",
        "put",
        "patch",
        "delete",
        "head",
        "options",
        "trace",
    )


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler as routing sees it: its endpoint, and the methods it can answer (None: all)."""

    endpoint: Endpoint
    name: str
    methods: frozenset[str] | None = None

    def name_for(self, method: str) -> str:
        """The name of what answers a request with this method; of a view that is one of its own."""
        if self.methods is None:
            return self.name
        if method == "HEAD" and method not in self.methods:
            method = "GET"
        return f"{self.name}.{method.lower()}" if method in self.methods else self.name


def http_handler(handler: Any) -> Handler:
    """A handler of HTTP requests, made ready.

    Raises TypeError, in a sentence that says what to do, if it is not callable, needs arguments,
    is a class but no HttpView, or a view without methods.
    """
    if not isinstance(handler, type):
        return Handler(adapt(handler), describe(handler))
    if issubclass(handler, HttpView):
        return _view(handler)
    raise TypeError(
        f"{describe(handler)} is a class but no HttpView: inherit from kui.asgi.HttpView, "
        f"or register an instance of it"
    )


def socket_handler(handler: Any) -> Endpoint:
    """A handler of WebSockets, made ready. Raises TypeError as `http_handler` does."""
    if isinstance(handler, type):
        if issubclass(handler, SocketView):
            return view_endpoint(handler)
        raise TypeError(
            f"{describe(handler)} is a class but no SocketView: inherit from "
            f"kui.asgi.SocketView, or register an instance of it"
        )
    if _makes_generator(handler):
        raise TypeError(f"{describe(handler)} handles WebSockets: it must not yield, but send")
    return adapt(handler)


def adapt(handler: Any) -> Endpoint:
    """The endpoint of a function or another callable, whichever way it works.

    What `async def` returns is the raw value; `def` runs in a worker thread, and an awaitable that
    it returns is awaited; of a generator function the generator is the raw value. Raises TypeError
    if it is not callable or needs arguments.
    """
    if not callable(handler):
        raise TypeError(
            f"{handler!r} is not callable: register a function, an HttpView or another callable"
        )
    _refuse_parameters(handler, describe(handler))
    call: Any = handler
    if not inspect.isroutine(handler):
        call = getattr(handler, "__call__", handler)  # noqa: B004  # an object: how its method works
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call):
        return handler  # type: ignore[no-any-return]  # checked on the line above
    if _makes_generator(handler) or _makes_generator(call):

        async def generator() -> Any:
            return handler()

        return _named(generator, handler)

    async def threaded() -> Any:
        return await _in_thread(handler)

    return _named(threaded, handler)


def _named(endpoint: Endpoint, handler: Any) -> Endpoint:
    """The endpoint by the name of its handler, for the middlewares that look at it."""
    return update_wrapper(endpoint, handler, _NAMES, ())


async def _in_thread(function: Callable[..., Any], *args: object) -> Any:
    # In a tuple, because trio does not let a coroutine out of a thread.
    (value,) = await in_thread(lambda: (function(*args),))
    return await value if inspect.isawaitable(value) else value


def _makes_generator(function: Any) -> bool:
    return inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)


def _refuse_parameters(handler: Callable[..., Any], name: str, *, skip: int = 0) -> None:
    """Raise TypeError if `handler` cannot be called without arguments (but for the first `skip`)."""
    try:
        # What a decorator replaced does not matter: its own function is what is called.
        signature = inspect.signature(handler, follow_wrapped=False)
    except ValueError:  # some built-in callables have none to look at
        return
    for parameter in list(signature.parameters.values())[skip:]:
        if parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise TypeError(
                f"{name} needs the argument {parameter.name!r}, but handlers take no arguments: "
                f"read kui.asgi.request instead"
            )


def _view(view: type[HttpView]) -> Handler:
    _refuse_parameters(view, describe(view))
    endpoints = {}
    for name in view.HTTP_METHOD_NAMES:
        found = inspect.getattr_static(view, name, None)
        if found is not None:
            endpoints[name.upper()] = _method(view, name, found)
    if not endpoints:
        raise TypeError(
            f"{describe(view)} answers no method: define at least one of "
            f"{', '.join(view.HTTP_METHOD_NAMES)}"
        )
    methods = frozenset(endpoints)
    allow = allowed(methods)
    if "GET" in endpoints:
        endpoints.setdefault("HEAD", endpoints["GET"])

    async def dispatch() -> Any:
        endpoint = endpoints.get(request_var.get().method)
        # Routing sends only these methods here; a middleware may have changed the request's.
        return await other_method(allow) if endpoint is None else await endpoint()

    return Handler(_named(dispatch, view), describe(view), methods)


def _method(view: type[HttpView], name: str, found: object) -> Endpoint:
    """The endpoint of one method of a view; `found` is what stands in the class under its name."""
    if not inspect.isfunction(found):
        return adapt(getattr(view, name))  # a class or static method
    function = found
    _refuse_parameters(function, describe(function), skip=1)
    if not takes(function, 1):
        raise TypeError(f"{describe(function)} has no self: add it, or @staticmethod above")
    if inspect.iscoroutinefunction(function):

        async def method() -> Any:
            return await function(view())

        return method
    if _makes_generator(function):

        async def generator() -> Any:
            return function(view())

        return generator

    async def threaded() -> Any:
        return await _in_thread(function, view())

    return threaded


def allowed(methods: Iterable[str]) -> str:
    """The field value of `Allow`: these methods, and those that come with them by themselves."""
    names = {*methods, "OPTIONS"}
    if "GET" in names:
        names.add("HEAD")
    return ", ".join(sorted(names))


async def other_method(allow: str) -> HttpResponse:
    """Answer the current request, whose method nobody handles: OPTIONS with `allow`, others not.

    Raises HTTPException 405 with an `Allow` header if the method is not OPTIONS.
    """
    if request_var.get().method == "OPTIONS":
        return HttpResponse(204, {"Allow": allow})
    raise HTTPException(405, headers={"Allow": allow})
