"""Event streams: the parser is the standard's, and the stream has deadlines, an end and a place to resume."""

from __future__ import annotations

from itertools import pairwise

import anyio
import httpx2
import pytest
from anyio.lowlevel import checkpoint
from baize.typing import ASGIApp, Message, Receive, Scope, Send
from hypothesis import given
from hypothesis import strategies as st

from kui.testing import AsyncTestClient, DeadlineExceeded, Event, NotAnEventStream
from kui.testing.events import EventParser

START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8")],
}


def parsed(*chunks: bytes, comments: bool = False) -> list[Event]:
    parser = EventParser(comments=comments)
    return [event for chunk in chunks for event in parser.feed(chunk)]


# ---- the parser (no loop)


@pytest.mark.parametrize("newline", [b"\n", b"\r", b"\r\n"])
def test_an_event_has_its_fields(newline: bytes) -> None:
    lines = [b"id: 7", b"event: tick", b"retry: 1500", b"data: one", b"data:two", b"", b"data: x"]
    events = parsed(newline.join([*lines, b"", b""]) + b": end\n")
    assert events == [
        Event("one\ntwo", "tick", "7", 1500),
        Event("x", "message", "7", None),
    ]


def test_only_one_space_after_the_colon_is_dropped() -> None:
    assert parsed(b"data:  a\ndata: \ndata\n\n") == [Event(" a\n\n")]


def test_an_event_without_data_is_none() -> None:
    parser = EventParser()
    assert list(parser.feed(b"event: a\nid: 3\nretry: 10\n\n")) == []
    assert (parser.last_event_id, parser.retry) == ("3", 10)
    assert list(parser.feed(b"data: x\n\n")) == [Event("x", "message", "3")]


def test_an_event_that_is_not_ended_is_none() -> None:
    assert parsed(b"data: a\n") == []
    assert parsed(b"data: a\r\n\r") == []


def test_what_is_no_field_is_ignored() -> None:
    assert parsed(b"id: 1\0\nretry: 1s\nretry: -1\nfoo: bar\ndata: a\n\n") == [Event("a")]


def test_an_id_can_be_taken_back() -> None:
    assert parsed(b"id: 1\ndata: a\n\nid\ndata: b\n\n") == [Event("a", id="1"), Event("b", id="")]


def test_a_byte_order_mark_is_dropped_and_characters_may_be_split() -> None:
    assert parsed(b"\xef\xbb", b"\xbfdata: \xc3", b"\xa4\n\n") == [Event("ä")]


def test_comments_are_events_if_they_are_asked_for() -> None:
    assert parsed(b": ping\n\ndata: a\n\n") == [Event("a")]
    assert parsed(b": ping\n\ndata: a\n\n", comments=True) == [
        Event(event="", comment="ping"),
        Event("a"),
    ]


def test_data_is_read_as_json() -> None:
    assert parsed(b'data: {"a": 1}\n\n')[0].json() == {"a": 1}


@given(st.lists(st.integers(0, 60)), st.sampled_from([b"\n", b"\r", b"\r\n"]))
def test_it_does_not_matter_where_the_chunks_end(cuts: list[int], newline: bytes) -> None:
    whole = newline.join(
        "id: 1|data: ä|data: b||: c|event: x|data: d||data: e||".encode().split(b"|")
    )
    whole += b"data: end"
    places = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    chunks = [whole[start:end] for start, end in pairwise(places)]
    assert parsed(*chunks, comments=True) == parsed(whole, comments=True)


# ---- the stream


def streams(*chunks: bytes, end: bool = True) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if end:
            await send({"type": "http.response.body"})
        while (await receive())["type"] != "http.disconnect":
            pass

    return app


@pytest.mark.anyio
async def test_events_come_one_by_one_until_the_stream_ends() -> None:
    async with AsyncTestClient(streams(b"data: 1\n\nda", b"ta: 2\n\n"), lifespan=False) as client:
        async with client.events("/") as events:
            assert [event.data async for event in events] == ["1", "2"]
            with pytest.raises(anyio.EndOfStream):
                await events.receive()


@pytest.mark.anyio
async def test_an_event_arrives_before_the_next_is_sent() -> None:
    go_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    async with AsyncTestClient(app, lifespan=False) as client, client.events("/") as events:
        assert (await events.receive()).data == "1"
        with pytest.raises(DeadlineExceeded, match="nothing more came"):
            await events.receive(timeout=0.01)
        go_on.set()
        assert (await events.receive()).data == "2"


@pytest.mark.anyio
async def test_the_deadline_is_that_of_an_event_not_of_a_chunk() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
            with anyio.move_on_after(0.005):
                await receive()
                if (await receive())["type"] == "http.disconnect":
                    return

    async with AsyncTestClient(app, lifespan=False) as client, client.events("/") as events:
        with pytest.raises(DeadlineExceeded):
            await events.receive(timeout=0.05)


@pytest.mark.anyio
async def test_leaving_the_block_is_leaving_the_stream() -> None:
    left = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await streams(b"data: 1\n\n", end=False)(scope, receive, send)
        await checkpoint()
        left.append(True)

    async with AsyncTestClient(app, lifespan=False) as client:
        async with client.events("/") as events:
            async for event in events:
                assert event.data == "1"
                break
        assert left


@pytest.mark.anyio
async def test_a_stream_is_resumed_after_the_last_event() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        assert headers[b"accept"] == b"text/event-stream"
        number = int(headers.get(b"last-event-id", b"0")) + 1
        await streams(b"id: %d\nretry: 9\ndata: x\n\n" % number)(scope, receive, send)

    async with AsyncTestClient(app, lifespan=False) as client:
        last = None
        for number in ("1", "2"):
            async with client.events("/", last_event_id=last) as events:
                assert (await events.receive()).id == number
                last = events.last_event_id
                assert events.retry == 9


@pytest.mark.anyio
async def test_comments_can_be_asked_for() -> None:
    async with AsyncTestClient(streams(b": ping\n\n"), lifespan=False) as client:
        async with client.events("/", comments=True) as events:
            assert (await events.receive()).comment == "ping"


@pytest.mark.anyio
async def test_another_answer_is_given_with_the_exception() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": b"nothing here"})

    async with AsyncTestClient(app, lifespan=False) as client:
        with pytest.raises(NotAnEventStream, match="got 404 and text/plain") as raised:
            async with client.events("/"):
                pytest.fail("the block is not entered")
    assert raised.value.response.text == "nothing here"


@pytest.mark.anyio
async def test_a_stream_that_breaks_off_does_not_end() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        raise KeyError("a")

    async with AsyncTestClient(app, lifespan=False) as client:
        with pytest.raises(KeyError):
            async with client.events("/") as events:
                await events.receive()
    async with AsyncTestClient(app, lifespan=False, raise_app_exceptions=False) as client:
        async with client.events("/") as events:
            with pytest.raises(httpx2.RemoteProtocolError):
                await events.receive()


@pytest.mark.anyio
async def test_a_request_may_have_a_method_and_a_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        await send(START)
        await send({"type": "http.response.body", "body": b"data: " + body + b"\n\n"})

    async with AsyncTestClient(app, lifespan=False) as client:
        async with client.events("/", method="POST", json=[1], params={"a": "b"}) as events:
            assert (await events.receive()).json() == [1]
