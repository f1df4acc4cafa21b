"""One HTTP/1.1 connection over a real socket, with bare ASGI apps: what a client and the app see of each other."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from baize.typing import Receive, Scope, Send

from kui.concurrency.http.receive_buffer import ReceivesNowait
from tests.support.process import PATIENCE

from .conftest import Serve, marks_its_scope

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST / HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def respond(send: Send, body: bytes = b"", status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def read_all(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        if not message["more_body"]:
            return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, scope["method"].encode() + b" " + await read_all(receive))


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, b"hello")


async def test_requests_follow_each_other_on_a_connection(serve: Serve) -> None:
    async with serve(echo) as server, server.connect() as client:
        for body in (b"", b"a" * 300_000, b"b"):
            await client.send(post(body))
            assert await client.body() == b"POST " + body


async def test_pipelined_requests_are_answered_in_their_order(serve: Serve) -> None:
    async with serve(echo) as server:
        got = await server.ask(post(b"1") + post(b"2") + GET + post(b"4", b"Connection: close"))
        assert [part.rpartition(b"\r\n\r\n")[2] for part in got.split(b"HTTP/1.1 200 OK")] == [
            b"",
            b"POST 1",
            b"POST 2",
            b"GET ",
            b"POST 4",
        ]


async def test_bytes_behind_the_last_request_do_not_spoil_its_answer(serve: Serve) -> None:
    async with serve(echo) as server:
        got = await server.ask(post(b"ok", b"Connection: close") + b"\r\nGET / HTTP/1.1\r\n")
        assert got.startswith(b"HTTP/1.1 200 OK\r\n") and got.endswith(b"POST ok")


async def test_a_half_closed_client_gets_its_answers(serve: Serve) -> None:
    async with serve(echo) as server, server.connect(GET + post(b"x")) as client:
        await client.stream.send_eof()
        assert (await client.rest()).count(b"200 OK") == 2


async def test_the_scope_says_what_was_asked_and_by_whom(serve: Serve) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await respond(send)

    async with serve(app) as server:
        await server.ask(
            b"GET /%C3%BC?a=b HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nConnection: close\r\n\r\n"
        )
    (scope,) = scopes
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/ü", b"/%C3%BC", b"a=b")
    assert (scope["scheme"], scope["http_version"], scope["method"]) == ("http", "1.1", "GET")
    assert (b"x-a", b"1") in scope["headers"]
    assert scope["client"][0] == "127.0.0.1"
    assert scope["server"] == ("127.0.0.1", server.port)


@pytest.mark.parametrize("reads", [True, False])
async def test_100_continue_is_sent_only_to_who_waits_for_it(serve: Serve, reads: bool) -> None:
    async with serve(echo if reads else hello) as server:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        async with server.connect(head) as client:
            if reads:
                assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                await client.send(b"hi")
                assert await client.body() == b"POST hi"
            else:
                got = await client.rest()
                assert b"100 Continue" not in got and b"connection: close" in got


async def test_an_unread_body_is_thrown_away_for_the_next_request(serve: Serve) -> None:
    async with serve(hello) as server, server.connect() as client:
        for _ in range(3):
            await client.send(post(b"x" * 200_000))
            assert await client.body() == b"hello"


async def test_what_has_come_of_a_body_is_known_without_waiting(serve: Serve) -> None:
    got: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        server = receive.__self__  # type: ignore[attr-defined]  # it is a method
        assert isinstance(server, ReceivesNowait)
        if scope["path"] == "/later":
            got.append(server.receive_nowait())
            await respond(send, b"go on")
        got.append(server.receive_nowait())
        if scope["path"] != "/later":
            await hello(scope, receive, send)

    async with serve(app) as server, server.connect() as client:
        await client.send(post(b"whole"))
        assert await client.body() == b"hello"
        await client.send(GET)
        assert await client.body() == b"hello"
        await client.send(post(b"").replace(b" / ", b" /later ").replace(b": 0", b": 5"))
        assert await client.body() == b"go on"
    whole = {"type": "http.request", "body": b"whole", "more_body": False}
    assert got[:3] == [whole, {**whole, "body": b""}, None]


async def test_who_uploads_too_much_for_nothing_gets_the_answer_and_the_end(serve: Serve) -> None:
    async with serve(hello) as server:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n"
        got = await server.ask(head + b"x" * 500_000)
        assert got.endswith(b"hello") and b"connection: close" in got


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"garbage\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 200_000, b"431"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", b"505"),
    ],
)
async def test_a_malformed_request_gets_its_status_and_a_line_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture, data: bytes, status: bytes
) -> None:
    async with serve(hello) as server:
        got = await server.ask(data)
        assert got.startswith(b"HTTP/1.1 " + status + b" ") and b"connection: close" in got
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_malformed_body_is_a_disconnect_and_400(serve: Serve) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while seen[-1:] != ["http.disconnect"]:
            seen.append((await receive())["type"])

    async with serve(app) as server:
        got = await server.ask(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhixx\r\n"
        )
        assert got.startswith(b"HTTP/1.1 400 ")
    assert seen[-1] == "http.disconnect"


async def test_a_late_head_is_408_and_an_idle_connection_ends_without_a_word(serve: Serve) -> None:
    async with serve(hello, head=0.1, keep_alive=0.1) as server:
        assert (await server.ask(b"GET / HTTP")).startswith(b"HTTP/1.1 408 ")
        assert await server.ask(b"") == b""
        assert (await server.ask(GET)).endswith(b"hello")


async def test_a_late_body_is_a_disconnect_and_408(serve: Serve) -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([dict(await receive()), dict(await receive())])

    async with serve(app, body=0.1) as server:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"
        assert (await server.ask(head)).startswith(b"HTTP/1.1 408 ")
    assert [message["type"] for message in seen] == ["http.request", "http.disconnect"]


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("pipelined", [0, 1, 4000])
async def test_a_client_that_leaves_is_noticed_by_the_task_that_waits(
    serve: Serve, how: str, pipelined: int
) -> None:
    told = anyio.Event()
    waits = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if told.is_set():
            return
        await read_all(receive)
        waits.set()
        assert (await receive())["type"] == "http.disconnect"
        told.set()

    async with serve(app) as server:
        async with server.connect(GET + GET * pipelined) as client:
            await waits.wait()
            if how == "reset":
                client.reset()
        with anyio.fail_after(5):
            await told.wait()


async def test_two_receivers_share_the_body_and_both_learn_of_the_end(serve: Serve) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def receiver() -> None:
            while True:
                message = await receive()
                seen.append(message["type"])
                if message["type"] == "http.disconnect":
                    return

        async with anyio.create_task_group() as group:
            group.start_soon(receiver)
            group.start_soon(receiver)
            await respond(send, b"done")

    async with serve(app) as server:
        assert (await server.ask(LAST)).endswith(b"done")
    assert sorted(seen) == ["http.disconnect", "http.disconnect", "http.request"]


async def test_a_cancelled_receive_has_taken_nothing(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, cancelled, more = b"", 0, True
        while more:
            with anyio.move_on_after(0) as scope_:
                message = await receive()
                body += message["body"]
                more = message["more_body"]
            cancelled += scope_.cancelled_caught
            if scope_.cancelled_caught:
                await anyio.lowlevel.checkpoint()
        await respond(send, b"%d" % len(body))

    async with serve(app) as server, server.connect() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(100):
            await client.send(b"x" * 10_000)
        assert await client.body() == b"1000000"


async def test_receive_and_send_end_with_their_request(serve: Serve) -> None:
    kept: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if kept:
            old_receive, old_send = kept
            assert (await old_receive())["type"] == "http.disconnect"
            with pytest.raises(OSError):
                await old_send({"type": "http.response.body", "body": b"stray"})
            await respond(send, await read_all(receive))
        else:
            kept[:] = receive, send
            await respond(send, b"first")

    async with serve(app) as server, server.connect(GET) as client:
        assert await client.body() == b"first"
        await client.send(post(b"second"))
        assert await client.body() == b"second"


async def test_a_cancelled_send_cuts_the_connection(serve: Serve) -> None:
    sending = anyio.CancelScope()
    refused = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with sending:
            await send({"type": "http.response.body", "body": b"x" * 50_000_000, "more_body": True})
        with pytest.raises(OSError):
            await send({"type": "http.response.body", "body": b"y"})
        refused.set()

    async with serve(app) as server, server.connect(GET) as client:
        await client.until(b"xxx")
        sending.cancel()
        with anyio.fail_after(PATIENCE):
            await refused.wait()
        with pytest.raises(anyio.BrokenResourceError):
            await client.rest()


async def test_a_client_that_takes_nothing_is_cut(serve: Serve) -> None:
    failed = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 99_999, "more_body": True})
        except OSError:
            failed.set()

    async with serve(app, send=0.1) as server, server.connect(GET):
        with anyio.fail_after(5):
            await failed.wait()


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, "group", "Cancelled"])
async def test_what_an_app_raises_is_500_and_stays_in_its_connection(
    serve: Serve, caplog: pytest.LogCaptureFixture, error: Any
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            if error == "group":
                raise BaseExceptionGroup("several", [SystemExit(), ValueError()])
            if error == "Cancelled":
                with anyio.CancelScope() as own:
                    own.cancel()
                    try:
                        await anyio.sleep(1)
                    except anyio.get_cancelled_exc_class() as stray:
                        kept = stray
                raise kept
            raise error()
        await respond(send, b"fine")

    async with serve(app) as server:
        got = await server.ask(GET)
        assert got.startswith(b"HTTP/1.1 500 ") and b"connection: close" in got
        assert (await server.ask(LAST.replace(b"/", b"/b", 1))).endswith(b"fine")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.records[0].exc_info


async def test_a_response_that_breaks_off_is_cut(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if scope["path"] != "/":
            raise ValueError

    async with serve(app) as server:
        for version in (b"HTTP/1.1", b"HTTP/1.0"):
            for path in (b"/", b"/raise"):
                async with server.connect(
                    b"GET %b %b\r\nHost: x\r\n\r\n" % (path, version)
                ) as client:
                    await client.until(b"half")
                    with pytest.raises(anyio.BrokenResourceError):
                        await client.rest()


async def test_a_stopping_server_ends_idle_connections_and_closes_the_others(serve: Serve) -> None:
    begun, go_on = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await go_on.wait()
        await respond(send, b"last")

    async with serve(app, keep_alive=60) as server:
        async with server.connect() as idle, server.connect(GET + GET) as busy:
            await begun.wait()
            server.state.stop()
            assert await idle.rest() == b""
            go_on.set()
            got = await busy.rest()
            assert got.count(b"HTTP/1.1") == 1 and b"connection: close" in got


async def test_requests_that_are_cancelled_end_their_connections(serve: Serve) -> None:
    begun, ended = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with serve(app) as server, server.connect(GET) as client:
        await begun.wait()
        server.connections.cancel()
        assert b"200" not in await client.rest()
        assert ended.is_set()


async def test_each_request_has_a_context_of_its_own(serve: Serve) -> None:
    import contextvars

    variable = contextvars.ContextVar("variable", default=b"none")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        before = variable.get()
        variable.set(b"set")
        await anyio.lowlevel.checkpoint()
        await respond(send, before + b" " + variable.get())

    async with serve(app) as server, server.connect() as client:
        for _ in range(2):
            await client.send(GET)
            assert await client.body() == b"none set"


async def test_what_an_app_puts_into_its_scope_is_for_that_request_alone(serve: Serve) -> None:
    async with serve(marks_its_scope) as server, server.connect() as client:
        for _ in range(2):
            await client.send(GET)
            assert await client.body() == b"0"
