"""The reference's Router of ASGI apps: which app gets a path, and the way back."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from kui.asgi import HttpRoute, Kui, Mount, Router, SocketRoute, request, websocket
from kui.testing import AsyncTestClient, WebSocketDenied
from tests.support.telling_apps import Named, ask, tell

pytestmark = pytest.mark.anyio


def applications() -> Router:
    return Router(
        ("/static/{filepath:any}", Named("static_files")),
        ("/api/{_:any}", Named("api_app")),
        ("/about/{name}", Named("about_page"), "about"),
        ("/", Named("homepage"), "homepage"),
    )


async def test_paths_are_assigned_to_apps() -> None:
    app = applications()
    for path, name in {
        "/": "homepage",
        "/about/kui": "about_page",
        "/api/": "api_app",
        "/api/a/b": "api_app",
        "/static/css/a.css": "static_files",
    }.items():
        assert await ask(app, path) == (200, name)
    for path in ("/about", "/about/a/b", "/static", "/nowhere"):
        assert (await ask(app, path))[0] == 404


def test_build_url_makes_the_path_of_a_name() -> None:
    app = applications()
    assert app.build_url("about", {"name": "a b"}) == "/about/a%20b"
    assert app.build_url("homepage") == "/"


def test_without_a_name_no_url_can_be_built() -> None:
    with pytest.raises(LookupError):
        applications().build_url("static_files", {"filepath": "x"})


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("", "a b", "a b"),
        (":str", "x", "x"),
        (":int", "7", 7),
        (":decimal", "1.50", Decimal("1.50")),
        (
            ":uuid",
            "12345678-1234-5678-1234-567812345678",
            UUID(int=0x12345678123456781234567812345678),
        ),
        (":date", "2026-11-20", date(2026, 11, 20)),
        (":any", "a/b//c", "a/b//c"),
    ],
)
async def test_the_built_in_types_of_parameters(kind: str, text: str, value: object) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path_params"])
        await Named("ok")(scope, receive, send)

    router = Router((f"/x/{{value{kind}}}", app, "x"))
    assert (await ask(router, f"/x/{text}"))[0] == 200
    assert seen == [{"value": value}]
    from urllib.parse import quote

    assert router.build_url("x", {"value": value}) == f"/x/{quote(text)}"


async def test_an_app_finds_its_path_as_it_was_and_its_parameters() -> None:
    _, body = await ask(Router(("/a/{b}", tell)), "/svc/a/c", root_path="/svc")
    seen = json.loads(body)
    assert (seen["path"], seen["root_path"], seen["path_params"]) == (
        "/svc/a/c",
        "/svc",
        {"b": "c"},
    )


async def test_routes_of_handlers_may_stand_beside_apps() -> None:
    async def shout() -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text.upper())

    router = Router(
        HttpRoute("/h/{x}", lambda: request.path_params["x"], "h", ["GET"]),
        SocketRoute("/shout", shout),
        ("/a", Named("a")),
        [HttpRoute("/list", lambda: "list")],
    )
    router.http.post("/h/{x}")(lambda: "posted")
    for app, prefix in ((router, ""), (Kui(routes=[Mount("/m", router)]), "/m")):
        async with AsyncTestClient(app) as client:
            assert (await client.get(f"{prefix}/h/1")).text == "1"
            assert (await client.post(f"{prefix}/h/1")).text == "posted"
            assert (await client.get(f"{prefix}/a")).text == "a"
            assert (await client.get(f"{prefix}/list")).text == "list"
            refused = await client.put(f"{prefix}/h/1")
            assert (refused.status_code, refused.headers["allow"]) == (
                405,
                "GET, HEAD, OPTIONS, POST",
            )
            async with client.websocket(f"{prefix}/shout") as ws:
                await ws.send("a")
                assert await ws.receive() == "A"


async def test_an_app_gets_the_websockets_of_its_path() -> None:
    async with AsyncTestClient(Router(("/a/{b}", tell))) as client:
        async with client.websocket("/a/c") as ws:
            assert json.loads(await ws.receive())["path_params"] == {"b": "c"}
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/b"):
                pass
    assert denied.value.response.status_code == 404


async def test_inside_a_kui_app_its_handlers_answer_for_what_is_not_found() -> None:
    app = Kui(routes=[Mount("/m", applications())])
    app.exception_handler(404)(lambda exc: ("not here", 404))
    assert await ask(app, "/m/nowhere") == (404, "not here")


def test_a_path_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="every method"):
        Router(("/a", Named("a")), ("/a", Named("b")))


def test_what_is_no_app_is_refused() -> None:
    not_an_app: Any = 7
    with pytest.raises(TypeError, match="7 is no ASGI app"):
        Router(("/a", not_an_app))
