"""The examples of docs/guides/mounting.md, run as they are printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kui.asgi import PlainTextResponse
from kui.testing import AsyncTestClient
from tests.support.telling_apps import tell

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs" / "guides" / "mounting.md"
BLOCKS = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run an example among the things that it takes for granted, and return its names."""
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "site.css").write_text("h1 {}")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("welcome")
    monkeypatch.chdir(tmp_path)

    import flask

    shop: Any = ModuleType("old_shop")
    shop.flask_app = flask.Flask("old_shop")
    shop.flask_app.add_url_rule("/<path:path>", view_func=lambda path: f"flask {path}")
    admin: Any = ModuleType("their_admin")
    admin.starlette_app = tell
    monkeypatch.setitem(sys.modules, "old_shop", shop)
    monkeypatch.setitem(sys.modules, "their_admin", admin)

    def run(beginning: str) -> dict[str, Any]:
        (source,) = [block for block in BLOCKS if beginning in block]
        names: dict[str, Any] = {"__name__": "example"}
        exec(compile(source, str(DOCS), "exec"), names)
        return names

    return run


async def test_behind_a_prefix(run: Any) -> None:
    async with AsyncTestClient(run("their_admin")["app"]) as client:
        assert (await client.get("/api/items/7")).json()["next"] == "http://testserver/api/items/8"
        assert (await client.get("/static/site.css")).text == "h1 {}"
        assert (await client.get("/old/x")).text == "flask x"
        assert (await client.get("/admin/x")).json()["root_path"] == "/admin"
        assert (await client.get("/")).text == "welcome"


async def test_piece_by_piece(run: Any) -> None:
    async with AsyncTestClient(run("show_item")["app"]) as client:
        assert (await client.get("/items/7")).json() == {"moved": True}
        assert (await client.get("/items/x")).text == "flask items/x"


async def test_without_a_kui_app(run: Any) -> None:
    async with AsyncTestClient(run("no_store")["app"]) as client:
        response = await client.get("/v1/users/ann")
        assert response.headers["cache-control"] == "no-store"
        async with client.websocket("/echo") as ws:
            await ws.send("hi")
            assert await ws.receive() == "hi"


async def test_around_an_app(run: Any) -> None:
    async with AsyncTestClient(run("timing")["app"]) as client:
        response = await client.get("/")
        assert response.text == "HELLO"
        assert response.headers["server-timing"].startswith("app;dur=")


async def test_compression(run: Any) -> None:
    app = run("minimum_size=1000")["app"]
    app.router.http("/")(lambda: PlainTextResponse("x" * 2000))
    async with AsyncTestClient(app) as client:
        response = await client.get("/", headers={"accept-encoding": "gzip"})
        assert response.headers["content-encoding"] == "gzip"


def test_every_example_is_run() -> None:
    assert len(BLOCKS) == 5
