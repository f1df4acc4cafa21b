"""`Pages`: directories answer with index.html, and paths without their suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kui.asgi import HTMLResponse, Kui, Mount, Pages, Router, Subpaths
from kui.testing import AsyncTestClient
from tests.support.telling_apps import ask

from .test_files import WAYS_OUT

pytestmark = pytest.mark.anyio


def everywhere(pages: Pages) -> list[tuple[Any, str]]:
    return [
        (pages, ""),
        (Kui(routes=[Mount("/", pages)]), ""),
        (Kui(routes=[Mount("/site", pages)]), "/site"),
        (Subpaths(("/site", pages)), "/site"),
        (Router(Mount("/a", Subpaths(("/b", pages)))), "/a/b"),
    ]


async def test_a_directory_answers_with_its_index(tree: Path) -> None:
    for app, prefix in everywhere(Pages(tree)):
        async with AsyncTestClient(app) as client:
            response = await client.get(f"{prefix}/")
            assert (response.status_code, response.text) == (200, "home")
            assert response.headers["content-type"] == "text/html; charset=utf-8"
            assert (await client.get(f"{prefix}/docs/")).text == "docs"


@pytest.mark.parametrize("query", ["", "?a=1&b=%2F", "?x=http://evil/"])
async def test_without_the_slash_it_redirects_and_keeps_the_query(tree: Path, query: str) -> None:
    for app, prefix in everywhere(Pages(tree)):
        async with AsyncTestClient(app) as client:
            response = await client.get(f"{prefix}/docs{query}")
            assert response.status_code == 307
            assert response.headers["location"] == f"{prefix}/docs/{query}"
            followed = await client.get(f"{prefix}/docs{query}", follow_redirects=True)
            assert followed.text == "docs"


async def test_the_prefix_itself_redirects_too_for_its_links_are_relative(tree: Path) -> None:
    for app, prefix in everywhere(Pages(tree)):
        if prefix:
            async with AsyncTestClient(app) as client:
                response = await client.get(f"{prefix}?q")
                assert (response.status_code, response.headers["location"]) == (307, f"{prefix}/?q")


async def test_a_redirect_stays_on_this_host(tree: Path) -> None:
    for path in ("//docs", "//evil.example/docs", "/\\evil.example/docs", "/%2Fdocs"):
        status, _ = await ask(Pages(tree), path)
        assert status == 404
    async with AsyncTestClient(Pages(tree)) as client:
        response = await client.get("/docs", headers={"host": "evil.example"})
    assert response.headers["location"] == "/docs/"


async def test_the_encoding_of_the_path_stays_in_the_redirect(tree: Path) -> None:
    (tree / "a ?é").mkdir()
    (tree / "a ?é" / "index.html").write_text("odd")
    async with AsyncTestClient(Pages(tree)) as client:
        response = await client.get("/a%20%3F%C3%A9?q=%3F")
        assert response.headers["location"] == "/a%20%3F%C3%A9/?q=%3F"
        assert (await client.get(response.headers["location"])).text == "odd"


async def test_a_file_comes_before_a_directory_and_that_before_a_file_with_the_suffix(
    tree: Path,
) -> None:
    pages = Pages(tree)
    assert await ask(pages, "/about") == (200, "about")
    assert await ask(pages, "/docs/page") == (200, "page")
    assert await ask(pages, "/about.html") == (200, "about")
    assert await ask(pages, "/new") == (200, "a file")
    assert (await ask(pages, "/docs"))[0] == 307
    assert (await ask(pages, "/about/"))[0] == 404
    assert (await ask(pages, "/nowhere.html"))[0] == 404


async def test_a_directory_without_an_index_is_not_there(tree: Path) -> None:
    for path in ("/empty", "/empty/", "/deep"):
        assert (await ask(Pages(tree), path))[0] == 404


async def test_pages_of_a_package_and_a_page_for_what_is_not_there(tree: Path) -> None:
    pages = Pages(tree, handle_404=HTMLResponse("<h1>Lost?</h1>", 404))
    for app, prefix in everywhere(pages):
        assert await ask(app, f"{prefix}/nowhere") == (404, "<h1>Lost?</h1>")
    with pytest.raises(ValueError, match="there is no directory"):
        Pages("kui:pages")


async def test_conditional_requests_and_ranges_hold_for_pages(tree: Path) -> None:
    async with AsyncTestClient(Pages(tree)) as client:
        etag = (await client.get("/docs/")).headers["etag"]
        assert (await client.get("/docs/", headers={"if-none-match": etag})).status_code == 304
        assert (await client.get("/docs/", headers={"range": "bytes=1-"})).text == "ocs"


@pytest.mark.parametrize(
    "path", [way for way in WAYS_OUT if way], ids=lambda path: ascii(path[:30])
)
async def test_there_is_no_way_out_and_no_error(tree: Path, path: str) -> None:
    assert (await ask(Pages(tree), path))[0] == 404
