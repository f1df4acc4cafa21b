"""The layout of a large service: 300 routes in five packages, each of which answers."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator

import pytest

from examples.layout import app
from kui.asgi import HttpRoute
from kui.testing import AsyncTestClient, WebSocketClosed, WebSocketDenied

pytestmark = pytest.mark.anyio

CLERK = {"x-role": "clerk"}
LIBRARIAN = {"x-role": "librarian"}
PARTS = ("catalog", "members", "loans", "branches", "staff")


@pytest.fixture
async def client() -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(app) as client:
        yield client


def test_there_are_three_hundred_routes_and_each_has_a_name_of_its_own() -> None:
    routes = list(app.router)
    assert len(routes) >= 300
    names = [route.full_name for route in routes if route.full_name]
    assert len(set(names)) == len(names) >= 300
    for part in PARTS:
        assert sum(name.startswith(f"{part}:") for name in names) >= 60
    assert app.router.url_for("catalog:books:show", id=7) == "/catalog/books/7"
    assert app.router.url_for("staff:pages:day", day="monday") == "/staff/pages/monday"


async def test_every_page_that_can_be_read_answers(client: AsyncTestClient) -> None:
    asked = 0
    for route in app.router:
        fixed = isinstance(route, HttpRoute) and "{" not in route.path
        if fixed and route.methods == {"GET"} and not route.path.endswith("/news"):
            response = await client.get(route.path, headers=LIBRARIAN)
            assert response.status_code == 200, route
            asked += 1
    assert asked > 120


async def test_the_index_tells_how_large_it_is(client: AsyncTestClient) -> None:
    index = (await client.get("/")).json()
    assert index["routes"] == len(app.router)
    assert set(index["parts"]) == set(PARTS)


async def test_an_item_lives_and_dies(client: AsyncTestClient) -> None:
    book = {"name": "Emma", "author": "Austen"}
    added = await client.post("/catalog/books/", json=book, headers=CLERK)
    assert added.status_code == 201
    url = f"/catalog/books/{added.json()['id']}"
    assert (await client.get(url)).json()["name"] == "Emma"
    await client.patch(url, json={"year": 1815}, headers=CLERK)
    assert (await client.get(url)).json() == {**added.json(), "year": 1815}
    assert len((await client.get("/catalog/books/by/Austen")).json()) == 1
    assert len((await client.get("/catalog/books/search?q=EMM")).json()) == 1
    assert (await client.get("/catalog/books/export")).text.endswith(",Emma\r\n")
    assert (await client.delete(url, headers=CLERK)).status_code == 204
    gone = await client.get(url)
    assert (gone.status_code, gone.json()["error"][:17]) == (404, "there is no books")
    missing = await client.post("/catalog/books/", json={"name": "Emma"}, headers=CLERK)
    assert (missing.status_code, missing.text) == (422, "author is missing.")


async def test_methods_and_roles_are_those_of_the_route_and_of_its_group(
    client: AsyncTestClient,
) -> None:
    assert (await client.get("/members/people/")).status_code == 401
    assert (await client.get("/members/people/", headers=CLERK)).status_code == 200
    assert (await client.get("/staff/shifts/", headers=CLERK)).status_code == 403
    assert (await client.post("/branches/rooms/", json={}, headers=CLERK)).status_code == 403
    refused = await client.put("/catalog/authors/count")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_a_book_is_lent_once_and_comes_back(client: AsyncTestClient) -> None:
    for status in (201, 409):
        lent = await client.post("/loans/desk/7", json={"name": "Ann"}, headers=CLERK)
        assert lent.status_code == status
    assert (await client.delete("/loans/desk/7", headers=CLERK)).status_code == 204
    assert (await client.delete("/loans/desk/7", headers=CLERK)).status_code == 404


async def test_news_are_events(client: AsyncTestClient) -> None:
    async with client.events("/catalog/books/news") as events:
        await client.post(
            "/catalog/books/import", json=[{"name": "Ulysses", "author": "Joyce"}], headers=CLERK
        )
        assert (await events.receive()).data == "Ulysses"


async def test_doors_count_over_a_websocket(client: AsyncTestClient, anyio_backend: str) -> None:
    async with client.websocket(f"/branches/doors/{anyio_backend}") as door:
        for step, inside in (("1", "1"), ("1", "2"), ("-1", "1")):
            await door.send(step)
            assert await door.receive() == inside
        await door.send("one")
        with pytest.raises(WebSocketClosed):
            await door.receive()
    with pytest.raises(WebSocketDenied):
        async with client.websocket("/branches/doors"):
            pass


async def test_pages_and_static_files_are_part_of_it(client: AsyncTestClient) -> None:
    page = await client.get("/staff/pages/", headers=LIBRARIAN)
    assert 'href="/static/site.css"' in page.text
    assert (await client.get("/static/site.css")).headers["content-type"].startswith("text/css")
    assert (await client.get("/static/../__init__.py")).status_code == 404
    assert (await client.get("/staff/pages/monday", headers=LIBRARIAN)).text == "<h1>Monday</h1>"


async def test_what_a_client_sends_is_checked_and_escaped(client: AsyncTestClient) -> None:
    page = await client.get("/staff/pages/%3Cscript%3E", headers=LIBRARIAN)
    assert page.text == "<h1>&lt;Script&gt;</h1>"
    before = (await client.get("/catalog/series/count")).json()
    for url, body in [
        ("/loans/desk/8", [1]),
        ("/loans/desk/8", {}),
        ("/catalog/series/", "a text"),
        ("/catalog/series/import", 5),
        ("/catalog/series/import", [{"name": "Poirot"}, 5]),
    ]:
        response = await client.post(url, json=body, headers=LIBRARIAN)
        assert response.status_code == 422, url
    assert (await client.get("/catalog/series/count")).json() == before
    added = await client.post("/catalog/series/", json={"name": 'a,"b\n1,c'}, headers=LIBRARIAN)
    rows = list(csv.reader((await client.get("/catalog/series/export")).text.splitlines(True)))
    assert rows[-1] == [str(added.json()["id"]), 'a,"b\n1,c']
