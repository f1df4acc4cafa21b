"""The showcase does what its page says."""

from __future__ import annotations

import re

import pytest

from examples.showcase import app
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio


async def test_every_link_of_the_page_leads_somewhere() -> None:
    async with AsyncTestClient(app) as client:
        page = (await client.get("/")).text
        links = re.findall(r'<a href="([^"]+)"', page)
        assert len(links) >= 6
        expected = {"/teapot": 418, "/notes/0": 404}
        for link in links:
            async with client.stream("GET", link) as response:
                assert response.status_code == expected.get(link, 200), link


async def test_visits_are_counted_in_a_cookie() -> None:
    async with AsyncTestClient(app) as client:
        assert "1 time." in (await client.get("/")).text
        assert "2 times." in (await client.get("/")).text


async def test_notes_are_written_as_json_or_as_a_form_and_read_and_deleted() -> None:
    async with AsyncTestClient(app) as client:
        first = await client.post("/notes", json={"text": "milk", "price": "1.10"})
        assert first.status_code == 201
        second = await client.post("/notes", data={"text": "tea"})
        assert [note["text"] for note in (await client.get("/notes")).json()] == ["milk", "tea"]
        assert (await client.get(first.headers["location"])).json()["price"] == "1.10"
        assert (await client.delete(second.headers["location"])).status_code == 204
        assert (await client.get(second.headers["location"])).status_code == 404


async def test_what_a_client_makes_up_is_its_own_mistake() -> None:
    async with AsyncTestClient(app) as client:
        for note in ({}, [], 7, {"text": "milk", "price": "dear"}, {"text": "milk", "price": [1]}):
            assert (await client.post("/notes", json=note)).status_code == 400
        assert (await client.post("/notes", content=b"milk")).status_code == 400
        for visits in ("many", "9" * 5000, "\xb2"):
            headers = {"cookie": f"visits={visits}".encode("latin-1")}
            assert "1 time." in (await client.get("/", headers=headers)).text


async def test_a_sum_is_made_in_a_thread() -> None:
    async with AsyncTestClient(app) as client:
        assert (await client.get("/sum/1/2.50")).json() == {"sum": "3.50"}


async def test_the_seconds_are_streamed() -> None:
    async with AsyncTestClient(app) as client, client.events("/seconds") as events:
        event = await events.receive()
        assert event.data == f"{event.id} seconds"


async def test_an_upload_is_measured() -> None:
    async with AsyncTestClient(app) as client:
        answer = await client.post("/upload", files={"file": ("a.txt", b"12345")})
        assert answer.json() == [{"name": "file", "filename": "a.txt", "size": 5}]


async def test_a_socket_shouts() -> None:
    async with AsyncTestClient(app) as client, client.websocket("/shout") as socket:
        await socket.send_text("hello")
        assert await socket.receive_text() == "HELLO!"
