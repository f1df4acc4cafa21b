"""The chat: what is said is heard, remembered, and by whom; a member who has gone does not stay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from examples import chat
from kui.testing import AsyncTestClient, WebSocketClosed, WebSocketDenied

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client() -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(chat.app) as client:
        yield client


async def next_of(ws: Any, kind: str) -> Any:
    """The next event of a kind; who is there and what is said come as it happens."""
    while True:
        event = await ws.receive_json()
        if event["type"] == kind:
            return event


async def until_there(ws: Any, *names: str) -> None:
    """Wait until exactly these are there."""
    while (await next_of(ws, "members"))["names"] != list(names):
        pass


async def said(ws: Any) -> tuple[str, str]:
    """The author and the text of the next message."""
    event = await next_of(ws, "message")
    return event["author"], event["text"]


async def test_the_page_is_there(client: AsyncTestClient) -> None:
    response = await client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert "new WebSocket" in response.text


async def test_what_one_says_all_in_the_room_hear(client: AsyncTestClient) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        await until_there(ann, "ann")
        async with (
            client.websocket("/rooms/garden?name=bob") as bob,
            client.websocket("/rooms/attic?name=eve") as eve,
        ):
            await until_there(ann, "ann", "bob")
            await until_there(bob, "ann", "bob")
            await until_there(eve, "eve")
            await bob.send_json({"text": "hello"})
            await eve.send_json({"text": "anybody?"})
            assert await said(ann) == await said(bob) == ("bob", "hello")
            assert await said(eve) == ("eve", "anybody?")
        await until_there(ann, "ann")


async def test_who_comes_later_is_told_what_was_said(client: AsyncTestClient) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        for number in range(chat.HISTORY + 5):
            await ann.send_json({"text": str(number)})
            await said(ann)
    async with client.websocket("/rooms/garden?name=bob") as bob:
        texts = [(await said(bob))[1] for _ in range(chat.HISTORY)]
        assert texts == [str(number + 5) for number in range(chat.HISTORY)]


async def test_who_comes_back_goes_on_where_it_was(client: AsyncTestClient) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        await ann.send_json({"text": "one"})
        cursor = (await next_of(ann, "message"))["cursor"]
    await chat.channels.publish("room garden", {"author": "bob", "text": "two", "at": ""})
    async with client.websocket(f"/rooms/garden?name=ann&after={cursor}") as ann:
        assert await said(ann) == ("bob", "two")


async def test_what_is_said_twice_with_one_key_is_heard_once(client: AsyncTestClient) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        for text in ("once", "once", "more"):
            await ann.send_json({"text": text, "key": text})
        assert [(await said(ann))[1] for _ in range(2)] == ["once", "more"]


async def test_who_is_cut_off_is_no_longer_there(client: AsyncTestClient) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        async with client.websocket("/rooms/garden?name=bob") as bob:
            await until_there(ann, "ann", "bob")
            bob.abort()
            await until_there(ann, "ann")


async def test_other_workers_say_who_is_there_until_they_are_silent(
    client: AsyncTestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        await until_there(ann, "ann")
        other = {"worker": "other", "rooms": {"garden": ["zoe"], "attic": ["eve"]}}
        await chat.channels.publish("there", other)
        await until_there(ann, "ann", "zoe")
        monkeypatch.setattr("examples.chat.presence.FORGOTTEN", 0.0)
        async with client.websocket("/rooms/garden?name=bob"):
            await until_there(ann, "ann", "bob")


@pytest.mark.parametrize(
    "message", ["{", "[]", '{"text": 5}', '{"text": ""}', '{"text": "a", "key": 5}']
)
async def test_what_is_no_message_closes(client: AsyncTestClient, message: str) -> None:
    async with client.websocket("/rooms/garden?name=ann") as ann:
        await ann.send_text(message)
        with pytest.raises(WebSocketClosed):
            while True:
                await ann.receive()
        assert ann.close_code == 1007


@pytest.mark.parametrize("name", ["", "%20", "x" * 41, "a%0Ab"])
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


async def test_a_slow_window_misses_nothing_that_the_room_remembers(
    client: AsyncTestClient,
) -> None:
    async with client.websocket("/rooms/garden?name=slow") as slow:
        for number in range(chat.HISTORY):
            await chat.channels.publish(
                "room garden", {"author": "ann", "text": f"{number} {'x' * 2000}", "at": ""}
            )
        texts = [(await said(slow))[1].split()[0] for _ in range(chat.HISTORY)]
        assert texts == [str(number) for number in range(chat.HISTORY)]


async def test_its_health_is_that_of_its_channels(client: AsyncTestClient) -> None:
    assert (await client.get("/health")).text == "well"
