"""How many may come, and how much they may ask for: what a server of bare apps does about it."""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import AsyncExitStack, ExitStack
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import h2.errors
import pytest
from baize.typing import Receive, Scope, Send

from kui.serving import pipe_asyncio, pipe_trio
from kui.serving.accepting import Accepting
from kui.serving.pipes import peer_of
from kui.serving.protocol import PREFACE
from tests.support.http2_async_client import PSEUDO

from .conftest import Serve
from .test_connection import GET, hello
from .test_http2 import client_of

pytestmark = pytest.mark.anyio


async def test_a_connection_too_many_is_turned_away(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(hello, connections=2) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.connect(GET)) for _ in range(2)]
        for client in clients:
            assert await client.body() == b"hello"
        for _ in range(2):
            assert (await server.ask(GET)).startswith(b"HTTP/1.1 503 ")
        for client in clients:
            await client.stream.aclose()
        with anyio.fail_after(5):
            await server.state.until_empty()
        async with server.connect(GET) as client:
            assert await client.body() == b"hello"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


EVENTS = b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"


async def test_an_event_stream_too_many_is_asked_to_come_back(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kui.serving.connection.AWAY", 3600.0)
    async with serve(hello, connections=1) as server, server.connect(GET) as client:
        assert await client.body() == b"hello"
        async with server.connect(EVENTS[:30]) as late:
            await anyio.wait_all_tasks_blocked()
            await late.send(EVENTS[30:])
            head, _, body = (await late.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ") and b"content-type: text/event-stream" in head
        assert body.startswith(b"retry: ") and body.endswith(b"\n\n")


ACCEPT_EVENTS = [(b"accept", b"text/event-stream")]


async def test_requests_of_a_connection_too_many_are_answered_over_http2_as_well(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kui.serving.connection.AWAY", 3600.0)
    async with serve(hello, connections=1) as server, server.connect(GET) as client:
        assert await client.body() == b"hello"
        async with client_of(server.port) as late:
            for number, method in enumerate((b"GET", b"GET", b"HEAD", b"POST")):
                head = [(b":method", method), (b":path", b"/"), *PSEUDO]
                head += ACCEPT_EVENTS if number == 0 else []
                late.h2.send_headers(2 * number + 1, head, end_stream=method != b"POST")
            await late.flush()
            await late.read_to_the_end()
            events, get, nothing, post = (late.answers[number] for number in (1, 3, 5, 7))
        assert (events.status, events.headers[b"content-type"]) == (200, b"text/event-stream")
        assert (
            events.complete and events.body.startswith(b"retry: ") and events.body.endswith(b"\n\n")
        )
        assert (get.status, get.body) == (503, b"there are too many connections")
        assert (nothing.status, nothing.body) == (503, b"")
        assert post.status == 503
        assert late.goaway is not None and late.goaway.error_code == h2.errors.ErrorCodes.NO_ERROR


@pytest.mark.parametrize("sent", [b"", EVENTS[:30], b"\x16\x03\x01\r\n\r\n", PREFACE[:10], PREFACE])
async def test_a_connection_too_many_without_a_request_is_closed_without_an_answer(
    serve: Serve, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kui.serving.connection.AWAY", 0.0)
    async with serve(hello, connections=1) as server, server.connect(GET) as client:
        assert await client.body() == b"hello"
        got = await server.ask(sent)
        assert b"HTTP/1.1" not in got and (got == b"" or sent == PREFACE)


async def test_only_some_connections_too_many_are_waited_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kui.serving.connection.AWAY", 3600.0)
    monkeypatch.setattr("kui.serving.connection.AWAY_AT_ONCE", 2)
    async with serve(hello, connections=1) as server, AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(server.connect())
        assert await server.ask(b"") == b""


async def test_a_connection_too_many_calls_no_app(serve: Serve) -> None:
    called: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.append(scope["path"])
        await hello(scope, receive, send)

    upgrade = (
        b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with serve(app, connections=1) as server, server.connect(GET) as client:
        await client.body()
        for request in (
            GET + GET,
            upgrade,
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
        ):
            got = await server.ask(request)
            assert got.startswith(b"HTTP/1.1 503 ") and got.count(b"HTTP/1.1") == 1
    assert called == ["/"]


async def test_no_room_for_a_connection_is_logged_once_and_waited_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, loop: str
) -> None:
    monkeypatch.setattr("kui.serving.accepting.ACCEPT_PAUSE", 0)
    accepting = Accepting()
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED):
        await accepting.failed(OSError(number, "no room"))
    assert len(caplog.records) == 1
    one, other = socket.socketpair()
    with one, other:
        accepting.prepare(one)
    await accepting.failed(OSError(errno.EMFILE, "no room"))
    assert len(caplog.records) == 2


class GoneOnMacOS(socket.socket):
    """The socket of a client that has gone before it was accepted, as macOS shows it."""

    def refuse(self, *_: Any) -> Any:
        raise OSError(errno.EINVAL, "Invalid argument")

    setsockopt = getpeername = getsockname = refuse


def test_a_client_that_has_gone_before_it_is_accepted_is_no_failure() -> None:
    with GoneOnMacOS() as sock:
        Accepting().prepare(sock)
        assert peer_of(sock) == (None, None)


async def test_a_crowd_of_clients_lets_others_work(loop: str) -> None:
    """Otherwise connections that have ended meanwhile would keep their descriptors."""
    pipes: Any = pipe_trio if loop == "trio" else pipe_asyncio
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setblocking(False)
        accepted: list[socket.socket] = []
        for _ in range(300):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        async with anyio.create_task_group() as group:
            group.start_soon(pipes.accept, listener, Accepting(), accepted.append)
            seen = [0]
            with anyio.fail_after(20):
                while len(accepted) < 300:
                    await anyio.lowlevel.checkpoint()
                    seen.append(len(accepted))
            group.cancel_scope.cancel()
        for sock in accepted:
            sock.close()
    assert max(later - before for before, later in pairwise(seen)) <= 128


async def test_a_body_that_is_not_read_holds_its_client_back(serve: Serve) -> None:
    begun = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await anyio.sleep_forever()

    async with serve(app) as server:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
        async with server.connect(head) as client:
            await begun.wait()
            with pytest.raises(TimeoutError), anyio.fail_after(0.3):
                for _ in range(1000):
                    await client.stream.send(b"x" * 100_000)
            server.connections.cancel()


async def test_a_stream_that_never_waits_lets_others_work(serve: Serve) -> None:
    """One checkpoint for every 16 operations that did not wait."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        except OSError:
            pass

    async with serve(app) as server, server.connect(GET) as client:
        for _ in range(20):
            await client.until(b"1\r\nx\r\n")
            await anyio.lowlevel.checkpoint()


async def test_a_thousand_silent_connections_end_by_themselves(serve: Serve) -> None:
    async with serve(hello, keep_alive=0.1) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.connect()) for _ in range(300)]
        for client in clients:
            assert await client.rest() == b""
        assert server.state.connections == set()
