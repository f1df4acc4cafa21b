"""Deploys and load cut no browser off: an event stream's client is told when to come back, and never gets a 503."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from kui.asgi import HTTPException, Kui, SendEventResponse, limit_concurrency
from kui.http.media import awaits_events
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio

EVENTS = {"accept": "text/event-stream"}


async def one_and_more() -> AsyncIterator[Any]:
    yield {"id": 1, "data": "first"}
    await anyio.sleep_forever()


async def nothing(send: Any) -> None:
    await anyio.sleep_forever()


def site(source: Any, **options: Any) -> Kui:
    app = Kui()

    @app.router.http.get("/events")
    async def events() -> SendEventResponse:
        return SendEventResponse(source() if source is one_and_more else source, **options)

    return app


async def test_each_client_gets_a_time_of_its_own_when_the_app_stops() -> None:
    async with AsyncTestClient(site(one_and_more)) as client, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(client.events("/events")) for _ in range(20)]
        for stream in streams:
            assert (await stream.receive()).data == "first"
            assert stream.retry is None
        client.begin_shutdown()
        for stream in streams:
            assert [event async for event in stream] == [], "the stream ends as it should"
        times = {stream.retry for stream in streams}
        assert len(times) > 10
        assert all(time is not None and 1000 <= time <= 10_000 for time in times)


async def test_a_stream_without_an_event_yet_ends_so_too() -> None:
    async with AsyncTestClient(site(nothing)) as client:
        async with client.events("/events") as stream:
            client.begin_shutdown()
            assert [event async for event in stream] == []
            assert stream.retry is not None


async def test_other_streams_end_without_such_a_thing() -> None:
    async def two(send: Any) -> None:
        await send("a")

    async with AsyncTestClient(site(two)) as client:
        assert (await client.get("/events")).text == "data: a\n\n"


async def test_one_that_comes_back_is_told_the_usual_time_again() -> None:
    async with AsyncTestClient(site(one_and_more)) as client:
        async with client.events("/events", last_event_id="0") as stream:
            assert (await stream.receive()).retry == 3000


async def test_a_stream_may_say_its_own_time() -> None:
    async with AsyncTestClient(site(one_and_more, retry=500)) as client:
        for last_event_id in ("0", None):
            async with client.events("/events", last_event_id=last_event_id) as stream:
                event = await stream.receive()
                assert (event.data, event.retry) == ("first", 500)
    with pytest.raises(ValueError, match="milliseconds"):
        SendEventResponse(nothing, retry=-1)


def busy(status: int = 503) -> Kui:
    app = Kui()
    limit = limit_concurrency(1, retry_after=7, status=status)

    @app.router.http.get("/events", middlewares=[limit])
    @app.router.http.post("/post", middlewares=[limit])
    async def events() -> SendEventResponse:
        return SendEventResponse(one_and_more())

    return app


@pytest.mark.parametrize("accept", ["text/event-stream", "text/html, Text/Event-Stream;q=0.5"])
async def test_load_is_no_503_for_a_client_of_event_streams(accept: str) -> None:
    async with AsyncTestClient(busy()) as client, client.events("/events") as first:
        await first.receive()
        refused = await client.get("/events", headers={"accept": accept})
        assert refused.status_code == 200
        assert refused.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert refused.headers["cache-control"] == "no-store"
        name, _, value = refused.text.partition(": ")
        assert name == "retry"
        assert 1000 <= int(value) <= 10_000
        assert value.endswith("\n\n")


@pytest.mark.parametrize("accept", ["*/*", "text/html", "text/event-stream;q=0, */*"])
async def test_others_get_their_503(accept: str) -> None:
    async with AsyncTestClient(busy()) as client, client.events("/events") as first:
        await first.receive()
        refused = await client.get("/events", headers={"accept": accept})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")


async def test_a_post_is_refused_plainly_whatever_it_accepts() -> None:
    async with AsyncTestClient(busy()) as client, client.events("/events") as first:
        await first.receive()
        assert (await client.post("/post", headers=EVENTS)).status_code == 503


async def test_a_refusal_that_the_app_has_chosen_stays_one() -> None:
    async with AsyncTestClient(busy(429)) as client, client.events("/events") as first:
        await first.receive()
        refused = await client.get("/events", headers=EVENTS)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    with pytest.raises(ValueError, match="400 to 599"):
        limit_concurrency(1, status=200)


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_what_a_handler_raises_is_its_own_business(status: int) -> None:
    app = Kui()

    @app.router.http.get("/events")
    async def events() -> None:
        raise HTTPException(status)

    async with AsyncTestClient(app) as client:
        assert (await client.get("/events", headers=EVENTS)).status_code == status


async def test_a_crashed_app_sends_its_streams_away_for_a_while() -> None:
    app = site(one_and_more)

    async def crash() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError):
        async with AsyncTestClient(app) as client:
            app.task_group.start_soon(crash)
            await app.wait_for_exit()
            assert (await client.get("/events")).status_code == 503
            sent_away = await client.get("/events", headers=EVENTS)
            assert (sent_away.status_code, sent_away.text[:7]) == (200, "retry: ")


@pytest.mark.parametrize(
    ("method", "accept", "expected"),
    [
        ("GET", [b"text/event-stream"], True),
        ("GET", [b"text/html", b"text/event-stream"], True),
        ("GET", [b"TEXT/EVENT-STREAM; charset=utf-8"], True),
        ("GET", [b"text/event-stream;q=0"], False),
        ("GET", [b"text/*"], False),
        ("GET", [b"text/event-streams"], False),
        ("GET", [], False),
        ("POST", [b"text/event-stream"], False),
        ("HEAD", [b"text/event-stream"], False),
    ],
)
def test_who_awaits_events(method: str, accept: list[bytes], expected: bool) -> None:
    assert awaits_events(method, [(b"accept", value) for value in accept]) is expected
