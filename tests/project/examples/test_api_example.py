"""examples/api: a newcomer's service, tested as a newcomer would test it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from examples.api import Settings, app, settings
from examples.api.store import open_store
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio

ANN = {"X-Key": "ann"}
BOB = {"X-Key": "bob"}


@pytest.fixture
async def client(tmp_path: Path, anyio_backend: Any) -> AsyncIterator[AsyncTestClient]:
    async def for_tests() -> Settings:
        found = Settings(tmp_path / "notes.db")
        async with open_store(found.database) as store:
            await store.make_table()
        return found

    with app.overrides(dependencies={settings: for_tests}):
        async with AsyncTestClient(app) as client:
            yield client


async def add(client: AsyncTestClient, text: str, *tags: str, headers: Any = ANN) -> int:
    response = await client.post("/notes", json={"text": text, "tags": tags}, headers=headers)
    assert response.status_code == 201
    number: int = response.json()["id"]
    return number


async def test_who_has_no_key_is_told_first(client: AsyncTestClient) -> None:
    response = await client.post("/notes", content=b"{")
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'ApiKey in="header", name="X-Key"'


async def test_a_note_lives(client: AsyncTestClient) -> None:
    number = await add(client, "milk", "shop")
    url = f"/notes/{number}"
    note = {"id": number, "text": "milk", "due": None, "tags": ["shop"]}
    assert (await client.get(url, headers=ANN)).json() == note
    changed = await client.patch(url, json={"due": "today"}, headers=ANN)
    assert changed.json() == {**note, "due": "today"}
    changed = await client.patch(url, json={"due": None, "text": "bread"}, headers=ANN)
    assert changed.json() == {**note, "text": "bread"}
    assert (await client.get(url, headers=BOB)).status_code == 404
    assert (await client.delete(url, headers=ANN)).status_code == 204
    gone = await client.get(url, headers={**ANN, "accept": "application/json"})
    assert (gone.status_code, gone.json()["detail"]) == (404, f"There is no note {number}.")


async def test_what_cannot_be_stored_is_refused(client: AsyncTestClient) -> None:
    huge = 10**30
    for url in (f"/notes/{huge}", f"/notes?page={huge}", "/notes?tag=a%20b"):
        assert (await client.get(url, headers=ANN)).status_code == 422, url
    for body in (b'{"text": "x", "tags": ["a b"]}', b'{"text": "\\ud800"}'):
        headers = {**ANN, "content-type": "application/json"}
        response = await client.post("/notes", content=body, headers=headers)
        assert response.status_code in (400, 422), body


async def test_notes_are_found(client: AsyncTestClient) -> None:
    for text, *tags in [("milk", "shop"), ("bread", "shop", "urgent"), ("call bob", "urgent")]:
        await add(client, text, *tags)
    await add(client, "bob's", "shop", headers=BOB)

    async def texts(query: str) -> list[str]:
        found = await client.get(f"/notes?{query}", headers=ANN)
        return [note["text"] for note in found.json()]

    assert await texts("") == ["milk", "bread", "call bob"]
    assert await texts("tag=shop") == ["milk", "bread"]
    assert await texts("tag=shop&tag=urgent") == ["bread"]
    assert await texts("size=2&page=2") == ["call bob"]
    response = await client.get("/notes?size=0&colour=red", headers=ANN)
    assert response.status_code == 422
    assert {one["pointer"] for one in response.json()["errors"]} == {"/size", "/colour"}


async def test_notes_are_imported_and_exported(client: AsyncTestClient) -> None:
    files = {"a": ("a.txt", b"one\n\ntwo\n"), "b": ("b.txt", b"three")}
    response = await client.post("/notes/import", data={"tag": "old"}, files=files, headers=ANN)
    assert response.json() == {"imported": 3}
    response = await client.get("/notes/export", headers=ANN)
    assert [line.split(",", 1)[1] for line in response.text.splitlines()] == [
        "one,old",
        "two,old",
        "three,old",
    ]


async def test_an_import_that_is_too_large_leaves_nothing(client: AsyncTestClient) -> None:
    files = {"a": ("a.txt", b"x\n" * 1001)}
    assert (await client.post("/notes/import", files=files, headers=ANN)).status_code == 413
    assert (await client.get("/notes", headers=ANN)).json() == []
