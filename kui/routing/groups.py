"""Groups of routes, which can be joined, prefixed and nested.

Iterating over a group gives routes that include its namespace and middlewares. So routers and other groups need to
handle single routes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from kui.habits import GROUP_PARAMETERS, told
from kui.middlewares.placement import middleware_list

from .around import Middlewares
from .methods import methods_of, refuse_clash
from .routes import HttpRoute, Registrar, Route, Several
from .tree import Tree

__all__ = ["MultimethodRoutes", "Routes"]


class Routes(Registrar, Sequence[Route]):
    """A group of routes, with a namespace for their names and middlewares around them.

    `routes << more` and the decorators add routes under the group's namespace and middlewares. `routes + more` and
    `"/prefix" // routes` return new groups and do not change the old one. A prefix may have placeholders.

    :param routes: routes and groups of routes, in any nesting.
    :param namespace: a prefix of each name, followed by a colon; that of an outer group comes first.
    :param http_middlewares: around each HTTP route, outside of the route's own; the first is the outermost.
    :param socket_middlewares: the same for WebSocket routes.
    :raises TypeError: a value is no route.
    :raises ValueError: as for HttpRoute. Two routes with the same path and method are refused by the router to which
        the group is added.

    Example::

        users = Routes(namespace="users", http_middlewares=[login_required])

        @users.http.get("/{id:int}", name="show")
        async def show_user(): ...

        app = Kui(routes="/users" // users)
        app.router.url_for("users:show", {"id": 7})  # "/users/7"
    """

    @told(GROUP_PARAMETERS)
    def __init__(
        self,
        *routes: Several,
        namespace: str = "",
        http_middlewares: Middlewares = (),
        socket_middlewares: Middlewares = (),
    ) -> None:
        super().__init__()
        self.namespace = namespace
        self.http_middlewares = middleware_list("http_middlewares", "HTTP", http_middlewares)
        self.socket_middlewares = middleware_list(
            "socket_middlewares", "WebSocket", socket_middlewares
        )
        self._routes: list[Route] = []
        self << routes

    def append(self, route: Route) -> None:
        """Add one route, under this group's namespace and middlewares."""
        around = self.http_middlewares if isinstance(route, HttpRoute) else self.socket_middlewares
        self._routes.append(route.within(namespace=self.namespace, middlewares=around))

    def __add__(self, routes: Several) -> Routes:
        return Routes(self, routes)

    def __radd__(self, routes: Several) -> Routes:
        return Routes(routes, self)

    def __rfloordiv__(self, prefix: str) -> Routes:
        if not isinstance(prefix, str):
            return NotImplemented
        return Routes([route.within(prefix=prefix) for route in self])

    @overload
    def __getitem__(self, index: int) -> Route: ...
    @overload
    def __getitem__(self, index: slice) -> list[Route]: ...
    def __getitem__(self, index: int | slice) -> Route | list[Route]:
        return self._routes[index]

    def __len__(self) -> int:
        return len(self._routes)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Routes) else NotImplemented

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(map(str, self))}>"


class MultimethodRoutes(Routes):
    """A group in which several functions share a path, each for other methods.

    Any router accepts such routes. This group checks them earlier: as soon as a route is added.

    :raises ValueError: two functions of one path have the same method; the message shows both routes.

    Example::

        items = MultimethodRoutes()

        @items.http.get("/items")
        async def list_items(): ...

        @items.http.post("/items")
        async def add_item(): ...
    """

    @told(GROUP_PARAMETERS)
    def __init__(
        self,
        *routes: Several,
        namespace: str = "",
        http_middlewares: Middlewares = (),
        socket_middlewares: Middlewares = (),
    ) -> None:
        self._taken: Tree[list[tuple[HttpRoute, frozenset[str] | None]]] = Tree()
        super().__init__(
            *routes,
            namespace=namespace,
            http_middlewares=http_middlewares,
            socket_middlewares=socket_middlewares,
        )

    def append(self, route: Route) -> None:
        """Add one route, as `Routes.append` does.

        :raises ValueError: another route of this path has one of the methods.
        """
        if isinstance(route, HttpRoute):
            methods = methods_of(route, (*self.http_middlewares, *route.middlewares))
            taken = self._taken.get(route.pattern)
            if taken is None:
                taken = []
                self._taken.put(route.pattern, taken)
            refuse_clash(taken, route, methods)
            taken.append((route, methods))
        super().append(route)
