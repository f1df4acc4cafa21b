"""Channels as event streams, in the app under test, over each store and on both loops."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from kui.asgi import Kui, SendEventResponse, cancel_on_disconnect, request, websocket
from kui.channels import Channels
from kui.testing import AsyncTestClient, WebSocketDenied
from tests.support.redis_server import RedisServer

from .conftest import Make

pytestmark = pytest.mark.anyio

EVENTS = {"accept": "text/event-stream"}


def site(channels: Channels, *names: str, **options: Any) -> Kui:
    app = Kui(resources=[channels])

    @app.router.http.get("/events")
    async def events() -> SendEventResponse:
        after = request.headers.get("last-event-id")
        return SendEventResponse(channels.events(*names, after=after, **options))

    @app.router.http.post("/publish")
    async def publish() -> str:
        return await channels.publish("news", await request.json)

    @app.router.websocket("/socket")
    async def socket() -> None:
        after = websocket.query_params.get("after")
        async with channels.subscribe(*names, after=after) as subscription:
            await websocket.accept()
            async with cancel_on_disconnect():
                async for message in subscription:
                    await websocket.send_json(message.data)

    return app


@asynccontextmanager
async def opened(app: Kui) -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(app) as client:
        yield client


async def until_open(stream: Any) -> str:
    """Wait for the first block, which is no event, and return its id."""
    with anyio.move_on_after(10):
        while not stream.last_event_id:
            with anyio.move_on_after(0.01):
                await stream.receive()
    return str(stream.last_event_id)


async def test_a_stream_opens_with_an_id_and_is_resumed_with_it(make: Make) -> None:
    channels = make()
    async with AsyncTestClient(site(channels, "news")) as client:
        async with client.events("/events") as stream:
            cursor = await until_open(stream)
            assert re.fullmatch(r"\d+-0", cursor)
            assert stream.retry == 3000
        await channels.publish("news", {"title": "a\nb"})
        await channels.publish("news", "two\nlines")
        async with client.events("/events", last_event_id=cursor) as stream:
            first, second = await stream.receive(), await stream.receive()
            assert (first.json(), first.event) == ({"title": "a\nb"}, "message")
            assert second.data == "two\nlines"
            assert second.id == cursor.replace("-0", "-2")


async def test_a_gap_is_an_event_without_an_id(make: Make) -> None:
    channels = make(entries=2)
    async with AsyncTestClient(site(channels, "news")) as client:
        ids = [await channels.publish("news", number) for number in range(5)]
        async with client.events("/events", last_event_id=ids[0]) as stream:
            gap = await stream.receive()
            assert gap.event == "gap"
            assert gap.json() == {"channel": "news", "after": ids[0], "next": ids[3]}
            assert gap.id == ids[0]
            assert [(await stream.receive()).data for _ in range(2)] == ["3", "4"]
            assert stream.last_event_id == ids[4]


async def test_events_of_several_channels_have_a_common_id(make: Make) -> None:
    channels = make()
    async with AsyncTestClient(site(channels, "a", "b")) as client:
        async with client.events("/events") as stream:
            await until_open(stream)
            await channels.publish("a", 1)
            cursor = (await stream.receive()).id
        await channels.publish("b", 2)
        async with client.events("/events", last_event_id=cursor) as stream:
            assert (await stream.receive()).data == "2"


async def test_a_refusal_is_the_answer(make: Make) -> None:
    async def allow(channel: str) -> bool:
        await anyio.lowlevel.checkpoint()
        return request.query_params.get("key") == "secret" and channel == "news"

    async with AsyncTestClient(site(make(allow=allow), "news")) as client:
        refused = await client.get("/events", headers=EVENTS)
        assert refused.status_code == 403
        async with client.events("/events?key=secret") as stream:
            await until_open(stream)


async def test_a_websocket_is_refused_before_it_is_accepted(make: Make) -> None:
    async def allow(channel: str) -> bool:
        return websocket.query_params.get("key") == "secret"

    channels = make(allow=allow)
    async with AsyncTestClient(site(channels, "news")) as client:
        with pytest.raises(WebSocketDenied) as caught:
            async with client.websocket("/socket"):
                pass
        assert caught.value.response.status_code == 403
        with pytest.raises(WebSocketDenied) as caught:
            async with client.websocket("/socket?after=nonsense"):
                pass
        assert caught.value.response.status_code == 400
        async with client.websocket("/socket?key=secret") as session:
            await channels.publish("news", [1])
            assert await session.receive_json() == [1]


async def test_a_wrong_last_event_id_is_400(make: Make) -> None:
    async with AsyncTestClient(site(make(), "news")) as client:
        answer = await client.get("/events", headers={**EVENTS, "last-event-id": "7"})
        assert answer.status_code == 400


async def test_max_age_ends_the_stream_properly(make: Make) -> None:
    channels = make(max_age=0.1)
    async with AsyncTestClient(site(channels, "news")) as client:
        async with client.events("/events") as stream:
            assert [event async for event in stream] == []
            assert stream.retry == 3000


async def test_a_reader_that_is_too_slow_is_ended_properly(make: Make) -> None:
    channels = make(buffer=2)
    app = site(channels, "news", overflow="disconnect")
    async with AsyncTestClient(app) as client, client.events("/events") as stream:
        await until_open(stream)
        async with channels.subscribe("news") as witness:
            for _ in range(200):
                await channels.publish("news", "x" * 60_000)
                await witness.__anext__()
        events = [event async for event in stream]
        assert 0 < len(events) < 200


async def test_without_redis_a_stream_is_asked_to_come_back_and_a_publish_is_503(
    own_redis: RedisServer,
) -> None:
    own_redis.kill()
    channels = Channels(own_redis.url, timeout=0.2)
    async with AsyncTestClient(site(channels, "news")) as client:
        answer = await client.get("/events", headers=EVENTS)
        assert (answer.status_code, answer.text[:7]) == (200, "retry: ")
        refused = await client.post("/publish", json=1)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "Redis" not in refused.text
