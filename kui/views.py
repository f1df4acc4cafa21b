"""Make endpoints of handlers: of functions, HttpView classes and other callables.

An endpoint is an async callable without arguments that returns the handler's raw value. It is made once, when a route
is registered. Routing finds the endpoint of a request.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from kui.http.exceptions import HTTPException

from .argument_checks import describe, own_signature, takes
from .concurrency import call, is_async
from .current import request_var
from .endpoints import Endpoint
from .parameters.handlers import JoinedHandler, declares_answer
from .parameters.targets import EMPTY, Planned, RoutePath, Target, declares, registering_names
from .responses.base import HttpResponse

if TYPE_CHECKING:
    from .websockets.views import SocketView

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

_NAMES: Final = ("__module__", "__name__", "__qualname__", "__doc__")


class HttpView:
    """A class whose methods answer the HTTP methods of their names.

    `get`, `post` and the others may be `async def` or `def` (run in a worker thread), instance, class or static
    methods, and generator functions. They take no arguments but declared parameters. Each request gets an instance of
    its own, which is made without arguments. If there is no `head`, `get` answers HEAD. OPTIONS gets a list of the
    methods, any other method 405 with `Allow` (RFC 9110, section 15.5.6).

    Override `HTTP_METHOD_NAMES` to answer other methods.

    :raises TypeError: at registration, if the view has none of these methods, or one that is no handler.

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


class Handler(NamedTuple):
    """A handler in the form that routing uses: its endpoint, and the methods that it answers (None for all).

    `targets` are the functions that may declare parameters: the methods of a view, or under None the function.
    """

    endpoint: Endpoint
    name: str
    methods: frozenset[str] | None = None
    targets: Mapping[str | None, Target] = EMPTY

    def join(
        self, path: RoutePath, overrides: Mapping[Any, Callable[..., Any]] = EMPTY
    ) -> JoinedHandler:
        """Plan the declared parameters of this handler for a path.

        :param overrides: as for `planning.plan`.
        :raises TypeError: a declaration cannot work; the message says what to write.
        """
        return JoinedHandler(self.targets, self.endpoint, _method_now, path, overrides)

    def name_for(self, method: str) -> str:
        """Return the name of the handler, or of the view's method, that answers an HTTP method."""
        if self.methods is None:
            return self.name
        if method == "HEAD" and method not in self.methods:
            method = "GET"
        return f"{self.name}.{method.lower()}" if method in self.methods else self.name


def _method_now() -> str:
    return request_var.get().method


def http_handler(handler: Any) -> Handler:
    """Return the `Handler` of a handler of HTTP requests.

    :raises TypeError: it is not callable, is a class but no HttpView, or is a view that is made with arguments or has
        no methods; the message says what to write.
    """
    if not isinstance(handler, type):
        target = _target(handler)
        return Handler(target.endpoint, describe(handler), None, {None: target})
    if issubclass(handler, HttpView):
        return _view(handler)
    raise TypeError(
        f"{describe(handler)} is a class but no HttpView: inherit from kui.asgi.HttpView, "
        f"or register an instance of it"
    )


def socket_handler(handler: Any) -> Handler:
    """Return the `Handler` of a handler of WebSockets.

    :raises TypeError: as for `http_handler`.
    """
    if isinstance(handler, type):
        from .websockets.views import SocketView  # see on_demand

        if issubclass(handler, SocketView):
            return _socket_view(handler)
        raise TypeError(
            f"{describe(handler)} is a class but no SocketView: inherit from "
            f"kui.asgi.SocketView, or register an instance of it"
        )
    if _makes_generator(handler):
        raise TypeError(f"{describe(handler)} handles WebSockets: it must not yield, but send")
    target = _target(handler, is_socket=True)
    return Handler(target.endpoint, describe(handler), None, {None: target})


def adapt(handler: Any) -> Endpoint:
    """Return the endpoint of a function or another callable.

    An `async def` is awaited. A `def` runs in a worker thread, and an awaitable that it returns is awaited. The raw
    value of a generator function is its generator.

    :raises TypeError: the handler is not callable.
    """
    if not callable(handler):
        raise TypeError(
            f"{handler!r} is not callable: register a function, an HttpView or another callable"
        )
    if is_async(handler):
        return handler  # type: ignore[no-any-return]  # checked on the line above
    if _makes_generator(handler) or _makes_generator(getattr(handler, "__call__", None)):  # noqa: B004  # whether it is async, not whether it is there

        async def generator(*args: Any, **named: Any) -> Any:
            return handler(*args, **named)

        return _named(generator, handler)

    async def threaded(*args: Any, **named: Any) -> Any:
        return await call(handler, *args, **named)

    return _named(threaded, handler)


def _target(
    handler: Any,
    planned: Any = None,
    skip: int = 0,
    invoke: Endpoint | None = None,
    is_socket: bool = False,
) -> Target:
    """Return the target of a handler, which may declare parameters.

    :param invoke: calls the handler; by default the endpoint that `adapt` returns.
    """
    invoke = adapt(handler) if invoke is None else invoke
    planned = handler if planned is None else planned
    declared = declares(planned, skip=skip) or not (is_socket or not declares_answer(planned))
    names = registering_names(planned) if declared else {}
    return Target((Planned(planned, skip),), invoke, invoke, declared, names, is_socket)


def _named(endpoint: Endpoint, handler: Any) -> Endpoint:
    """Give the endpoint the name and the docstring of its handler, for middlewares that read them."""
    return update_wrapper(endpoint, handler, _NAMES, ())


def _makes_generator(function: Any) -> bool:
    return inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)


def _view(view: type[HttpView]) -> Handler:
    if not takes(view, 0):
        raise TypeError(
            f"{describe(view)} is made without arguments, but its __init__ needs some: declare "
            f"parameters in its methods"
        )
    targets: dict[str | None, Target] = {}
    for name in view.HTTP_METHOD_NAMES:
        found = inspect.getattr_static(view, name, None)
        if found is not None:
            targets[name.upper()] = _method(view, name, found)
    if not targets:
        raise TypeError(
            f"{describe(view)} answers no method: define at least one of "
            f"{', '.join(view.HTTP_METHOD_NAMES)}"
        )
    endpoints = {name: one.endpoint for name, one in targets.items() if name is not None}
    methods = frozenset(endpoints)
    allow = allowed(methods)
    if "GET" in endpoints:
        endpoints.setdefault("HEAD", endpoints["GET"])

    async def dispatch() -> Any:
        endpoint = endpoints.get(request_var.get().method)
        # Routing calls this for these methods only, but a middleware may have changed the request's method.
        return await other_method(allow) if endpoint is None else await endpoint()

    return Handler(_named(dispatch, view), describe(view), methods, targets)


def _method(view: type[HttpView], name: str, found: object) -> Target:
    """Return the target of one method of a view; `found` is the attribute of the class."""
    if not inspect.isfunction(found):
        return _target(getattr(view, name))  # a class or static method
    function = found
    if not _has_self(function):
        raise TypeError(f"{describe(function)} has no self: add it, or @staticmethod above")
    invoke: Endpoint
    if inspect.iscoroutinefunction(function):

        async def method(*args: Any, **named: Any) -> Any:
            return await function(view(), *args, **named)

        invoke = method
    elif _makes_generator(function):

        async def generator(*args: Any, **named: Any) -> Any:
            return function(view(), *args, **named)

        invoke = generator
    else:

        async def threaded(*args: Any, **named: Any) -> Any:
            return await call(function, view(), *args, **named)

        invoke = threaded
    return _target(function, function, 1, invoke)


def _has_self(function: Callable[..., Any]) -> bool:
    for one in own_signature(function).parameters.values():
        return one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL)
    return False


def _socket_view(view: type[SocketView]) -> Handler:
    """Return the `Handler` of a SocketView. Its methods may declare parameters, which come from the handshake."""
    # see on_demand
    from .websockets.views import VIEW_METHODS, methods_of_view, run_view, view_endpoint

    endpoint = view_endpoint(view)
    planned = tuple(Planned(function, skip) for function, skip in methods_of_view(view))
    declared = any(declares(one.function, skip=one.skip) for one in planned)
    names = registering_names(view.on_connect) if declared else {}

    async def invoke(*calls: Callable[..., Any]) -> Any:
        made = view()
        connect, receive, disconnect = (
            partial(call, made) if one.skip > given else call
            for call, one, (_, given) in zip(calls, planned, VIEW_METHODS, strict=True)
        )
        return await run_view(made, connect, receive, disconnect)

    target = Target(planned, invoke, endpoint, declared, names, is_socket=True)
    return Handler(endpoint, describe(view), None, {None: target})


def allowed(methods: Iterable[str]) -> str:
    """Return the value of `Allow`: these methods, OPTIONS, and HEAD with GET."""
    names = {*methods, "OPTIONS"}
    if "GET" in names:
        names.add("HEAD")
    return ", ".join(sorted(names))


async def other_method(allow: str) -> HttpResponse:
    """Answer the current request, whose method no route has: OPTIONS gets 204 with `allow`.

    Raises HTTPException 405 with an `Allow` header if the method is not OPTIONS.
    """
    if request_var.get().method == "OPTIONS":
        return HttpResponse(204, {"Allow": allow})
    raise HTTPException(405, headers={"Allow": allow})
