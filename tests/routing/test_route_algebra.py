"""Routes as values: what joining, prefixing, nesting and decorating make of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kui.middlewares.methods import required_method
from kui.routing import HttpRoute, MultimethodRoutes, Routes, RouteTable, SocketRoute
from kui.views import Endpoint


async def one() -> str:
    return "one"


async def two() -> str:
    return "two"


class Naming:
    """A middleware that puts its name in front of what the handler returns."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, endpoint: Endpoint) -> Endpoint:
        async def logged() -> Any:
            return f"{self.name} {await endpoint()}"

        return logged


def run(endpoint: Callable[[], Any]) -> Any:
    """What an endpoint returns that never waits."""
    coroutine = endpoint()
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    return stop.value.value


class Expected(NamedTuple):
    """One route, as the model says it must come out."""

    socket: bool
    path: str
    name: str
    value: str


def behind(prefix: str, routes: list[Expected]) -> list[Expected]:
    return [route._replace(path=prefix + route.path) for route in routes]


def inside(namespace: str, http: str, socket: str, routes: list[Expected]) -> list[Expected]:
    return [
        route._replace(
            name=f"{namespace}:{route.name}" if namespace else route.name,
            value=f"{socket if route.socket else http} {route.value}".strip(),
        )
        for route in routes
    ]


@st.composite
def groups(draw: st.DrawFn) -> tuple[Routes, list[Expected]]:
    """A group made by a random expression, and what must be in it."""
    numbers = count()

    def route() -> tuple[HttpRoute | SocketRoute, list[Expected]]:
        number = next(numbers)
        socket = draw(st.booleans())
        path = draw(st.sampled_from(["/r", "/é/r"])) + f"{number}"
        made: HttpRoute | SocketRoute
        made = (SocketRoute if socket else HttpRoute)(path, one, f"n{number}")
        model = [Expected(socket, path, f"n{number}", "one")]
        for name in draw(st.lists(st.sampled_from("ab"), max_size=2)):
            made @= Naming(name)
            model = inside("", name, name, model)
        if draw(st.booleans()):
            made = "/p" // made
            model = behind("/p", model)
        return made, model

    def group(depth: int) -> tuple[Any, list[Expected]]:
        how = draw(st.sampled_from(["make", "make", "add", "prefix", "put", "decorate"]))
        if depth == 0:
            return route()
        if how == "make":
            parts = [group(depth - 1) for _ in range(draw(st.integers(0, 2)))]
            namespace = draw(st.sampled_from(["", "x", "y"]))
            http = draw(st.sampled_from(["", "h"]))
            socket = draw(st.sampled_from(["", "s"]))
            made = Routes(
                *(part for part, _ in parts),
                namespace=namespace,
                http_middlewares=[Naming(http)] if http else [],
                socket_middlewares=[Naming(socket)] if socket else [],
            )
            return made, inside(namespace, http, socket, [each for _, m in parts for each in m])
        left, expected = group(depth - 1)
        if not isinstance(left, Routes):
            left = Routes(left)
        before = list(left)
        if how == "add":
            right, more = group(depth - 1)
            made, expected = left + right, expected + more
        elif how == "prefix":
            prefix = draw(st.sampled_from(["/p", "/q/r", "/é", f"/{{t{next(numbers)}:int}}"]))
            made, expected = prefix // left, behind(prefix, expected)
        elif how == "put":
            right, more = group(depth - 1)
            made = Routes(namespace="z", http_middlewares=[Naming("i")]) << left << right
            expected = inside("z", "i", "", expected + more)
        else:
            number = next(numbers)
            made = Routes(left)
            assert made.http.get(f"/d{number}", f"n{number}")(one) is one
            expected = [*expected, Expected(False, f"/d{number}", f"n{number}", "one")]
        assert list(left) == before  # whatever was made of it
        return made, expected

    made, expected = group(draw(st.integers(1, 4)))
    return made if isinstance(made, Routes) else Routes(made), expected


@given(groups())
def test_every_expression_of_routes_gives_what_the_model_says(
    case: tuple[Routes, list[Expected]],
) -> None:
    routes, expected = case
    assert [(route.path, route.full_name) for route in routes] == [
        (route.path, route.name) for route in expected
    ]
    router = RouteTable(routes)
    for route in expected:
        params = {part: 7 for part in router_names(route.path)}
        path = route.path
        for name in params:
            path = path.replace(f"{{{name}:int}}", "7")
        assert router.url_for(route.name, params) == path.replace("é", "%C3%A9")
        found = (
            router.socket_routes.search(path)
            if route.socket
            else router.http_routes.search(path, "GET")
        )
        assert found is not None
        endpoint, values, _ = found
        assert values == params
        assert run(endpoint).split() == route.value.split()
    http = {route.path for route in expected if not route.socket}
    for route in expected:
        if route.path not in http:
            assert router.http_routes.search(route.path, "GET") is None


def router_names(path: str) -> list[str]:
    return [part.partition(":")[0] for part in path.replace("}", "{").split("{")[1::2]]


def test_in_a_chain_of_decorators_the_last_is_the_outermost() -> None:
    router = RouteTable(
        HttpRoute("/x", one, middlewares=[Naming("list"), Naming("inner")])
        @ Naming("a")
        @ Naming("b")
    )
    found = router.http_routes.search("/x", "GET")
    assert run(found[0]) == "b a list inner one"


def test_middlewares_go_from_the_application_over_the_groups_to_the_route() -> None:
    inner = Routes(HttpRoute("/x", one) @ Naming("route"), http_middlewares=[Naming("inner")])
    outer = Routes(inner, http_middlewares=[Naming("outer"), Naming("outer2")])
    found = RouteTable(outer, http_middlewares=[Naming("app")]).http_routes.search("/x", "GET")
    assert run(found[0]) == "app outer outer2 inner route one"


def test_a_prefix_leaves_the_old_value_as_it_was() -> None:
    routes = Routes(HttpRoute("/x", one), namespace="n")
    moved = "/api" // routes
    routes << HttpRoute("/y", two)
    assert [route.path for route in routes] == ["/x", "/y"]
    assert [(route.path, route.full_name) for route in moved] == [("/api/x", "n:one")]


def test_a_route_of_a_group_may_have_the_prefix_itself_as_its_path() -> None:
    routes = "/users" // Routes(HttpRoute("", one), HttpRoute("/", two))
    router = RouteTable(routes)
    assert router.url_for("one") == "/users"
    assert router.url_for("two") == "/users/"


@pytest.mark.parametrize("prefix", ["api", "/api/", "/"])
def test_a_wrong_prefix_is_refused_by_a_sentence_that_says_what_to_do(prefix: str) -> None:
    with pytest.raises(ValueError, match="must begin with a slash and not end with one: write '/"):
        prefix // Routes(HttpRoute("/x", one))


def test_a_prefix_must_fit_the_paths_behind_it() -> None:
    with pytest.raises(ValueError, match="parameter 'a' twice"):
        "/{a}" // Routes(HttpRoute("/{a}", one))
    with pytest.raises(ValueError, match="move it to the end"):
        "/{a:any}" // HttpRoute("/x", one)
    with pytest.raises(TypeError):
        5 // Routes()


def test_a_clash_of_names_in_two_groups_shows_both_places() -> None:
    routes = "/a" // Routes(HttpRoute("/x", one, "same")) + "/b" // Routes(
        HttpRoute("/y", two, "same")
    )
    with pytest.raises(ValueError, match=r"'same' .*/a/x .*one.*/b/y .*two"):
        RouteTable(routes)
    RouteTable(
        "/a" // Routes(HttpRoute("/x", one, "same"), namespace="a"), HttpRoute("/y", two, "same")
    )


def test_a_default_name_gets_its_namespace_too() -> None:
    routes = Routes(HttpRoute("/x", one), HttpRoute("/y", two, None), namespace="n")
    assert [route.full_name for route in routes] == ["n:one", None]


def test_routes_are_a_sequence() -> None:
    first, second = HttpRoute("/x", one), SocketRoute("/y", two)
    routes = Routes([first, [second]])
    assert list(routes) == [first, second]
    assert routes[0] == first
    assert routes[1:] == [second]
    assert len(routes) == 2
    assert second in routes
    for left, right in (([first], Routes(second)), (Routes(first), [second])):
        assert routes == left + right
    assert routes != Routes(first)
    assert repr(routes).startswith("<Routes /x (")


def test_a_group_can_be_put_into_itself() -> None:
    routes = Routes(HttpRoute("/x", one))
    routes << "/again" // routes << routes
    assert [route.path for route in routes] == ["/x", "/again/x", "/x", "/again/x"]


def test_what_is_no_route_is_refused() -> None:
    with pytest.raises(TypeError, match="is no route"):
        Routes(one)
    with pytest.raises(TypeError, match="is no route"):
        Routes() << "/x"


def test_routes_are_registered_on_a_group_as_on_a_router() -> None:
    routes = Routes()

    @routes.http("/x", name="x", middlewares=[Naming("x")])
    @routes.http.post("/y")
    @routes.websocket("/z")
    async def handler() -> None: ...

    assert [str(route).split(" (")[0] for route in routes] == ["WebSocket /z", "POST /y", "/x"]


def test_of_equal_routes_each_is_equal() -> None:
    assert HttpRoute("/x", one, methods=["get"]) == HttpRoute("/x", one, "", {"GET"})
    assert HttpRoute("/x", one) != HttpRoute("/x", two)
    assert HttpRoute("/x", one) @ Naming("n") != HttpRoute("/x", one)
    with pytest.raises(AttributeError):
        HttpRoute("/x", one).path = "/y"


@pytest.mark.anyio
async def test_functions_share_a_path_by_method(ask: Any) -> None:
    routes = MultimethodRoutes(namespace="n")
    routes.http.get("/{a:int}")(one)
    routes.http.post("/{b:int}")(two)
    router = RouteTable("/p" // routes)
    assert await ask(router, "HEAD", "/p/1") == "one"
    assert await ask(router, "POST", "/p/1") == "two"
    assert await ask(router, "PUT", "/p/1") == (405, "GET, HEAD, OPTIONS, POST")


def test_a_method_that_two_functions_claim_is_refused_where_it_is_written() -> None:
    routes = MultimethodRoutes(HttpRoute("/{a:int}", one, methods=["GET"]))
    with pytest.raises(ValueError, match=r"/\{a:int\} .*one.*/\{b:int\} .*two.* answer GET there"):
        routes.http("/{b:int}", middlewares=[required_method("GET", "PUT")])(two)
    routes.http.put("/{b:int}")(two)
    assert len(routes) == 2
