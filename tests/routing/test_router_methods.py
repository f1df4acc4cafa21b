"""Several routes on one path: who answers which method, and inside which middlewares."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType
from typing import Any

import pytest

from kui.current import request_var
from kui.middlewares.methods import required_method
from kui.routing import HttpRoute, RouteTable
from kui.views import Endpoint, HttpView

pytestmark = pytest.mark.anyio


async def one() -> str:
    return f"one {request_var.get().method}"


async def two() -> str:
    return f"two {request_var.get().method}"


async def three() -> str:
    return f"three {request_var.get().method}"


def size_of(router: RouteTable) -> int:
    """How many objects the HTTP routes of a router consist of."""
    seen: dict[int, object] = {}
    waiting: list[object] = [router.http_routes]
    while waiting:
        for each in gc.get_referents(waiting.pop()):
            if id(each) not in seen and not isinstance(each, ModuleType | type | FunctionType):
                seen[id(each)] = each
                waiting.append(each)
    return len(seen)


class Noting:
    """A middleware that notes its name when a request goes through."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    def __call__(self, endpoint: Endpoint) -> Endpoint:
        async def logged() -> Any:
            self.seen.append(self.name)
            return await endpoint()

        return logged


async def test_registrations_of_one_path_merge_by_method(ask: Any) -> None:
    router = RouteTable()
    router.http.get("/x")(one)
    router.http.post("/x")(two)
    assert await ask(router, "GET", "/x") == "one GET"
    assert await ask(router, "HEAD", "/x") == "one HEAD"
    assert await ask(router, "POST", "/x") == "two POST"
    assert await ask(router, "PUT", "/x") == (405, "GET, HEAD, OPTIONS, POST")
    assert await ask(router, "OPTIONS", "/x") == ("OPTIONS", "GET, HEAD, OPTIONS, POST")


async def test_every_short_form_registers_its_method(ask: Any) -> None:
    router = RouteTable()
    for method in ("get", "post", "put", "patch", "delete"):
        assert getattr(router.http, method)("/x")(one) is one
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        assert await ask(router, method, "/x") == f"one {method}"


async def test_registrations_merge_where_the_parameters_have_other_names(ask: Any) -> None:
    async def params() -> Any:
        return request_var.get().path_params

    router = RouteTable()
    router.http.get("/{a:int}/{b}")(params)
    router.http.post("/{c:int}/{d}")(params)
    assert await ask(router, "GET", "/1/x") == {"a": 1, "b": "x"}
    assert await ask(router, "POST", "/1/x") == {"c": 1, "d": "x"}
    assert await ask(router, "PUT", "/1/x") == (405, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize("first", [True, False])
async def test_a_route_without_methods_takes_those_that_no_other_has(ask: Any, first: bool) -> None:
    router = RouteTable()
    if first:
        router.http("/x")(two)
    router.http.get("/x")(one)
    if not first:
        router.http("/x")(two)
    assert await ask(router, "GET", "/x") == "one GET"
    assert await ask(router, "HEAD", "/x") == "one HEAD"
    for method in ("POST", "OPTIONS", "TRACE", "PURGE", "get"):
        assert await ask(router, method, "/x") == f"two {method}"


@pytest.mark.parametrize("method", ["get", "Get", "PURGE", "", "GET ", "\x00"])
async def test_an_unknown_method_is_not_allowed(ask: Any, method: str) -> None:
    router = RouteTable(HttpRoute("/x", one, methods=["GET"]))
    assert await ask(router, method, "/x") == (405, "GET, HEAD, OPTIONS")


async def test_methods_that_were_not_registered_leave_no_trace(ask: Any) -> None:
    router = RouteTable(HttpRoute("/x", one, methods=["GET"]))
    await ask(router, "M", "/x")
    before = size_of(router)
    for number in range(10):
        await ask(router, f"M{number}", "/x")
    assert size_of(router) == before


@pytest.mark.parametrize("turn", [1, -1])
async def test_the_most_specific_route_that_has_the_method_answers(ask: Any, turn: int) -> None:
    routes = [
        HttpRoute("/users/me", one, methods=["GET"]),
        HttpRoute("/users/{id}", two, methods=["GET", "DELETE"]),
        HttpRoute("/{rest:any}", three, methods=["PUT"]),
    ]
    router = RouteTable(routes[::turn])
    assert await ask(router, "GET", "/users/me") == "one GET"
    assert await ask(router, "HEAD", "/users/me") == "one HEAD"
    assert await ask(router, "DELETE", "/users/me") == "two DELETE"
    assert await ask(router, "PUT", "/users/me") == "three PUT"
    assert await ask(router, "GET", "/users/7") == "two GET"
    allow = "DELETE, GET, HEAD, OPTIONS, PUT"
    assert await ask(router, "POST", "/users/me") == (405, allow)
    assert await ask(router, "OPTIONS", "/users/me") == ("OPTIONS", allow)
    assert await ask(router, "POST", "/elsewhere") == (405, "OPTIONS, PUT")


async def test_the_parameters_are_those_of_the_route_that_answers(ask: Any) -> None:
    async def params() -> Any:
        return request_var.get().path_params

    router = RouteTable(
        HttpRoute("/{a:int}/x", params, methods=["GET"]),
        HttpRoute("/{b}/{c}", params, methods=["POST"]),
    )
    assert await ask(router, "GET", "/1/x") == {"a": 1}
    assert await ask(router, "POST", "/1/x") == {"b": "1", "c": "x"}


async def test_a_head_of_a_less_specific_route_does_not_come_before_a_get(ask: Any) -> None:
    router = RouteTable(
        HttpRoute("/users/{id}", two, methods=["HEAD"]),
        HttpRoute("/users/me", one, methods=["GET"]),
    )
    assert await ask(router, "HEAD", "/users/me") == "one HEAD"


@pytest.mark.parametrize("turn", [1, -1])
async def test_a_mount_answers_every_method_that_no_route_below_it_has(ask: Any, turn: int) -> None:
    routes = [
        HttpRoute("/files/list", one, methods=["GET"]),
        HttpRoute("/files/{rest:any}", two),  # what a mount is to routing
        HttpRoute("/{rest:any}", three, methods=["GET", "POST", "PURGE"]),
    ]
    router = RouteTable(routes[::turn])
    assert await ask(router, "GET", "/files/list") == "one GET"
    for method in ("POST", "PURGE", "OPTIONS", "LOCK"):
        assert await ask(router, method, "/files/list") == f"two {method}"
        assert await ask(router, method, "/files/a/b") == f"two {method}"
    assert await ask(router, "PURGE", "/a") == "three PURGE"


async def test_only_the_middlewares_that_all_routes_share_are_around_a_405(ask: Any) -> None:
    seen: list[str] = []
    app, group, a, b = (Noting(name, seen) for name in ("app", "group", "a", "b"))
    router = RouteTable(
        HttpRoute("/users/me", one, methods=["GET"], middlewares=[group, a]),
        HttpRoute("/users/{id}", two, methods=["DELETE"], middlewares=[b, group]),
        http_middlewares=[app],
    )
    assert await ask(router, "POST", "/users/me") == (405, "DELETE, GET, HEAD, OPTIONS")
    assert seen == ["app", "group"]
    seen.clear()
    assert await ask(router, "OPTIONS", "/users/me") == ("OPTIONS", "DELETE, GET, HEAD, OPTIONS")
    assert seen == ["app", "group"]
    seen.clear()
    assert await ask(router, "POST", "/users/7") == (405, "DELETE, OPTIONS")
    assert seen == ["app", "b", "group"]


async def test_a_preflight_meets_the_policy_of_the_route_that_it_asks_about(ask: Any) -> None:
    seen: list[str] = []
    router = RouteTable(
        HttpRoute("/x/me", one, methods=["GET"], middlewares=[Noting("get", seen)]),
        HttpRoute("/x/{id}", two, methods=["DELETE"], middlewares=[Noting("delete", seen)]),
        HttpRoute("/{rest:any}", three, middlewares=[Noting("rest", seen)]),
    )
    for method in ("GET", "DELETE"):
        asked = await ask(router, "OPTIONS", "/x/me", access_control_request_method=method)
        assert asked[0] == "OPTIONS"
    assert seen == ["get", "delete"]
    asked = await ask(router, "OPTIONS", "/x/me", access_control_request_method="PUT")
    assert (asked, seen[2:]) == ("three OPTIONS", ["rest"])


async def test_options_of_a_less_specific_route_leaves_preflights_alone(ask: Any) -> None:
    router = RouteTable(
        HttpRoute("/x", one, methods=["GET"]), HttpRoute("/{a}", two, methods=["OPTIONS"])
    )
    assert await ask(router, "OPTIONS", "/x") == "two OPTIONS"
    answer = await ask(router, "OPTIONS", "/x", access_control_request_method="GET")
    assert answer == ("OPTIONS", "GET, HEAD, OPTIONS")
    answer = await ask(router, "OPTIONS", "/y", access_control_request_method="GET")
    assert answer == "two OPTIONS"


async def test_an_own_head_is_preferred_to_get(ask: Any) -> None:
    router = RouteTable()
    router.http.get("/x")(one)
    router << HttpRoute("/x", two, name=None, methods=["HEAD"])
    assert await ask(router, "HEAD", "/x") == "two HEAD"
    assert await ask(router, "GET", "/x") == "one GET"


async def test_an_own_options_is_preferred_to_ours(ask: Any) -> None:
    router = RouteTable()
    router.http.get("/x")(one)
    router << HttpRoute("/x", two, methods=["OPTIONS"])
    assert await ask(router, "OPTIONS", "/x") == "two OPTIONS"
    assert await ask(router, "OPTIONS", "/x", access_control_request_method="GET") == "two OPTIONS"


@pytest.mark.parametrize(
    "methods", [(["GET"], ["GET"]), (["GET", "POST"], ["PUT", "POST"]), (None, None)]
)
def test_the_same_method_twice_is_an_error_that_shows_both(methods: Any) -> None:
    router = RouteTable(HttpRoute("/x/{a:int}", one, methods=methods[0]))
    with pytest.raises(ValueError, match=r"one\).*/x/\{b:int\} .*two\)"):
        router << HttpRoute("/x/{b:int}", two, methods=methods[1])


async def test_a_route_that_was_refused_has_left_no_trace(ask: Any) -> None:
    def broken(endpoint: Endpoint) -> Endpoint:
        raise LookupError

    router = RouteTable(HttpRoute("/x", one, methods=["GET"]))
    with pytest.raises(ValueError, match="GET"):
        router << HttpRoute("/x", two, methods=["POST", "GET"])
    with pytest.raises(LookupError):
        router << HttpRoute("/x", two, methods=["POST"]) @ broken
    with pytest.raises(LookupError):
        router << HttpRoute("/y", two) @ broken
    assert await ask(router, "POST", "/x") == (405, "GET, HEAD, OPTIONS")
    assert await ask(router, "POST", "/y") == 404
    assert len(router) == 1
    with pytest.raises(KeyError):
        router.url_for("two")


async def test_required_method_takes_part_in_merging(ask: Any) -> None:
    router = RouteTable()
    router.http("/x", middlewares=[required_method("GET")])(one)
    router.http("/x", middlewares=[required_method("POST", "put")])(two)
    assert await ask(router, "HEAD", "/x") == "one HEAD"
    assert await ask(router, "PUT", "/x") == "two PUT"
    assert await ask(router, "DELETE", "/x") == (405, "GET, HEAD, OPTIONS, POST, PUT")
    assert await ask(router, "OPTIONS", "/x") == ("OPTIONS", "GET, HEAD, OPTIONS, POST, PUT")


async def test_required_method_of_the_whole_application_narrows_each_route(ask: Any) -> None:
    router = RouteTable(
        HttpRoute("/x", one),
        HttpRoute("/y", one, methods=["GET", "POST"]),
        http_middlewares=[required_method("GET")],
    )
    for path in ("/x", "/y"):
        assert await ask(router, "HEAD", path) == "one HEAD"
        assert await ask(router, "POST", path) == (405, "GET, HEAD, OPTIONS")
    with pytest.raises(ValueError, match="exclude one another"):
        router.http.post("/z")(one)


async def test_required_method_that_is_wrapped_by_hand_checks_at_each_request(ask: Any) -> None:
    def hidden(endpoint: Endpoint) -> Endpoint:
        return required_method("GET")(endpoint)

    router = RouteTable(HttpRoute("/x", one) @ hidden)
    assert await ask(router, "HEAD", "/x") == "one HEAD"
    assert await ask(router, "PUT", "/x") == (405, "GET, HEAD, OPTIONS")
    assert await ask(router, "OPTIONS", "/x") == ("OPTIONS", "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("methods", [(), ("",), ("GET POST",), ("GET,POST",), ("GÉT",)])
def test_required_method_needs_methods(methods: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="'GET'"):
        required_method(*methods)


async def test_the_first_middleware_is_the_outermost(ask: Any) -> None:
    seen: list[str] = []
    app, a, b, c = (Noting(name, seen) for name in ("app", "a", "b", "c"))
    router = RouteTable(http_middlewares=[app])
    router << HttpRoute("/x", one, middlewares=[a, b]) @ c
    await ask(router, "GET", "/x")
    assert seen == ["app", "c", "a", "b"]


async def test_the_method_check_stands_inside_the_middlewares(ask: Any) -> None:
    seen: list[str] = []
    router = RouteTable(http_middlewares=[Noting("app", seen)])
    router.http.get("/x", middlewares=[Noting("get", seen)])(one)
    router.http.post("/x", middlewares=[required_method("POST"), Noting("post", seen)])(two)
    assert await ask(router, "PUT", "/x") == (405, "GET, HEAD, OPTIONS, POST")
    assert seen == ["app"]


@pytest.mark.parametrize("asked", ["GET", "HEAD", "POST"])
async def test_a_preflight_goes_through_the_middlewares_of_the_route_it_asks_about(
    ask: Any, asked: str
) -> None:
    seen: list[str] = []
    router = RouteTable()
    router.http.get("/x", middlewares=[Noting("get", seen)])(one)
    router.http.post("/x", middlewares=[Noting("post", seen)])(two)
    allow = "GET, HEAD, OPTIONS, POST"
    assert await ask(router, "OPTIONS", "/x", access_control_request_method=asked) == (
        "OPTIONS",
        allow,
    )
    assert seen == ["post" if asked == "POST" else "get"]


async def test_a_preflight_beside_a_route_for_all_methods_does_so_too(ask: Any) -> None:
    seen: list[str] = []
    router = RouteTable()
    router.http("/x", middlewares=[Noting("all", seen)])(one)
    router.http.post("/x", middlewares=[Noting("post", seen)])(two)
    answer = await ask(router, "OPTIONS", "/x", access_control_request_method="POST")
    assert answer[0] == "OPTIONS"
    assert seen == ["post"]
    answer = await ask(router, "OPTIONS", "/x", access_control_request_method="PUT")
    assert answer == "one OPTIONS"


async def test_a_middleware_may_answer_for_the_handler(ask: Any) -> None:
    def never(endpoint: Endpoint) -> Endpoint:
        async def answer() -> str:
            return "never"

        return answer

    router = RouteTable(HttpRoute("/x", one, methods=["GET"]) @ never)
    assert await ask(router, "GET", "/x") == "never"
    assert await ask(router, "OPTIONS", "/x") == "never"


async def async_middleware(endpoint: Endpoint) -> Endpoint:
    return endpoint


@pytest.mark.parametrize(
    ("middleware", "message"),
    [
        (5, "5 is no middleware"),
        (lambda endpoint: None, "returned None: return an endpoint"),
        (async_middleware, "async_middleware returned <coroutine"),
    ],
)
def test_a_middleware_that_is_none_is_refused(middleware: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        RouteTable(HttpRoute("/x", one, middlewares=[middleware]))


async def test_the_union_of_a_view_and_functions_is_allowed(ask: Any) -> None:
    class View(HttpView):
        async def get(self) -> str:
            return "view"

        async def delete(self) -> str:
            return "gone"

    router = RouteTable(HttpRoute("/x", View))
    router.http.post("/x")(one)
    assert await ask(router, "GET", "/x") == "view"
    assert await ask(router, "HEAD", "/x") == "view"
    assert await ask(router, "POST", "/x") == "one POST"
    assert await ask(router, "PUT", "/x") == (405, "DELETE, GET, HEAD, OPTIONS, POST")
    with pytest.raises(ValueError, match="answer GET there"):
        router.http.get("/x")(two)


async def test_a_view_may_be_registered_for_some_of_its_methods(ask: Any) -> None:
    class View(HttpView):
        async def get(self) -> str:
            return "get"

        async def head(self) -> str:
            return "head"

        async def post(self) -> str:
            return "post"

    router = RouteTable()
    router.http.get("/x")(View)
    assert await ask(router, "GET", "/x") == "get"
    assert await ask(router, "HEAD", "/x") == "head"
    assert await ask(router, "POST", "/x") == (405, "GET, HEAD, OPTIONS")
    with pytest.raises(ValueError, match="exclude one another"):
        router.http.put("/x")(View)


def test_the_router_tells_its_routes_and_what_they_answer() -> None:
    router = RouteTable()
    router.http.get("/x")(one)
    router.http("/y", middlewares=[required_method("PUT")])(two)
    router.http("/z")(two)
    assert [route.path for route in router] == ["/x", "/y", "/z"]
    assert [router.methods(route) for route in router] == [{"GET"}, {"PUT"}, None]


def test_the_router_tells_whose_handler_a_request_gets() -> None:
    router = RouteTable(HttpRoute("/x", one, methods=["GET"]), HttpRoute("/{a}", two))
    assert router.http_routes.search("/x", "HEAD")[2].endpoint is one
    assert router.http_routes.search("/x", "POST")[2].endpoint is two
    assert router.http_routes.search("/y", "POST")[2].endpoint is two
    assert router.http_routes.search("/y/z", "POST") is None


def test_websockets_are_registered_the_same_way() -> None:
    router = RouteTable()

    @router.websocket("/chat/{room:int}")
    async def chat() -> None: ...

    router.http("/chat/{room:int}")(one)
    endpoint, parameters, route = router.socket_routes.search("/chat/5")
    assert (endpoint, parameters, route.endpoint) == (chat, {"room": 5}, chat)
    assert router.socket_routes.search("/chat/x") is None
    with pytest.raises(ValueError, match=r"both WebSocket /chat/\{room:int\} .*take one away"):
        router.websocket("/chat/{other:int}")(chat)


async def test_socket_middlewares_stand_around_sockets_only(ask: Any) -> None:
    seen: list[str] = []

    async def chat() -> None: ...

    router = RouteTable(
        http_middlewares=[Noting("http", seen)], socket_middlewares=[Noting("socket", seen)]
    )
    router.http("/x")(one)
    router.websocket("/x", middlewares=[Noting("route", seen)])(chat)
    found = router.socket_routes.search("/x")
    await found[0]()
    assert seen == ["socket", "route"]


def test_what_is_no_route_is_refused() -> None:
    for wrong in (5, "/x", one):
        with pytest.raises(TypeError, match="is no route"):
            RouteTable(wrong)
    with pytest.raises(ValueError, match="put it behind a prefix"):
        RouteTable(HttpRoute("", one))
