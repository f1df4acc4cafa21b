"""The chat: what is said is heard, remembered, and by whom; nobody stays who has gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from examples import chat
from kui.testing import AsyncTestClient, WebSocketClosed, WebSocketDenied

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client() -> AsyncIterator[AsyncTestClient]:
    chat.rooms.clear()
    async with AsyncTestClient(chat.app) as client:
        yield client


async def names(ws: Any) -> list[str]:
    """Who is there, according to the next event."""
    event = await ws.receive_json()
    assert event["type"] == "members"
    found: list[str] = event["names"]
    return found


async def said(ws: Any) -> tuple[str, str]:
    """The author and the text of the next event, a message."""
    event = await ws.receive_json()
    assert event["type"] == "message"
    return event["author"], event["text"]


async def test_the_page_is_there(client: AsyncTestClient) -> None:
    response = await client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert "new WebSocket" in response.text


async def test_what_one_says_everybody_in_the_room_hears(client: AsyncTestClient) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        assert await names(ann) == ["ann"]
        async with (
            client.websocket("/rooms/garden?name=bob") as bob,
            client.websocket("/rooms/attic?name=eve") as eve,
        ):
            assert await names(ann) == await names(bob) == ["ann", "bob"]
            assert await names(eve) == ["eve"]
            await bob.send_json({"text": "hello"})
            await eve.send_json({"text": "anybody?"})
            assert await said(ann) == await said(bob) == ("bob", "hello")
            assert await said(eve) == ("eve", "anybody?")
        assert await names(ann) == ["ann"]


async def test_who_comes_later_is_told_what_was_said(client: AsyncTestClient) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        await names(ann)
        for number in range(chat.HISTORY + 5):
            await ann.send_json({"text": str(number)})
            await said(ann)
    async with client.websocket("/rooms/garden?name=bob") as bob:
        texts = [(await said(bob))[1] for _ in range(chat.HISTORY)]
        assert texts == [str(number + 5) for number in range(chat.HISTORY)]
        assert await names(bob) == ["bob"]


async def test_who_is_cut_off_is_no_longer_there(client: AsyncTestClient) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        await names(ann)
        async with client.websocket("/rooms/garden?name=bob") as bob:
            assert await names(ann) == ["ann", "bob"]
            bob.abort()
            assert await names(ann) == ["ann"]


@pytest.mark.parametrize("message", ["{", "[]", '{"text": 5}', '{"text": ""}'])
async def test_what_is_no_message_closes(client: AsyncTestClient, message: str) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        await names(ann)
        await ann.send_text(message)
        with pytest.raises(WebSocketClosed):
            await ann.receive()
        assert ann.close_code == 1007


@pytest.mark.parametrize("name", ["", "%20", "x" * 41])
async def test_who_has_no_name_is_not_let_in(client: AsyncTestClient, name: str) -> None:
    with pytest.raises(WebSocketDenied) as denied:
        async with client.websocket(f"/rooms/garden?name={name}"):
            pass
    assert denied.value.response.status_code == 400


async def test_pages_of_others_are_not_let_in(client: AsyncTestClient) -> None:
    with pytest.raises(WebSocketDenied) as denied:
        async with client.websocket(
            "/rooms/garden?name=eve", headers={"Origin": "https://evil.com"}
        ):
            pass
    assert denied.value.response.status_code == 403


async def test_who_is_too_far_behind_is_let_go(client: AsyncTestClient) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        await names(ann)
        async with client.websocket("/rooms/garden?name=bob") as bob:
            await names(ann)
            for _ in range(1000):
                await ann.send_json({"text": "x" * 2000})
                await said(ann)
                if bob.close_code is not None:
                    break
            with pytest.raises(WebSocketClosed):
                while True:
                    await bob.receive()
            assert (bob.close_code, bob.close_reason) == (4008, "too far behind")
            assert await names(ann) == ["ann"]


async def test_empty_rooms_are_forgotten_when_there_are_too_many(
    client: AsyncTestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "ROOMS", 3)
    for number in range(10):
        async with client.websocket(f"/rooms/{number}?name=ann") as ann:
            await names(ann)
    assert len(chat.rooms) <= 3
