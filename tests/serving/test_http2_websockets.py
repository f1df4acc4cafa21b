"""WebSockets on streams of HTTP/2 (RFC 8441), with frames by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import h2.errors
import pytest
from baize.typing import Receive, Scope, Send

from tests.support.http2_async_client import PSEUDO, AsyncHttp2Client
from tests.support.wire import CLOSE, PING, PONG, TEXT, frame

from .conftest import Serve
from .test_http2 import client_of, within

pytestmark = pytest.mark.anyio


class Socket:
    """A WebSocket as its client sees it."""

    def __init__(self, client: AsyncHttp2Client, number: int) -> None:
        self.client = client
        self.number = number
        self.status = 0

    async def send(self, data: bytes) -> None:
        await self.client.send(self.number, data)

    async def until(self, data: bytes) -> None:
        """Read until just these bytes have come, and take them away."""
        answer = self.client.answers[self.number]
        await self.client.until(lambda: len(answer.body) >= len(data) or answer.over)
        assert answer.body[: len(data)] == data
        answer.body = answer.body[len(data) :]


def bare(opcode: int, payload: bytes) -> bytes:
    """A server's frame."""
    return frame(opcode, payload, mask=False)


@asynccontextmanager
async def opened(
    client: AsyncHttp2Client, path: str = "/", version: bytes = b"13"
) -> AsyncIterator[Socket]:
    await client.until(lambda: client.h2.remote_settings.enable_connect_protocol)
    headers = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":path", path.encode())]
    headers += [*PSEUDO, (b"sec-websocket-version", version), (b"sec-websocket-protocol", b"a, b")]
    number = await client.ask_with(headers, end=False)
    await client.until(lambda: client.answers[number].status)
    socket = Socket(client, number)
    socket.status = client.answers[number].status
    yield socket


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "websocket" and scope["http_version"] == "2"
    await receive()
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][-1]})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def test_messages_are_echoed_and_the_socket_is_closed(serve: Serve) -> None:
    async with serve(echo) as server, client_of(server.port) as client, opened(client) as socket:
        assert socket.status == 200
        headers = client.answers[socket.number].headers
        assert headers[b"sec-websocket-protocol"] == b"b"
        assert b"upgrade" not in headers
        await socket.send(frame(TEXT, b"one") + frame(PING, b"two"))
        await client.until(lambda: len(client.answers[socket.number].body) >= 10)
        got = client.answers[socket.number].body
        assert bare(TEXT, b"one") in got and bare(PONG, b"two") in got
        client.answers[socket.number].body = b""
        await socket.send(frame(CLOSE, b"\x03\xe8"))
        await socket.until(bare(CLOSE, b"\x03\xe8"))
        assert (await client.answer(socket.number)).complete


async def test_a_large_message_comes_through_small_windows(serve: Serve) -> None:
    text = b"x" * 200_000
    async with serve(echo) as server, client_of(server.port, window=1000) as client:
        async with opened(client) as socket:
            await socket.send(frame(TEXT, text))
            await socket.until(bare(TEXT, text))


@pytest.mark.parametrize("how", ["close", "response"])
async def test_a_socket_may_be_refused(serve: Serve, how: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if how == "close":
            await send({"type": "websocket.close"})
            return
        start = {"type": "websocket.http.response.start", "status": 418, "headers": []}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": b"tea"})

    async with serve(app) as server, client_of(server.port) as client, opened(client) as socket:
        got = await client.answer(socket.number)
        assert (got.status, got.body) == ((403, b"") if how == "close" else (418, b"tea"))


async def test_another_version_is_refused(serve: Serve) -> None:
    async with serve(echo) as server, client_of(server.port) as client:
        async with opened(client, version=b"8") as socket:
            assert socket.status == 400


@pytest.mark.parametrize("leave", ["reset", "end", "connection"])
async def test_a_client_that_leaves_is_a_1006(serve: Serve, leave: str) -> None:
    seen: list[object] = []
    over = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        seen.append((await receive())["code"])
        try:
            await send({"type": "websocket.send", "text": "to nobody"})
        except OSError:
            seen.append("OSError")
        over.set()

    async with serve(app) as server:
        async with client_of(server.port) as client, opened(client) as socket:
            if leave == "reset":
                client.h2.reset_stream(socket.number, h2.errors.ErrorCodes.CANCEL)
                await client.flush()
            elif leave == "end":
                await client.send(socket.number, b"", end=True)
            else:
                await client.half_close()
            await within(over)
    assert seen == [1006, "OSError"]


async def test_a_socket_is_told_that_the_server_stops(serve: Serve) -> None:
    async with serve(echo) as server, client_of(server.port) as client, opened(client) as socket:
        server.state.stop()
        await socket.until(bare(CLOSE, b"\x03\xe9"))
        await socket.send(frame(CLOSE, b"\x03\xe9"))
        await client.read_to_the_end()
        assert client.answers[socket.number].complete
