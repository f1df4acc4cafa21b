"""Apps mounted in a Kui app: which paths are theirs, what they see, and what stands around them."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from baize.typing import Message, Receive, Scope, Send
from hypothesis import given
from hypothesis import strategies as st

from kui.asgi import (
    HTTPException,
    HttpRoute,
    Kui,
    Mount,
    PlainTextResponse,
    Routes,
    convert_response,
    request,
)
from kui.http.urls import build_url, route_path
from kui.routing import RouteTable
from kui.routing.mounts import Mounted, below
from kui.testing import AsyncTestClient
from tests.support.telling_apps import Named, ask, tell

pytestmark = pytest.mark.anyio

Endpoint = Callable[[], Awaitable[Any]]


async def told(app: Any, path: str, **more: Any) -> dict[str, Any]:
    status, body = await ask(app, path, **more)
    assert status == 200, (path, body)
    found: dict[str, Any] = json.loads(body)
    return found


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/users/7", "/api/api/x", "/api//", "/api/a b"]
)
async def test_root_path_grows_and_stands_in_front_of_the_path(path: str) -> None:
    seen = await told(Kui(routes=[Mount("/api", tell)]), path)
    assert (seen["root_path"], seen["path"]) == ("/api", path)
    assert seen["route_path"] == (path.removeprefix("/api") or "/")


@pytest.mark.parametrize("path", ["/", "/apiary", "/ap", "/API", "/x/api", "//api"])
async def test_other_paths_are_not_the_mount_s(path: str) -> None:
    assert (await ask(Kui(routes=[Mount("/api", tell)]), path))[0] == 404


async def test_a_server_that_leaves_the_path_alone_and_one_that_prefixes_it_give_the_same() -> None:
    app = Kui(routes=[Mount("/api", tell)])
    plain = await told(app, "/api/x", root_path="/svc", raw_path=b"/api/x")  # hypercorn, stripped
    whole = await told(app, "/svc/api/x", root_path="/svc", raw_path=b"/svc/api/x")  # uvicorn
    assert plain == whole
    assert plain["root_path"] == "/svc/api"
    assert plain["path"] == plain["raw_path"] == "/svc/api/x"
    assert plain["route_path"] == "/x"


async def test_the_raw_path_keeps_its_encoding() -> None:
    app = Kui(routes=[Mount("/api", tell)])
    seen = await told(app, "/api/a/b", root_path="/é", raw_path=b"/%61pi/a%2Fb")
    assert seen["raw_path"] == "/%C3%A9/%61pi/a%2Fb"
    assert seen["route_path"] == "/a/b"


async def test_mounts_in_mounts_add_up() -> None:
    inner = Kui(routes=[Mount("/b", tell)])
    app = Kui(routes=[Mount("/a", Kui(routes=[Mount("/a", inner)]))])
    seen = await told(app, "/a/a/b/c")
    assert (seen["root_path"], seen["path"], seen["route_path"]) == ("/a/a/b", "/a/a/b/c", "/c")


@given(
    st.lists(st.sampled_from(["a", "é", "a b", "%", "a/b"]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["a", "é", "", "a b"]), max_size=3),
    st.sampled_from(["", "/svc", "/a"]),
    st.booleans(),
    st.booleans(),
)
def test_whatever_the_prefix_the_url_stays_and_the_rest_is_routed(
    prefix: list[str], rest: list[str], root: str, whole: bool, raw: bool
) -> None:
    from urllib.parse import quote

    mounted = "".join(f"/{each}" for each in prefix)
    path = mounted + "".join(f"/{each}" for each in rest)
    if not whole and (path + "/").startswith(f"{root}/"):
        whole = True  # this server cannot be told from the other
    sent = root + path if whole else path
    scope: Scope = {"type": "http", "path": sent, "root_path": root, "scheme": "http"}
    scope["headers"] = [(b"host", b"h")]
    if raw:
        scope["raw_path"] = quote(sent).encode()
    child = below(scope, mounted)
    assert child["root_path"] == root + mounted
    assert child["path"] == root + path
    assert route_path(child) == (path.removeprefix(mounted) or "/")
    assert str(build_url(child)) == str(build_url(scope))
    assert scope["path"] == sent  # as it was


async def test_a_mounted_kui_app_builds_its_urls_with_the_prefix() -> None:
    inner = Kui()

    @inner.router.http.get("/users/{id:int}", name="user")
    async def user() -> dict[str, Any]:
        url = request.url_for("user", {"id": 8})
        return {"id": request.path_params["id"], "url": str(request.url), "next": url}

    app = Kui(routes=[Mount("/admin", inner)])
    async with AsyncTestClient(app) as client:
        answer = (await client.get("/admin/users/7?q=1")).json()
    assert answer == {
        "id": 7,
        "url": "http://testserver/admin/users/7?q=1",
        "next": "http://testserver/admin/users/8",
    }


async def test_the_longest_prefix_wins_and_routes_that_say_more_come_first() -> None:
    app = Kui(routes=[Mount("/", Named("all")), Mount("/a", Named("a")), Mount("/a/b", Named("b"))])
    app.router.http.get("/a/fixed")(lambda: "fixed")
    app.router.http.get("/a/{number:int}")(lambda: "parameter")
    app.router.http("/{page}")(lambda: "page")
    async with AsyncTestClient(app) as client:
        answers = {
            "/": "all",
            "/x/y": "all",
            "/x": "page",
            "/a": "a",
            "/a/": "a",
            "/a/c": "a",
            "/ab": "page",
            "/a/b": "b",
            "/a/b/c": "b",
            "/a/bc": "a",
            "/a/fixed": "fixed",
            "/a/fixed/": "a",
            "/a/7": "parameter",
            "/a/7/8": "a",
        }
        for path, answer in answers.items():
            assert (await client.get(path)).text == answer, path


async def test_the_order_in_which_they_are_added_does_not_matter() -> None:
    routes = [Mount("/a", Named("a")), HttpRoute("/a/{x}", lambda: "x"), Mount("/a/b", Named("b"))]
    for order in (routes, routes[::-1]):
        app = Kui(routes=order)
        assert [(await ask(app, path))[1] for path in ("/a", "/a/x", "/a/b/c")] == ["a", "x", "b"]


async def test_every_method_goes_to_the_app() -> None:
    async def method(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("", headers={"x-method": scope["method"]})(scope, receive, send)

    app = Kui(routes=[Mount("/m", method)])
    async with AsyncTestClient(app, lifespan=False) as client:
        for name in ("GET", "HEAD", "POST", "OPTIONS", "DELETE", "PROPFIND"):
            response = await client.request(name, "/m/x")
            assert response.headers["x-method"] == name


async def test_one_method_of_a_path_below_it_may_be_a_route_s() -> None:
    app = Kui(routes=[Mount("/m", Named("mount"))])
    app.router.http.post("/m/{path:any}")(lambda: "route")
    async with AsyncTestClient(app) as client:
        assert (await client.get("/m/x")).text == "mount"
        assert (await client.post("/m/x")).text == "route"


async def test_mounts_are_values_of_the_algebra() -> None:
    mount = Mount("/m", tell, name="m")
    assert [route.path for route in "/p" // mount] == ["/p/m"] * 2 + ["/p/m/{path:any}"] * 2
    assert [route.path for route in mount] == ["/m"] * 2 + ["/m/{path:any}"] * 2  # as it was
    routes = Routes(mount, namespace="n") + HttpRoute("/", lambda: "")
    app = Kui(routes="/p" // routes)
    app.router << Mount("/q", tell) << "/{tenant}" // Mount("/m", tell)
    assert app.router.url_for("n:m", path="x/y z") == "/p/m/x/y%20z"
    for path, root in {"/p/m/x": "/p/m", "/q": "/q", "/t/m/x": "/t/m"}.items():
        assert (await told(app, path))["root_path"] == root


async def test_the_parameters_of_a_prefix_are_in_path_params() -> None:
    inner = Kui()

    @inner.router.http.get("/users/{id:int}")
    async def user() -> dict[str, Any]:
        return request.path_params

    app = Kui(routes="/{tenant}" // Routes(Mount("/raw", tell), Mount("/kui", inner)))
    assert (await told(app, "/t/raw/x/y"))["path_params"] == {"tenant": "t"}
    assert await told(app, "/t/kui/users/7") == {"tenant": "t", "id": 7}


async def test_a_mount_of_no_prefix_takes_the_prefix_that_it_gets() -> None:
    app = Kui(routes="/p" // Mount("", tell))
    assert (await told(app, "/p"))["root_path"] == "/p"
    assert (await told(app, "/p/x"))["root_path"] == "/p"
    with pytest.raises(ValueError, match=r"path .* is empty"):
        Kui(routes=[Mount("", tell)])


@pytest.mark.parametrize("path", ["m", "/m/", "m/", "//", "/{a", "/{path}"])
def test_a_path_that_cannot_be_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        Mount(path, tell)


async def handler() -> str:
    return "no app"


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


@pytest.mark.parametrize(
    ("app", "message"),
    [
        ("tell", "'tell' is no ASGI app: give an async callable of scope, receive, send"),
        (Kui, "Kui is a class: give an app made of it"),
        (handler, "handler is no ASGI app: it cannot be called with scope, receive, send"),
        (wsgi, "a WSGI app becomes one with WSGI(app)"),
        (Routes(), "is no ASGI app"),
    ],
)
def test_what_is_no_app_is_refused(app: Any, message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        Mount("/m", app)


def test_two_mounts_of_one_prefix_are_refused_with_both_shown() -> None:
    with pytest.raises(ValueError, match=r"telling_apps\.tell") as raised:
        RouteTable(Mount("/m", tell), Mount("/m", Named("other")))
    assert "Named object" in str(raised.value)


async def test_middlewares_stand_around_the_app() -> None:
    steps: list[str] = []

    def marking(name: str) -> Callable[[Endpoint], Endpoint]:
        def middleware(endpoint: Endpoint) -> Endpoint:
            async def marked() -> Any:
                steps.append(name)
                return await endpoint()

            return marked

        return middleware

    mount = Mount("/m", Named("m"), http_middlewares=[marking("mount")]) @ marking("at")
    app = Kui(
        routes=Routes(mount, http_middlewares=[marking("group")]), http_middlewares=[marking("app")]
    )
    await ask(app, "/m/x")
    assert steps == ["app", "group", "at", "mount"]


async def test_a_middleware_may_add_headers_to_the_app_s_answer() -> None:
    def add(endpoint: Endpoint) -> Endpoint:
        async def added() -> Any:
            response = convert_response(await endpoint())
            response.headers["x-added"] = "yes"
            response.set_cookie("seen", "1")
            return response

        return added

    async with AsyncTestClient(Kui(routes=[Mount("/m", tell)], http_middlewares=[add])) as client:
        response = await client.get("/m")
    assert response.headers["x-added"] == "yes"
    assert response.cookies["seen"] == "1"
    assert response.headers["content-type"] == "application/json"


async def test_cors_of_the_app_around_it_is_on_its_answers() -> None:
    app = Kui(routes=[Mount("/m", tell)], cors_config={})
    async with AsyncTestClient(app) as client:
        response = await client.get("/m", headers={"origin": "https://example.com"})
    assert response.headers["access-control-allow-origin"] == "https://example.com"


async def test_what_a_foreign_app_raises_goes_to_the_exception_handlers() -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(418)

    app = Kui(routes=[Mount("/m", fails)], exception_handlers={418: lambda exc: ("handled", 418)})
    async with AsyncTestClient(app) as client:
        response = await client.get("/m/x")
    assert (response.status_code, response.text) == (418, "handled")


async def test_a_mounted_kui_app_answers_for_itself() -> None:
    inner = Kui(exception_handlers={404: lambda exc: ("inner", 404)})
    app = Kui(routes=[Mount("/m", inner)], exception_handlers={404: lambda exc: ("outer", 404)})
    async with AsyncTestClient(app) as client:
        assert (await client.get("/m/x")).text == "inner"
        assert (await client.get("/x")).text == "outer"


async def test_after_a_mounted_app_the_request_is_the_outer_one_again() -> None:
    inner = Kui()
    inner.router.http.get("/")(lambda: "inner")
    seen: list[Any] = []

    def look(endpoint: Endpoint) -> Endpoint:
        async def looked() -> Any:
            request.background_tasks.append(
                lambda: seen.append((request.app, request["root_path"]))
            )
            return await endpoint()

        return looked

    app = Kui(routes=[Mount("/m", inner)], http_middlewares=[look])
    async with AsyncTestClient(app) as client:
        assert (await client.get("/m")).text == "inner"
    assert seen == [(app, "")]


async def test_the_body_streams_into_the_app_and_back_out() -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})

    async def chunks() -> Any:
        for number in range(50):
            yield b"%05d" % number * 1000

    app = Kui(routes=[Mount("/m", echo)])
    async with AsyncTestClient(app, lifespan=False) as client:
        response = await client.post("/m", content=chunks())
    assert response.content == b"".join([chunk async for chunk in chunks()])


async def test_a_mounted_app_that_reads_nothing_does_not_hold_the_answer_up() -> None:
    async with AsyncTestClient(Kui(routes=[Mount("/m", Named("m"))])) as client:
        assert (await client.post("/m", content=b"x" * 1_000_000)).text == "m"


async def test_a_mounted_app_learns_that_the_client_has_left() -> None:
    messages: list[Message] = []

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        while True:
            messages.append(await receive())
            if messages[-1]["type"] == "http.disconnect":
                return

    app = Kui(routes=[Mount("/m", wait)])
    async with AsyncTestClient(app, lifespan=False) as client:
        async with client.stream("GET", "/m") as response:
            assert await client.read(response, 1) == b"x"
            client.disconnect(response)
        await client.wait_idle()
    assert messages[-1]["type"] == "http.disconnect"


@given(
    st.lists(st.sampled_from(["/a", "/a/b", "/b", "/a/a", "/b/a/b", "/a/b/c"]), unique=True),
    st.lists(
        st.sampled_from(["/a", "/a/b", "/b/c", "/a/{x}", "/{x}", "/a/b/{n:int}"]), unique=True
    ),
    st.booleans(),
    st.lists(st.sampled_from(["a", "b", "c", "7", ""]), min_size=1, max_size=4),
    st.randoms(),
)
def test_a_table_of_mounts_and_routes_answers_as_the_model_says(
    mounts: list[str], routes: list[str], root: bool, names: list[str], random: Any
) -> None:
    """A route before a mount of the same prefix or a shorter one; of mounts the longest prefix."""
    path = "/" + "/".join(names)
    made: list[Any] = [Mount(prefix, Named(f"mount {prefix}")) for prefix in mounts]
    made += [Mount("/", Named("mount /"))] if root else []
    table = [HttpRoute(each, lambda: "", None) for each in routes if each not in mounts]
    random.shuffle(made := made + table)
    router = RouteTable(made)

    def rank(pattern: list[str], mount: bool) -> tuple[Any, ...] | None:
        """How exactly a pattern means the path, the smaller the more; None: not at all."""
        key: list[int] = []
        for number, text in enumerate(pattern):
            if number >= len(names):
                return None
            if text == names[number]:
                key.append(0)
            elif text == "{n:int}" and names[number].isdigit():
                key.append(1)
            elif text == "{x}" and names[number]:
                key.append(2)
            else:
                return None
        if len(pattern) < len(names):
            return (*key, 3) if mount else None
        return tuple(key)

    candidates = {}
    for prefix in [*mounts, *(["/"] if root else [])]:
        found = rank([each for each in prefix.split("/") if each], True)
        if found is not None:
            candidates[found] = f"mount {prefix}"
    for route in table:
        found = rank(route.path[1:].split("/"), False)
        if found is not None:
            candidates[found] = f"route {route.path}"
    expected = candidates[min(candidates)] if candidates else None
    found = router.http_routes.search(path, "GET")
    got = None if found is None else found[2]
    if got is None:
        assert expected is None
    elif isinstance(got.endpoint, Mounted):
        assert isinstance(got.endpoint.app, Named) and got.endpoint.app.name == expected
    else:
        assert f"route {got.path}" == expected
