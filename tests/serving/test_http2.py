"""HTTP/2 requests, with h2's client, on each loop: `receive` and `send` as over HTTP/1.1, and streams that stand alone."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import h2.errors
import pytest
from baize.typing import Receive, Scope, Send
from hyperframe.frame import GoAwayFrame, PriorityFrame

import kui.serving.http2
from kui.serving.responses import Misuse
from tests.support.http2_async_client import AsyncHttp2Client
from tests.support.process import PATIENCE

from .conftest import Serve, marks_its_scope

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def client_of(
    port: int, window: int = 1 << 20, **more: Any
) -> AsyncIterator[AsyncHttp2Client]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        client = AsyncHttp2Client(stream, window, **more)
        await client.flush()
        yield client


class App:
    """An app that does what `act` does, and notes what happens."""

    def __init__(self, act: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.act = act
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        await self.act(scope, receive, send)


async def read_body(receive: Receive) -> bytes | None:
    """The body of a request; None if its client leaves before."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message["more_body"]:
            return body


async def answer(send: Send, body: bytes, status: int = 200, **more: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [], **more})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await read_body(receive)
    if body is not None:
        await answer(send, body or scope["path"].encode())


async def within(event: anyio.Event) -> None:
    with anyio.fail_after(PATIENCE):
        await event.wait()


# Requests and responses.


async def test_the_app_sees_the_request_as_it_came(serve: Serve) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await answer(send, b"")

    async with serve(app) as server, client_of(server.port) as client:
        cookies = [(b"cookie", b"a=1"), (b"x-b", b"2"), (b"cookie", b"c=3")]
        number = await client.ask("/a%20b?q=1", more=cookies)
        got = await client.answer(number)
    (scope,) = seen
    assert (got.status, got.headers[b"content-length"]) == (200, b"0")
    assert b"date" in got.headers
    assert (scope["type"], scope["http_version"], scope["method"]) == ("http", "2", "GET")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"q=1")
    assert scope["headers"] == [(b"host", b"example.org"), (b"x-b", b"2"), (b"cookie", b"a=1; c=3")]
    assert scope["client"][0] == "127.0.0.1"


async def test_what_an_app_puts_into_its_scope_is_for_that_request_alone(serve: Serve) -> None:
    async with serve(marks_its_scope) as server, client_of(server.port) as client:
        for _ in range(2):
            assert (await client.answer(await client.ask("/"))).body == b"0"


async def test_a_body_is_echoed_whatever_the_windows(serve: Serve) -> None:
    body = bytes(range(256)) * 1500
    async with serve(echo) as server, client_of(server.port, window=1000) as client:
        number = await client.ask("/", "POST", end=False)
        await client.send(number, body, end=True)
        assert (await client.answer(number)).body == body


async def test_a_connection_serves_more_requests_than_a_thousand(serve: Serve) -> None:
    async with serve(echo) as server, client_of(server.port) as client:
        for number in range(0, 1200, 60):
            asked = [await client.ask(f"/{number + index}") for index in range(60)]
            for index, stream in enumerate(asked):
                assert (await client.answer(stream)).body == b"/%d" % (number + index)


async def test_a_response_to_head_and_one_without_a_body_have_none(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"body", 204 if scope["path"] == "/204" else 200)

    async with serve(app) as server, client_of(server.port) as client:
        for path, method in (("/", "HEAD"), ("/204", "GET")):
            got = await client.get(path, method)
            assert got.complete and got.body == b""


async def test_what_the_server_answers_to_head_has_no_body_either(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        return

    async with serve(app) as server:
        async with client_of(server.port) as client:
            got = await client.get("/", "HEAD")
            assert (got.status, got.complete, got.body) == (500, True, b"")
            assert (await client.get("/")).body == b"Internal Server Error"
        head, _, body = (await server.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")).partition(
            b"\r\n\r\n"
        )
        assert head.startswith(b"HTTP/1.1 500 ") and b"content-length: 21" in head and body == b""


async def test_trailers_and_early_hints_reach_the_client(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        headers = [(b"trailer", b"x-sum"), (b"connection", b"close"), (b"Upgrade", b"x")]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        await send({**start, "trailers": True})
        await send({"type": "http.response.body", "body": b"body"})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})

    async with serve(app) as server, client_of(server.port) as client:
        got = await client.get()
    assert got.interim == [{b":status": b"103", b"link": b"</a.css>; rel=preload"}]
    assert (got.body, got.trailers, got.complete) == (b"body", {b"x-sum": b"1"}, True)
    assert {b"connection", b"upgrade"}.isdisjoint(got.headers)


async def test_a_client_that_waits_for_100_gets_it_when_the_app_reads(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (echo(scope, receive, send) if scope["path"] == "/read" else answer(send, b"", 413))

    async with serve(app) as server, client_of(server.port) as client:
        expects = [(b"expect", b"100-continue")]
        number = await client.ask("/read", "POST", end=False, more=expects)
        await client.until(lambda: client.answers[number].interim)
        await client.send(number, b"body", end=True)
        got = await client.answer(number)
        assert (got.body, got.interim) == (b"body", [{b":status": b"100"}])
        number = await client.ask("/", "POST", end=False, more=expects)
        got = await client.answer(number)
        assert (got.status, got.interim) == (413, [])


# What apps do wrong.


@pytest.mark.parametrize("wrong", ["raises", "returns", "raises a group", "exits"])
async def test_an_app_that_fails_before_it_answers_is_a_500(serve: Serve, wrong: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if wrong == "raises":
            raise LookupError(wrong)
        if wrong == "raises a group":
            raise ExceptionGroup(wrong, [LookupError(wrong)])
        if wrong == "exits":
            raise SystemExit(wrong)

    async with serve(app) as server, client_of(server.port) as client:
        for _ in range(2):
            assert (await client.get()).status == 500


async def test_an_app_that_fails_half_way_resets_its_stream_and_no_other(serve: Serve) -> None:
    go_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the beginning", "more_body": True})
        if scope["path"] == "/fails":
            raise LookupError("half-way")
        await go_on.wait()
        await send({"type": "http.response.body", "body": b", the end"})

    async with serve(app) as server, client_of(server.port) as client:
        other = await client.ask("/")
        got = await client.get("/fails")
        assert (got.body, got.complete) == (b"the beginning", False)
        assert got.reset == h2.errors.ErrorCodes.INTERNAL_ERROR
        go_on.set()
        assert (await client.answer(other)).body == b"the beginning, the end"


@pytest.mark.parametrize("size", [4, 6])
async def test_a_body_of_another_length_than_promised_is_not_passed_off(
    serve: Serve, size: int
) -> None:
    refused: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * 2, "more_body": True})
        try:
            await send({"type": "http.response.body", "body": b"x" * (size - 2)})
        except Misuse as error:
            refused.append(error)

    async with serve(app) as server, client_of(server.port) as client:
        got = await client.get()
    assert refused and not got.complete and got.reset == h2.errors.ErrorCodes.INTERNAL_ERROR


async def test_receive_and_send_end_with_their_request(serve: Serve) -> None:
    kept: list[tuple[Receive, Send]] = []
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if kept:
            old_receive, old_send = kept[0]
            seen.append((await old_receive())["type"])
            try:
                await old_send({"type": "http.response.body", "body": b"stray"})
            except OSError as error:
                seen.append(type(error).__name__)
        kept.append((receive, send))
        await echo(scope, receive, send)

    async with serve(app) as server, client_of(server.port) as client:
        assert (await client.get("/1")).body == b"/1"
        assert (await client.get("/2")).body == b"/2"
    assert seen == ["http.disconnect", "ClientGone"]


# Leaving.


async def test_a_stream_that_is_reset_is_a_disconnect_and_no_more_can_be_sent(serve: Serve) -> None:
    ready, over = anyio.Event(), anyio.Event()
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/":
            await echo(scope, receive, send)
            return
        await receive()
        ready.set()
        seen.append((await receive())["type"])
        try:
            await answer(send, b"to nobody")
        except OSError:
            seen.append("OSError")
        over.set()

    async with serve(app) as server, client_of(server.port) as client:
        number = await client.ask("/")
        await within(ready)
        client.h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
        priority = PriorityFrame(number, depends_on=0, stream_weight=15)
        await client.flush(priority)
        await within(over)
        assert (await client.get("/other")).body == b"/other"
    assert seen == ["http.disconnect", "OSError"]


async def test_half_a_client_gets_the_answers_that_are_under_way(serve: Serve) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        seen.append((await receive())["type"])
        await answer(send, b"for half a client")

    async with serve(app) as server, client_of(server.port) as client:
        number = await client.ask()
        await client.half_close()
        assert (await client.answer(number)).body == b"for half a client"
        await client.read_to_the_end()
    assert seen == ["http.disconnect"]


async def test_a_client_that_is_lost_ends_the_wait_for_its_window(serve: Serve) -> None:
    over = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await answer(send, b"x" * 1_000_000)
        except OSError:
            over.set()

    async with serve(app) as server:
        async with client_of(server.port, window=1000, reads=False) as client:
            number = await client.ask()
            await client.until(lambda: len(client.answers[number].body) == 1000)
        await within(over)


async def test_of_several_receivers_one_gets_the_body_and_all_hear_of_the_end(serve: Serve) -> None:
    heard: list[str] = []
    over = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            while (message := await receive())["type"] != "http.disconnect":
                heard.append(message["body"].decode())
            heard.append("end")

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(listen)
        over.set()

    async with serve(app) as server, client_of(server.port) as client:
        number = await client.ask("/", "POST", end=False)
        await client.send(number, b"body", end=True)
        client.h2.ping(b"12345678")
        await client.flush()
        await client.until(lambda: client.pongs)
        client.h2.reset_stream(number)
        await client.flush()
        await within(over)
    assert [text for text in heard if text] == ["body", "end", "end", "end"]


async def test_a_receive_that_is_cancelled_has_taken_nothing(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            with anyio.move_on_after(0.0005):
                message = await receive()
                body += message["body"]
                more = message["more_body"]
        await answer(send, body)

    body = bytes(range(256)) * 300
    async with serve(app) as server, client_of(server.port) as client:
        number = await client.ask("/", "POST", end=False)
        for begin in range(0, len(body), 1000):
            await client.send(number, body[begin : begin + 1000])
            await anyio.lowlevel.checkpoint()
        await client.send(number, b"", end=True)
        assert (await client.answer(number)).body == body


# Windows.


async def test_a_closed_window_holds_its_app_back_and_no_other_stream(serve: Serve) -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        if scope["path"] != "/big":
            await echo(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 8192, "more_body": True})
            sent += 8192

    async with serve(app) as server, client_of(server.port, window=1000, reads=False) as client:
        await client.ask("/big")
        for _ in range(20):
            assert (await client.get("/small")).body == b"/small"
        assert sent <= 65536 + 1000


async def test_a_window_that_stays_closed_ends_its_stream_and_no_other(serve: Serve) -> None:
    over = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/big":
            await echo(scope, receive, send)
            return
        try:
            await answer(send, b"x" * 1_000_000)
        except OSError:
            over.set()

    async with (
        serve(app, send=0.2) as server,
        client_of(server.port, window=1000, reads=False) as client,
    ):
        got = await client.get("/big")
        assert got.reset == h2.errors.ErrorCodes.CANCEL
        await within(over)
        assert (await client.get("/small")).body == b"/small"


async def test_an_unread_body_waits_with_its_client(serve: Serve) -> None:
    go_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/later":
            await go_on.wait()
        await echo(scope, receive, send)

    async with serve(app) as server, client_of(server.port) as client:
        number = await client.ask("/later", "POST", end=False)
        await client.until(lambda: client.h2.local_flow_control_window(number) > 0)
        window = client.h2.local_flow_control_window(number)
        assert window <= 65536
        await client.send(number, b"x" * window)
        assert (await client.get("/other")).body == b"/other"
        assert client.h2.local_flow_control_window(number) == 0
        go_on.set()
        await client.send(number, b"x" * 100_000, end=True)
        assert len((await client.answer(number)).body) == window + 100_000


async def test_a_body_that_does_not_go_on_is_a_408(serve: Serve) -> None:
    async with serve(echo, body=0.2) as server, client_of(server.port) as client:
        number = await client.ask("/", "POST", end=False)
        await client.send(number, b"half")
        assert (await client.answer(number)).status == 408
        assert (await client.get("/other")).body == b"/other"


async def test_a_body_has_a_deadline_only_while_the_app_waits_for_it(serve: Serve) -> None:
    looked, go_on = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/looks":
            with anyio.CancelScope() as scope_of_look:
                scope_of_look.cancel()
                await receive()
            looked.set()
            await within(go_on)
        await echo(scope, receive, send)

    async with serve(app, body=0.2) as server, client_of(server.port) as client:
        looking = await client.ask("/looks", "POST", end=False)
        await within(looked)
        waiting = await client.ask("/waits", "POST", end=False)
        assert (await client.answer(waiting)).status == 408  # its deadline is the later one
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        await client.send(looking, b"whole", end=True)
        assert (await client.answer(looking)).status == 200


async def test_a_body_behind_its_answer_is_thrown_away_and_refused_in_the_end(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kui.serving.http2, "ENOUGH", 1_000_000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"early", 413)

    async with serve(app) as server, client_of(server.port) as client:
        number = await client.ask("/", "POST", end=False)
        await client.until(lambda: client.answers[number].complete)
        for _ in range(10):
            await client.send(number, b"x" * 90_000)
        assert client.answers[number].reset is None
        with pytest.raises(h2.exceptions.StreamClosedError):
            await client.send(number, b"x" * 500_000)
        assert client.answers[number].reset == h2.errors.ErrorCodes.NO_ERROR
        assert (await client.get()).body == b"early"


async def test_a_body_that_stops_behind_its_answer_does_not_keep_its_stream(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"early", 413)

    async with serve(app, body=0.1) as server, client_of(server.port) as client:
        number = await client.ask("/", "POST", end=False)
        await client.until(lambda: client.answers[number].reset is not None)
        assert client.answers[number].reset == h2.errors.ErrorCodes.NO_ERROR


# The end.


async def test_a_client_that_ends_behind_an_answer_keeps_no_connection(serve: Serve) -> None:
    """It had not sent all of its request, and is not waited for."""
    async with serve(at_once) as server, client_of(server.port) as client:
        number = await client.ask("/", "POST", end=False)
        await client.until(lambda: client.answers[number].complete)
        await client.stream.send_eof()
        with anyio.fail_after(5):
            await server.state.until_empty()


async def at_once(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"enough")


async def test_what_is_in_flight_ends_when_the_server_stops_and_no_more_is_served(
    serve: Serve,
) -> None:
    ready, go_on = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        ready.set()
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"x" * 100_000})

    async with serve(app) as server, client_of(server.port, window=5000) as client:
        number = await client.ask()
        await client.until(ready.is_set)
        server.state.stop()
        await client.until(lambda: client.goaway)
        assert client.goaway is not None
        assert client.goaway.last_stream_id == number
        assert client.goaway.error_code == h2.errors.ErrorCodes.NO_ERROR
        refused = await client.ask()
        assert (await client.answer(refused)).reset == h2.errors.ErrorCodes.REFUSED_STREAM
        go_on.set()
        got = await client.answer(number)
        assert (got.complete, len(got.body)) == (True, 200_000)
        await client.read_to_the_end()


async def test_a_client_that_says_that_it_will_leave_gets_what_is_in_flight(serve: Serve) -> None:
    """h2 takes its GOAWAY for the end of the connection."""
    async with serve(echo) as server, client_of(server.port) as client:
        number = await client.ask("/", "POST", end=False)
        await client.flush(GoAwayFrame(0))
        await client.send(number, b"last words", end=True)
        assert (await client.answer(number)).body == b"last words"


@pytest.mark.parametrize("asks", [0, 1])
async def test_an_idle_connection_is_told_and_closed(serve: Serve, asks: int) -> None:
    async with serve(echo, keep_alive=0.2) as server, client_of(server.port) as client:
        for _ in range(asks):
            await client.get()
        await client.read_to_the_end()
        assert client.goaway is not None
        assert client.goaway.error_code == h2.errors.ErrorCodes.NO_ERROR
    assert not server.state.connections


async def test_an_idle_connection_is_closed_when_the_server_stops(serve: Serve) -> None:
    async with serve(echo, keep_alive=math.inf) as server, client_of(server.port) as client:
        await client.get()
        server.state.stop()
        await client.read_to_the_end()
        assert client.goaway is not None


async def test_a_connection_that_is_cut_ends_its_apps(serve: Serve) -> None:
    begun, over = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        begun.set()
        assert (await receive())["type"] == "http.disconnect"
        over.set()

    async with serve(app) as server, client_of(server.port) as client:
        await client.ask()
        await within(begun)
        for connection in tuple(server.state.connections):
            connection.cut()
        await within(over)


async def test_a_request_that_the_server_cancels_is_answered_with_503(serve: Serve) -> None:
    ready = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/begun":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        else:
            ready.set()
        await anyio.sleep_forever()

    async with serve(app) as server, client_of(server.port) as client:
        begun, waits = await client.ask("/begun"), await client.ask("/waits")
        await client.until(lambda: client.answers[begun].body)
        await within(ready)
        server.connections.cancel()
        assert (await client.answer(waits)).status == 503
        assert (await client.answer(begun)).reset == h2.errors.ErrorCodes.INTERNAL_ERROR
