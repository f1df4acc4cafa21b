"""The reference's Subpaths: which app gets a prefix, and what it sees."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kui.asgi import Kui, Mount, Subpaths, request
from kui.testing import AsyncTestClient, WebSocketDenied
from tests.support.telling_apps import Named, ask, tell

pytestmark = pytest.mark.anyio


def applications() -> Subpaths:
    return Subpaths(
        ("/static", Named("static_files")),
        ("/api", Named("api_app")),
        ("/api/v2", Named("second")),
        ("", Named("default_app")),
    )


async def test_prefixes_are_assigned_to_apps_and_the_longest_wins() -> None:
    for path, name in {
        "/static": "static_files",
        "/static/": "static_files",
        "/static/a/b": "static_files",
        "/statics": "default_app",
        "/api/v": "api_app",
        "/api/v2": "second",
        "/api/v2/x": "second",
        "/api/v20": "api_app",
        "/": "default_app",
        "/x/static": "default_app",
    }.items():
        assert await ask(applications(), path) == (200, name), path


async def test_a_path_without_a_prefix_is_not_found() -> None:
    app = Subpaths(("/a", Named("a")))
    assert (await ask(app, "/b"))[0] == (await ask(app, "/"))[0] == 404
    async with AsyncTestClient(app) as client:
        with pytest.raises(WebSocketDenied):
            async with client.websocket("/b"):
                pass


async def seen(app: Any, path: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await ask(app, path, **more))[1])
    return found


async def test_root_path_and_path_change() -> None:
    told = await seen(Subpaths(("/api", tell)), "/api/users/7")
    assert (told["root_path"], told["path"]) == ("/api", "/users/7")


async def test_they_change_alike_on_every_server() -> None:
    app = Subpaths(("/api", tell))
    plain = await seen(app, "/api/x", root_path="/svc", raw_path=b"/api/x")
    whole = await seen(app, "/svc/api/x", root_path="/svc", raw_path=b"/svc/api/x")
    assert plain == whole
    assert (plain["root_path"], plain["path"], plain["raw_path"]) == (
        "/svc/api",
        "/x",
        "/svc/api/x",
    )


@pytest.mark.parametrize(
    ("path", "rest"), [("/api/api/x", "/api/x"), ("/api", "/"), ("/api/api", "/api")]
)
async def test_a_path_that_would_mislead_stays_whole(path: str, rest: str) -> None:
    told = await seen(Subpaths(("/api", tell)), path)
    assert (told["root_path"], told["path"], told["route_path"]) == ("/api", path, rest)


async def test_a_kui_app_behind_a_prefix_knows_where_it_is() -> None:
    inner = Kui()

    @inner.router.http.get("/{x:any}", name="x")
    async def x() -> list[str]:
        return [request.path_params["x"], str(request.url), request.url_for("x", x="y")]

    async with AsyncTestClient(Subpaths(("/api", inner))) as client:
        for rest in ("a", "", "api/a", "a%2Fb?q"):
            answer = (await client.get(f"/api/{rest}")).json()
            plain = rest.replace("%2F", "/").removesuffix("?q")
            assert answer == [plain, f"http://testserver/api/{rest}", "http://testserver/api/y"]


async def test_behind_a_mount_both_prefixes_add_up() -> None:
    app = Kui(routes=[Mount("/m", Subpaths(("/s", tell)))])
    told = await seen(app, "/m/s/x")
    assert (told["root_path"], told["path"], told["route_path"]) == ("/m/s", "/x", "/x")


async def test_websockets_go_to_the_apps() -> None:
    async with AsyncTestClient(Subpaths(("/s", tell))) as client, client.websocket("/s/x") as ws:
        told = json.loads(await ws.receive())
    assert (told["root_path"], told["path"]) == ("/s", "/x")


def test_a_wrong_prefix_is_refused() -> None:
    for prefix in ("a", "/a/", "/"):
        with pytest.raises(ValueError, match="must begin with a slash and not end with one"):
            Subpaths((prefix, tell))
    with pytest.raises(ValueError, match="take one away"):
        Subpaths(("/a", tell), ("/a", Named("other")))


@given(st.lists(st.sampled_from("ab/"), max_size=8).map("".join), st.data())
def test_search_gives_the_longest_prefix_of_whole_segments(path: str, data: st.DataObject) -> None:
    names = st.sampled_from(["", "/a", "/a/b", "/b", "/a/a", "/a/b/a", "//a"])
    prefixes = data.draw(st.lists(names, unique=True))
    path = f"/{path}"
    fitting = [each for each in prefixes if f"{path}/".startswith(f"{each}/")]
    found = Subpaths(*((prefix, Named(prefix)) for prefix in prefixes)).search(path)
    assert (found and found[0]) == max(fitting, key=len, default=None)


def test_a_long_path_takes_no_longer_than_its_length() -> None:
    app = Subpaths(*((f"/{number}" * 5, tell) for number in range(100)))
    assert app.search("/" * 1_000_000) is None
    assert app.search("/1" * 500_000) is not None
