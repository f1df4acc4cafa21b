"""One WebSocket over a real socket, with bare apps: who reads, pings, and how it ends."""

from __future__ import annotations

import struct

import anyio
import pytest
from baize.typing import Receive, Scope, Send

from tests.support.wire import frame

from .conftest import Serve

pytestmark = pytest.mark.anyio

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def accept(receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})


async def test_a_task_reads_beside_an_app_that_does_not_and_gives_way_to_it(serve: Serve) -> None:
    go_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await go_on.wait()
        for _ in range(3):
            await send({"type": "websocket.send", "text": (await receive())["text"]})

    async with serve(app) as server, server.connect(HANDSHAKE) as client:
        await client.send(frame(1, b"one") + frame(9, b"ping"))
        assert await client.until(b"\x8a\x04ping"), "a pong, though the app does not read"
        go_on.set()
        assert await client.until(b"\x81\x03one")
        for text in (b"two", b"six"):
            await client.send(frame(1, text))
            assert await client.until(b"\x81\x03" + text)


async def test_a_ping_that_comes_with_the_handshake_is_answered_too(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep_forever()

    async with serve(app) as server, server.connect(HANDSHAKE + frame(9, b"ping")) as client:
        assert await client.until(b"\x8a\x04ping")
        server.connections.cancel()


async def test_several_receivers_get_each_message_once_and_all_the_end(serve: Serve) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)

        async def receiver() -> None:
            while True:
                message = await receive()
                seen.append(message.get("text") or str(message["code"]))
                if message["type"] == "websocket.disconnect":
                    return

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(receiver)

    async with serve(app) as server, server.connect(HANDSHAKE) as client:
        await client.send(frame(1, b"a") + frame(1, b"b") + frame(8, struct.pack("!H", 4000)))
        assert (await client.rest()).endswith(b"\x88\x02\x0f\xa0")
    assert sorted(seen) == ["4000", "4000", "4000", "a", "b"]


async def test_a_cancelled_receive_loses_no_message(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        texts = ""
        while len(texts) < 200:
            with anyio.move_on_after(0) as own:
                texts += (await receive())["text"]
            if own.cancelled_caught:
                await anyio.lowlevel.checkpoint()
        await send({"type": "websocket.send", "text": texts[-3:]})

    async with serve(app) as server, server.connect(HANDSHAKE) as client:
        for number in range(200):
            await client.send(frame(1, b"%d" % (number % 10)))
        assert await client.until(b"\x81\x03789")


async def test_pings_are_sent_at_the_interval(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()

    async with serve(app, ping=0.1) as server, server.connect(HANDSHAKE) as client:
        assert await client.until(b"\x89\x00")
        assert await client.until(b"\x89\x00")


async def test_a_stopping_server_closes_with_1001_what_its_app_leaves_open(serve: Serve) -> None:
    told = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        assert (await receive())["code"] == 1001
        with pytest.raises(OSError):
            await send({"type": "websocket.send", "text": "too late"})
        told.set()

    async with serve(app) as server, server.connect(HANDSHAKE) as client:
        await client.until(b"\r\n\r\n")
        server.state.stop()
        assert (await client.rest()).startswith(b"\x88\x02\x03\xe9")
        await told.wait()


async def test_a_cancelled_app_is_closed_with_1001(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep_forever()

    async with serve(app) as server, server.connect(HANDSHAKE) as client:
        await client.until(b"\r\n\r\n")
        server.connections.cancel()
        assert (await client.rest()).startswith(b"\x88\x02\x03\xe9")
