"""What a request and its response are in process: streamed both ways, bounded, and over when the app returns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx2
import pytest
from anyio.lowlevel import checkpoint
from baize.typing import ASGIApp, Message, Receive, Scope, Send

from kui.testing import (
    ASGITransport,
    AsyncTestClient,
    DeadlineExceeded,
    Disconnected,
    RequestBody,
)

pytestmark = pytest.mark.anyio

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body"}


def chunk(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


def client_of(app: ASGIApp, **settings: object) -> AsyncTestClient:
    transport = ASGITransport(app, **settings)  # type: ignore[arg-type]  # settings of one transport
    return AsyncTestClient(app, transport=transport, lifespan=False)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        await send(chunk(message["body"]))
        if not message["more_body"]:
            await send(END)
            return


# ---- the scope


async def test_the_scope_is_that_of_the_request() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send(START)
        await send(END)

    async with client_of(app, root_path="/root", client=("192.0.2.1", 4)) as client:
        await client.put("https://example.org/root/a%20b%2Fc?x=%C3%A4&y", headers={"X-Y": "z"})
    (scope,) = seen
    assert scope["type"] == "http"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}
    assert scope["http_version"] == "1.1"
    assert scope["method"] == "PUT"
    assert scope["scheme"] == "https"
    assert scope["path"] == "/root/a b/c"
    assert scope["raw_path"] == b"/root/a%20b%2Fc"
    assert scope["query_string"] == b"x=%C3%A4&y"
    assert scope["root_path"] == "/root"
    assert (b"x-y", b"z") in scope["headers"]
    assert (b"host", b"example.org") in scope["headers"]
    assert scope["client"] == ("192.0.2.1", 4)
    assert scope["server"] == ("example.org", 443)


async def test_a_request_without_a_body_is_one_empty_message() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await receive())
        await send(START)
        await send(END)
        seen.append(await receive())

    async with client_of(app) as client:
        await client.get("/")
    assert seen == [
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]


async def test_a_large_body_comes_in_pieces() -> None:
    sizes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        await send(START)
        await send(END)

    async with client_of(app) as client:
        await client.post("/", content=b"x" * 200_000)
    assert sum(sizes) == 200_000
    assert max(sizes) == 65536


# ---- the response


async def test_what_is_sent_arrives_before_the_response_ends() -> None:
    go_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(chunk(b"first"))
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"last"})

    async with client_of(app) as client, client.stream("GET", "/") as response:
        chunks = response.aiter_bytes()
        assert await anext(chunks) == b"first"
        go_on.set()
        assert await anext(chunks) == b"last"


async def test_a_head_response_has_no_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", b"300000")]})
        await send({"type": "http.response.body", "body": b"x" * 300_000})

    async with client_of(app, buffer_size=0) as client:
        response = await client.head("/")
    assert response.content == b""
    assert response.headers["content-length"] == "300000"


async def test_send_waits_while_the_client_does_not_read() -> None:
    sent: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for number in range(10):
            await send(chunk(b"x" * 1000))
            sent.append(number)
        await send(END)

    async with client_of(app, buffer_size=3000) as client:
        async with client.stream("GET", "/") as response:
            await anyio.wait_all_tasks_blocked()
            assert len(sent) == 3
            assert len(await client.read(response, 1500)) == 1500
            await anyio.wait_all_tasks_blocked()
            assert len(sent) == 4
            assert len(await response.aread()) == 8500


async def test_without_a_buffer_each_send_waits_for_its_reader() -> None:
    sent: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for body in (b"a", b"b"):
            await send(chunk(body))
            sent.append(body)
        await send(END)

    async with client_of(app, buffer_size=0) as client:
        async with client.stream("GET", "/") as response:
            await anyio.wait_all_tasks_blocked()
            assert sent == []
            assert await client.read(response, 1) == b"a"
            await anyio.wait_all_tasks_blocked()
            assert sent == [b"a"]


async def test_a_read_that_is_cancelled_loses_nothing() -> None:
    go_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(chunk(b"abc"))
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"def"})

    async with client_of(app) as client, client.stream("GET", "/") as response:
        with pytest.raises(DeadlineExceeded, match="nothing more came"):
            await client.read(response, 6, timeout=0)
        go_on.set()
        assert await client.read(response, 6) == b"abcdef"
        assert await client.read(response, 6) == b""


async def test_trailers_and_hints_are_seen() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</style.css>"]})
        await send({**START, "trailers": True})
        await send({"type": "http.response.body", "body": b"body"})
        await send({"type": "http.response.trailers", "headers": [(b"sum", b"1")]})

    async with client_of(app) as client:
        response = await client.get("/")
    assert response.content == b"body"
    assert response.extensions["early_hints"] == [b"</style.css>"]
    assert response.extensions["trailers"] == [(b"sum", b"1")]


async def test_files_are_sent_by_path_and_by_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", b"256000")]})
        if scope["path"] == "/path":
            await send({"type": "http.response.pathsend", "path": str(path)})
            return
        with path.open("rb") as file:
            part = {"type": "http.response.zerocopysend", "file": file}
            await send({**part, "count": 1000, "more_body": True})
            await send({**part, "offset": 1000})

    async with client_of(app) as client:
        assert (await client.get("/path")).content == path.read_bytes()
        assert (await client.get("/descriptor")).content == path.read_bytes()


async def test_a_file_that_is_too_short_cuts_the_response(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"short")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", b"10")]})
        with path.open("rb") as file:
            await send({"type": "http.response.zerocopysend", "file": file, "count": 10})

    async with client_of(app, raise_app_exceptions=False) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get("/")


# ---- exceptions of the app


async def test_an_exception_of_the_app_is_raised_in_the_test_as_itself() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("a")

    async with client_of(app) as client:
        with pytest.raises(KeyError, match="a"):
            await client.get("/")


async def test_or_it_is_a_500() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("a")

    async with client_of(app, raise_app_exceptions=False) as client:
        response = await client.get("/")
    assert response.status_code == 500
    assert response.content == b""


async def test_an_answer_that_was_sent_before_the_exception_is_the_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "status": 503})
        await send({"type": "http.response.body", "body": b"sorry"})
        raise KeyError("a")

    async with client_of(app, raise_app_exceptions=False) as client:
        response = await client.get("/")
        assert (response.status_code, response.text) == (503, "sorry")
    async with client_of(app) as client:
        with pytest.raises(KeyError):
            await client.get("/")


async def test_a_response_that_fails_half_way_is_cut() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(chunk(b"half"))
        raise KeyError("a")

    async with client_of(app, raise_app_exceptions=False) as client:
        async with client.stream("GET", "/") as response:
            assert await client.read(response, 4) == b"half"
            with pytest.raises(httpx2.RemoteProtocolError, match="in the middle"):
                await response.aread()
    async with client_of(app) as client:
        async with client.stream("GET", "/") as response:
            assert await client.read(response, 4) == b"half"
            with pytest.raises(KeyError):
                await response.aread()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_app_that_cancels_itself_has_closed_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await checkpoint()

    async with client_of(app) as client:
        with pytest.raises(httpx2.RemoteProtocolError, match="closed without a response"):
            await client.get("/")


async def test_what_the_app_raises_after_its_response_is_raised_in_the_test() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(END)
        await checkpoint()
        raise KeyError("background")

    async with client_of(app) as client:
        with pytest.raises(KeyError, match="background"):
            await client.get("/")


async def test_a_request_waits_for_the_app_to_return() -> None:
    done = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(END)
        await anyio.wait_all_tasks_blocked()
        done.append("background")

    async with client_of(app) as client:
        await client.get("/")
        assert done == ["background"]


async def test_unless_it_is_told_not_to() -> None:
    go_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(END)
        await go_on.wait()
        raise KeyError("background")

    with pytest.raises(KeyError, match="background"):
        async with client_of(app, wait_for_app=False) as client:
            await client.get("/")
            go_on.set()
            await client.wait_idle()


# ---- the client leaves


async def watch(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def test_closing_a_streamed_response_is_leaving_and_waits_for_the_app() -> None:
    ended = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(chunk(b"a"))
        await send(chunk(b"b"))
        await watch(receive)
        await checkpoint()
        ended.append(True)

    async with client_of(app) as client:
        async with client.stream("GET", "/") as response:
            async for body in response.aiter_bytes():
                assert body == b"a"
                break
        assert ended


async def test_a_request_that_is_cancelled_leaves() -> None:
    started, ended = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await watch(receive)
        ended.set()

    async with client_of(app) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "/")
            await started.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            await ended.wait()


async def test_an_iterator_is_closed_with_its_response() -> None:
    async with client_of(echo) as client:
        async with client.stream("POST", "/", content=b"a") as response:
            chunks = response.aiter_text()
            assert await anext(chunks) == "a"
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


async def test_the_client_leaves_at_any_moment() -> None:
    started = anyio.Event()
    caught: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await watch(receive)

    async def get() -> None:
        with pytest.raises(Disconnected) as raised:
            await client.get("/")
        caught.append(raised.value)

    async with client_of(app) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(get)
        await started.wait()
        client.disconnect()
        await client.wait_idle()
    assert len(caught) == 1


async def test_one_request_leaves_and_the_other_goes_on() -> None:
    async with client_of(echo) as client:
        one, two = RequestBody(), RequestBody()
        async with (
            client.stream("POST", "/one", content=one) as first,
            client.stream("POST", "/two", content=two) as second,
        ):
            client.disconnect(first)
            with pytest.raises(Disconnected):
                await client.read(first, 1)
            with pytest.raises(Disconnected):
                await one.send(b"one")
            await two.send(b"two")
            assert await client.read(second, 3) == b"two"


@pytest.mark.parametrize("raises", [False, True])
async def test_send_after_the_client_has_left_does_nothing_or_raises(raises: bool) -> None:
    outcome = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await watch(receive)
        try:
            await send(chunk(b"a"))
        except OSError:
            outcome.append("raised")
        else:
            outcome.append("nothing")

    async with client_of(app, raise_after_leaving=raises) as client:
        async with client.stream("GET", "/"):
            await checkpoint()
    assert outcome == ["raised" if raises else "nothing"]


async def test_an_app_that_lets_the_exception_of_send_out_has_not_failed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["asgi"]["spec_version"] == "2.5"
        await send(START)
        while True:
            await send(chunk(b"a"))
            await checkpoint()

    async with client_of(app, raise_after_leaving=True, buffer_size=0) as client:
        async with client.stream("GET", "/") as response:
            assert await client.read(response, 1) == b"a"


async def test_an_app_that_does_not_notice_fails_the_test() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await anyio.sleep_forever()

    async with client_of(app) as client:
        client.timeout = httpx2.Timeout(0.01)
        with pytest.raises(DeadlineExceeded, match=r"the client has left, the app is in .*app \("):
            async with client.stream("GET", "/"):
                pass


async def test_a_response_that_does_not_come_in_time_says_where_the_app_is() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await watch(receive)

    async with client_of(app) as client:
        with pytest.raises(httpx2.ReadTimeout, match=r"no response within 0.01 s.*watch \("):
            await client.get("/", timeout=0.01)


# ---- the request body


async def test_a_body_goes_out_piece_by_piece_while_the_response_is_read() -> None:
    body = RequestBody()
    async with client_of(echo) as client:
        async with client.stream("POST", "/", content=body) as response:
            for piece in (b"one", b"two", b"three"):
                await body.send(piece)
                assert await client.read(response, len(piece)) == piece
            await body.end()
            assert await response.aread() == b""


async def test_a_body_waits_while_the_app_does_not_read() -> None:
    go_on = anyio.Event()
    body = RequestBody()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await go_on.wait()
        await receive()
        await watch(receive)

    async with client_of(app, buffer_size=0) as client:
        async with client.stream("POST", "/", content=body):
            with pytest.raises(DeadlineExceeded, match="took no more"):
                await body.send(b"one", timeout=0.01)
            go_on.set()
            await body.send(b"two")


async def test_a_body_that_waits_is_closed_when_the_client_leaves() -> None:
    closed = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    async with client_of(echo) as client:
        async with client.stream("POST", "/", content=pieces()) as response:
            assert await client.read(response, 1) == b"a"
        await anyio.wait_all_tasks_blocked()
        assert closed


async def test_a_piece_that_is_sent_before_the_request_waits_for_it() -> None:
    body, read, sent = RequestBody(), anyio.Event(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await read.wait()
        await watch(receive)

    async def send_it() -> None:
        await body.send(b"one")
        sent.append(True)

    async with client_of(app, buffer_size=0) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(send_it)
        async with client.stream("POST", "/", content=body):
            await anyio.wait_all_tasks_blocked()
            assert not sent
            read.set()
            await anyio.wait_all_tasks_blocked()
            assert sent


@pytest.mark.parametrize("promised", [False, True])
async def test_a_body_that_breaks_off_is_a_client_that_left(promised: bool) -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not seen or seen[-1]["type"] != "http.disconnect":
            seen.append(await receive())

    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"
        if not promised:
            raise ValueError("broken pipe")

    async with client_of(app) as client:
        if promised:
            with pytest.raises(httpx2.LocalProtocolError, match="ended after 4 of the 8 bytes"):
                await client.post("/", content=pieces(), headers={"content-length": "8"})
        else:
            with pytest.raises(ValueError, match="broken pipe"):
                await client.post("/", content=pieces())
        await client.wait_idle()
    assert seen == [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]


async def test_a_body_is_broken_off_by_the_test() -> None:
    body = RequestBody()
    gone = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await watch(receive)
        gone.set()

    async with client_of(app) as client:
        async with client.stream("POST", "/", content=body) as response:
            await body.send(b"half")
            body.abort()
            with pytest.raises(Disconnected, match="broken off"):
                await response.aread()
            await gone.wait()
            with pytest.raises(RuntimeError, match="ended"):
                await body.send(b"more")


async def test_a_body_longer_than_it_promised_is_the_tests_own_mistake() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"12345"

    async with client_of(echo) as client:
        with pytest.raises(httpx2.LocalProtocolError, match="longer than its Content-Length"):
            response = await client.post("/", content=pieces(), headers={"content-length": "4"})
            await response.aread()


@pytest.mark.parametrize("waits", [False, True])
async def test_an_unread_body_is_closed_with_the_request(waits: bool) -> None:
    closed = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                if waits:
                    await anyio.sleep_forever()
                yield b"x" * 1000
        finally:
            closed.append(True)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(END)

    async with client_of(app) as client:
        await client.post("/", content=pieces())
        await anyio.wait_all_tasks_blocked()
        assert closed


async def test_a_receive_that_is_cancelled_loses_nothing() -> None:
    got = []
    waiting = anyio.Event()
    body = RequestBody()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        with anyio.move_on_after(0.01):
            await receive()
        waiting.set()
        got.append(await receive())
        await send(END)

    async with client_of(app) as client:
        async with client.stream("POST", "/", content=body):
            await waiting.wait()
            await body.send(b"a")
    assert got == [{"type": "http.request", "body": b"a", "more_body": True}]


# ---- the transport itself


async def test_it_works_under_any_client_of_httpx2() -> None:
    async with httpx2.AsyncClient(transport=ASGITransport(echo), base_url="http://test") as client:
        response = await client.post("/", content=b"hello")
    assert response.text == "hello"


async def test_it_says_that_it_is_not_open() -> None:
    client = httpx2.AsyncClient(transport=ASGITransport(echo), base_url="http://test")
    with pytest.raises(RuntimeError, match="open it first"):
        await client.get("/")


async def test_the_tasks_of_the_app_end_with_the_block() -> None:
    ended = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(END)
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    async with client_of(app, wait_for_app=False) as client:
        await client.get("/")
    assert ended
