"""Event streams: how an event is written, and pings, which no event ever notices."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kui.asgi import Kui, SendEventResponse, request
from kui.http.text import whole_text
from kui.responses.events import encode_event
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio


def parse(stream: str) -> list[dict[str, str]]:
    """Events as the WHATWG standard interprets them: a parser that shares nothing with ours."""
    events: list[dict[str, str]] = []
    data: list[str] = []
    event: dict[str, str] = {}
    for line in re.split("\r\n|\r|\n", stream):
        if not line:
            if data:
                events.append({**event, "data": "\n".join(data)})
            data, event = [], {}
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name in ("event", "id", "retry"):
            event[name] = value
    return events


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("plain", "data: plain\n\n"),
        ("", "data: \n\n"),
        ({"data": "a\nb\r\nc\rd"}, "data: a\ndata: b\ndata: c\ndata: d\n\n"),
        ({"data": "a\n"}, "data: a\ndata: \n\n"),
        ({"data": "a\u2028b\x0bc\x85d"}, "data: a\u2028b\x0bc\x85d\n\n"),
        ({"data": " two"}, "data:  two\n\n"),
        ({"id": 7, "event": "news", "retry": 10, "data": "x"}, None),
        ({"id": ""}, "id: \n\n"),
        ({"comment": "a\nb"}, ": a\n: b\n\n"),
        ({"data": b"bytes"}, "data: bytes\n\n"),
        ({"data": "lone \ud800"}, "data: lone \ufffd\n\n"),
        ({"data": {"a": [1]}}, 'data: {"a":[1]}\n\n'),
    ],
)
def test_events_are_written_by_the_standard(event: Any, text: str | None) -> None:
    before = dict(event) if isinstance(event, dict) else event
    written = encode_event(event).decode()
    assert event == before
    if text is None:
        text = "id: 7\nevent: news\nretry: 10\ndata: x\n\n"
    assert written == text


@pytest.mark.parametrize(
    "event",
    [
        {"id": "a\nb"},
        {"id": "a\rb"},
        {"id": "a\0b"},
        {"event": "a\nb"},
        {"event": "a\r\ndata: injected"},
        {"retry": -1},
        {"retry": "1"},
        {"retry": True},
        {"dta": "typo"},
        {},
    ],
)
def test_an_event_that_would_inject_is_refused(event: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode_event(event)


@pytest.mark.parametrize("event", [7, None, ["data"], object()])
def test_what_is_no_event_is_refused(event: Any) -> None:
    with pytest.raises(TypeError, match="an event is"):
        encode_event(event)


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="\r\n\0")))
@example("", "a\ud800")
def test_any_text_arrives_as_it_was(data: str, name: str) -> None:
    stream = encode_event({"event": name, "id": name, "data": data}).decode("utf-8", "replace")
    normal = whole_text(re.sub("\r\n|\r", "\n", data))
    name = whole_text(name)
    assert parse(stream) == [{"event": name, "id": name, "data": normal}]


@pytest.mark.parametrize(
    "options", [{"charset": "latin-1"}, {"ping_interval": 0}, {"ping_interval": -1}]
)
def test_what_the_standard_has_not_is_refused(options: Any) -> None:
    with pytest.raises(ValueError, match=r"UTF-8|positive"):
        SendEventResponse(iter(()), **options)


async def test_the_headers_keep_caches_and_proxies_away() -> None:
    def events() -> Iterator[str]:
        yield "x"

    app = Kui()
    app.router.http("/")(lambda: SendEventResponse(events(), headers={"x-a": "b"}))
    async with AsyncTestClient(app) as client:
        response = await client.get("/")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-a"] == "b"
    assert "connection" not in response.headers


async def test_a_client_resumes_where_it_was() -> None:
    async def events() -> AsyncGenerator[dict[str, Any], None]:
        for number in range(int(request.headers.get("last-event-id", -1)) + 1, 10):
            yield {"id": number, "data": str(number)}

    app = Kui()

    @app.router.http("/")
    async def endpoint() -> AsyncGenerator[dict[str, Any], None]:
        return events()

    async with AsyncTestClient(app) as client:
        async with client.events("/") as stream:
            seen = [(await stream.receive()).data for _ in range(4)]
            last = stream.last_event_id
        async with client.events("/", last_event_id=last) as stream:
            seen += [event.data async for event in stream]
    assert seen == [str(number) for number in range(10)]


async def test_a_slow_client_holds_the_events_back() -> None:
    made: list[int] = []

    async def events() -> AsyncGenerator[str, None]:
        for number in range(1000):
            made.append(number)
            yield "x" * 10_000

    app = Kui()
    app.router.http("/")(lambda: SendEventResponse(events()))
    async with AsyncTestClient(app) as client, client.events("/") as stream:
        await stream.receive()
        await anyio.wait_all_tasks_blocked()
        assert len(made) < 50
