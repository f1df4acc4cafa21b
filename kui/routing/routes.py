"""Routes as values: a path, a handler, a name, methods and middlewares.

A route is checked when it is made, and never changes. `RouteTable` adds routes to an app, `groups` joins them, and the
decorators of `Registrar` make them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeAlias, TypeVar

from kui.argument_checks import describe, list_of_functions
from kui.habits import ROUTE_PARAMETERS, GroupHabits, told
from kui.middlewares.methods import method_names
from kui.middlewares.placement import middleware_list
from kui.views import Handler, http_handler, socket_handler

from .around import Middleware, Middlewares
from .patterns import PathPattern

__all__ = ["HttpRoute", "Registrar", "Route", "Several", "SocketRoute", "flat"]

F = TypeVar("F", bound=Callable[..., Any])


class _Value:
    """The common part of HTTP and WebSocket routes."""

    __slots__ = ()

    path: str
    endpoint: Any
    name: str | None
    middlewares: tuple[Middleware, ...]
    namespace: str

    def __matmul__(self, middleware: Middleware) -> Self:
        """Return this route with one more middleware around all others: in `route @ a @ b`, b is the outermost."""
        return self.within(middlewares=(middleware,))

    def __rfloordiv__(self, prefix: str) -> Self:
        """Return this route behind a prefix: `"/prefix" // route`."""
        if not isinstance(prefix, str):
            return NotImplemented
        return self.within(prefix=prefix)

    def within(
        self, *, prefix: str = "", namespace: str = "", middlewares: Middlewares = ()
    ) -> Self:
        """Return this route as part of a group: behind a prefix, in a namespace, with middlewares around it.

        :raises ValueError: the prefix does not begin with a slash, or ends with one; or the whole path is wrong, such
            as with the same parameter twice.
        """
        changes: dict[str, Any] = {}
        if prefix:
            changes["path"] = _prefixed(prefix, self.path)
        if namespace:
            changes["namespace"] = f"{namespace}:{self.namespace}" if self.namespace else namespace
        if middlewares := list_of_functions("middlewares", middlewares):
            changes["middlewares"] = (*middlewares, *self.middlewares)
        return replace(self, **changes) if changes else self  # type: ignore[type-var]  # both are dataclasses

    @property
    def full_name(self) -> str | None:
        """The name for `url_for`, with its namespace: the given name, or by default the handler's; None for no name."""
        name = self.name
        if name == "":
            name = getattr(self.endpoint, "__name__", None)
        if not isinstance(name, str):
            return None
        return f"{self.namespace}:{name}" if self.namespace else name


def _checked_name(name: object) -> object:
    if not (name is None or isinstance(name, str)):
        raise TypeError(f"the name of a route is a str, or None for no name, not {name!r}")
    return name


def _checked_path(path: object) -> None:
    """Check that a decorator was given its path; without one it would register nothing.

    :raises TypeError: `path` is not a str.
    """
    if not isinstance(path, str):
        raise TypeError(f'a path comes first, such as @app.router.http("/hello"), not {path!r}')


def _prefixed(prefix: str, path: str) -> str:
    """Return a path behind a prefix.

    :raises ValueError: the prefix does not begin with a slash, or ends with one.
    """
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise ValueError(
            f"the prefix {prefix!r} must begin with a slash and not end with one: "
            f"write {'/' + prefix.strip('/')!r}"
        )
    return prefix + path


@dataclass(frozen=True, slots=True)
class HttpRoute(_Value):
    """A route for HTTP requests. `"/prefix" // route` and `route @ middleware` return new routes.

    :param path: begins with a slash; placeholders are `{name}` and `{name:converter}`. "" is for a route that will
        get a prefix.
    :param endpoint: the handler: a function, an HttpView or another callable.
    :param name: the name for `url_for`. "" means the handler's `__name__`, None means no name.
    :param methods: the methods that it answers; None means all methods that no other route of the path answers.
    :param middlewares: the first is the outermost.
    :param namespace: a prefix of the name, followed by a colon.
    :raises ValueError: the path or a method is wrong.
    :raises TypeError: the endpoint cannot be a handler.

    Example::

        HttpRoute("/users/{id:int}", show_user, methods=["GET"]) @ login_required
    """

    path: str
    endpoint: Any
    name: str | None = ""
    methods: frozenset[str] | None = None
    middlewares: tuple[Middleware, ...] = ()
    namespace: str = ""
    pattern: PathPattern = field(init=False, repr=False, compare=False)
    handler: Handler = field(init=False, repr=False, compare=False)

    @told(ROUTE_PARAMETERS)
    def __init__(
        self,
        path: str,
        endpoint: Any,
        name: str | None = "",
        methods: Iterable[str] | None = None,
        middlewares: Middlewares = (),
        namespace: str = "",
    ) -> None:
        put = object.__setattr__
        put(self, "path", path)
        put(self, "endpoint", endpoint)
        put(self, "name", _checked_name(name))
        put(self, "methods", None if methods is None else method_names(methods))
        put(self, "middlewares", middleware_list("middlewares", "HTTP", middlewares))
        put(self, "namespace", namespace)
        put(self, "pattern", PathPattern(path or "/"))
        put(self, "handler", http_handler(endpoint))

    def __str__(self) -> str:
        methods = f"{','.join(sorted(self.methods))} " if self.methods else ""
        return f"{methods}{self.path} ({describe(self.endpoint)})"


@dataclass(frozen=True, slots=True)
class SocketRoute(_Value):
    """A route for WebSockets. Parameters and errors are those of HttpRoute.

    Example::

        SocketRoute("/chat/{room}", chat, middlewares=[allow_origins("https://example.com")])
    """

    path: str
    endpoint: Any
    name: str | None = ""
    middlewares: tuple[Middleware, ...] = ()
    namespace: str = ""
    pattern: PathPattern = field(init=False, repr=False, compare=False)
    handler: Handler = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        path: str,
        endpoint: Any,
        name: str | None = "",
        middlewares: Middlewares = (),
        namespace: str = "",
    ) -> None:
        put = object.__setattr__
        put(self, "path", path)
        put(self, "endpoint", endpoint)
        put(self, "name", _checked_name(name))
        put(self, "middlewares", middleware_list("middlewares", "WebSocket", middlewares))
        put(self, "namespace", namespace)
        put(self, "pattern", PathPattern(path or "/"))
        put(self, "handler", socket_handler(endpoint))

    def __str__(self) -> str:
        return f"WebSocket {self.path} ({describe(self.endpoint)})"


Route: TypeAlias = HttpRoute | SocketRoute
Several: TypeAlias = Route | Iterable[Any]
"""A route, or routes and groups of routes in any nesting. It says Any for the reason given at `Middlewares`."""


def flat(routes: Several) -> Iterator[Route]:
    """Iterate over one route, or over the routes of a group of any nesting.

    :raises TypeError: a value is no route.
    """
    if isinstance(routes, HttpRoute | SocketRoute):
        yield routes
    elif isinstance(routes, Iterable) and not isinstance(routes, str):
        for each in routes:
            yield from flat(each)
    else:
        raise TypeError(f"{routes!r} is no route: give an HttpRoute, a SocketRoute or Routes")


class MethodDecorators:
    """`get`, `post`, `put`, `patch` and `delete`: decorators that register a handler for a method.

    Each decorator returns the handler unchanged, so that one handler can have several routes. Parameters
    and errors are those of HttpRoute.

    Example::

        @app.get("/hello/{name}", name="hello")
        async def hello(): ...
    """

    __slots__ = ()

    def _add(self, route: Route) -> object:
        """Add a route."""
        raise NotImplementedError

    @told(ROUTE_PARAMETERS)
    def get(
        self, path: str, name: str | None = "", middlewares: Middlewares = ()
    ) -> Callable[[F], F]:
        """Register a handler for GET and HEAD."""
        return self._decorator(path, name, "GET", middlewares)

    @told(ROUTE_PARAMETERS)
    def post(
        self, path: str, name: str | None = "", middlewares: Middlewares = ()
    ) -> Callable[[F], F]:
        """Register a handler for POST."""
        return self._decorator(path, name, "POST", middlewares)

    @told(ROUTE_PARAMETERS)
    def put(
        self, path: str, name: str | None = "", middlewares: Middlewares = ()
    ) -> Callable[[F], F]:
        """Register a handler for PUT."""
        return self._decorator(path, name, "PUT", middlewares)

    @told(ROUTE_PARAMETERS)
    def patch(
        self, path: str, name: str | None = "", middlewares: Middlewares = ()
    ) -> Callable[[F], F]:
        """Register a handler for PATCH."""
        return self._decorator(path, name, "PATCH", middlewares)

    @told(ROUTE_PARAMETERS)
    def delete(
        self, path: str, name: str | None = "", middlewares: Middlewares = ()
    ) -> Callable[[F], F]:
        """Register a handler for DELETE."""
        return self._decorator(path, name, "DELETE", middlewares)

    def _decorator(
        self,
        path: str,
        name: str | None,
        method: str | None,
        middlewares: Iterable[Middleware],
    ) -> Callable[[F], F]:
        _checked_path(path)
        methods = None if method is None else (method,)
        middlewares = list_of_functions("middlewares", middlewares)

        def register(handler: F) -> F:
            self._add(HttpRoute(path, handler, name, methods, middlewares))
            return handler

        return register


class HttpDecorators(MethodDecorators):
    """The decorator `router.http`, for all methods, with `.get`, `.post` and so on for one method.

    Example::

        @app.router.http("/hello", name="hello")
        @app.router.http.get("/hello/{name}", name="hello-with-name")
        async def hello(): ...
    """

    __slots__ = ("_append",)

    def __init__(self, append: Callable[[Route], object]) -> None:
        self._append = append

    def _add(self, route: Route) -> object:
        return self._append(route)

    @told(ROUTE_PARAMETERS)
    def __call__(
        self, path: str, name: str | None = "", middlewares: Middlewares = ()
    ) -> Callable[[F], F]:
        """Register a handler for all methods that no other route of the path has."""
        return self._decorator(path, name, None, middlewares)


class Registrar(GroupHabits):
    """The base of routers and groups: routes are added by `<<` or by the decorators `.http` and `.websocket`."""

    def __init__(self) -> None:
        self.http = HttpDecorators(self.append)

    def append(self, route: Route) -> object:
        """Add one route."""
        raise NotImplementedError

    def extend(self, routes: Several) -> None:
        """Add a route, or all routes of a group, as `self << routes` does.

        :raises TypeError: a value is no route.
        :raises Exception: what `append` raises.
        """
        for route in list(flat(routes)):
            self.append(route)

    def __lshift__(self, routes: Several) -> Self:
        """Add a route, or all routes of a group, as `extend` does; return `self`.

        pyright warns of `self << routes` as a statement (reportUnusedExpression); use `extend` then.
        """
        self.extend(routes)
        return self

    @told(ROUTE_PARAMETERS)
    def websocket(
        self, path: str, name: str | None = "", middlewares: Middlewares = ()
    ) -> Callable[[F], F]:
        """Register a handler of WebSockets. Parameters and errors are those of `http`.

        Example::

            @app.router.websocket("/chat/{room}")
            async def chat():
                await websocket.accept()
        """
        _checked_path(path)
        middlewares = list_of_functions("middlewares", middlewares)

        def register(handler: F) -> F:
            self.append(SocketRoute(path, handler, name, middlewares))
            return handler

        return register
