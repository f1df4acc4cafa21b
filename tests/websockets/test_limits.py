"""What a client sends and the handler does not receive: held back, kept up to a bound, or the end of the connection."""

from __future__ import annotations

import anyio
import pytest

from kui.concurrency.websocket.message_queue import BYTES, MESSAGES
from kui.concurrency.websocket.receiving import UNREAD_FOR
from kui.current import websocket
from kui.websockets import WebSocketDisconnect
from tests.support.websocket_server import QUEUE, Kind, Server, session

pytestmark = pytest.mark.anyio


async def push() -> None:
    while True:
        await websocket.send_text("tick")
        await anyio.sleep(0.1)


async def test_a_handler_that_does_nothing_holds_the_client_back() -> None:
    server = Server("hypercorn")
    sent = 0

    async def handler() -> None:
        await websocket.accept()
        await anyio.sleep(1000)
        for number in range(50):
            assert await websocket.receive_text() == str(number)

    async with session(server, handler):
        with anyio.move_on_after(500):
            for number in range(50):
                await server.put(str(number))
                sent += 1
        assert sent == QUEUE
        for number in range(sent, 50):
            await server.put(str(number))


async def test_a_handler_that_has_sent_and_does_nothing_holds_the_client_back() -> None:
    server = Server("hypercorn")
    sent = 0
    total = MESSAGES + 100

    async def handler() -> None:
        await websocket.accept()
        for _ in range(2):  # from the second on, a task reads beside it
            await websocket.send_text("hello")
            await anyio.sleep(1)
        await anyio.sleep(1000)
        for number in range(total):
            assert await websocket.receive_text() == str(number)

    async with session(server, handler) as running:
        with anyio.move_on_after(500):
            for number in range(total):
                await server.put(str(number))
                sent += 1
        assert sent == MESSAGES + 1 + QUEUE
        for number in range(sent, total):
            await server.put(str(number))
    assert running.error is None


async def test_a_client_that_floods_a_handler_which_only_sends_is_closed_with_1008(
    kind: Kind,
) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await push()

    async with session(server, handler) as running:
        await server.put(*["x"] * MESSAGES)
        await anyio.sleep(5)
        assert server.closed is None
        await server.put("one too many")
        flooded = anyio.current_time()
        await running.ended.wait()
        assert anyio.current_time() - flooded < 1
    assert server.closed == (1008, "too many messages that are not read")
    assert running.error is None


async def test_large_messages_count_by_their_size(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await push()

    async with session(server, handler):
        await server.put("x" * (BYTES - 1))
        await anyio.sleep(5)
        await server.put(b"x" * 100 * BYTES)
        await anyio.sleep(5)
        assert server.closed is None
        await server.put("")
    assert server.closed == (1008, "too many messages that are not read")


async def test_what_was_kept_is_received_before_the_1008(kind: Kind) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def handler() -> None:
        await websocket.accept()
        with pytest.raises(WebSocketDisconnect):
            await push()
        with pytest.raises(WebSocketDisconnect) as caught:
            while True:
                seen.append(await websocket.receive_text())
        assert caught.value.code == 1008

    async with session(server, handler) as running:
        await server.put(*map(str, range(MESSAGES + 5)))
    assert running.returned
    assert running.error is None
    assert seen == [str(number) for number in range(MESSAGES)]


async def test_a_handler_that_receives_slowly_and_sends_holds_the_client_back(kind: Kind) -> None:
    """Its clients may send as fast as they like, as long as it receives now and then."""
    server = Server(kind)
    seen = 0

    async def handler() -> None:
        nonlocal seen
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(push)
            async for _ in websocket.iter_text():
                seen += 1
                await anyio.sleep(UNREAD_FOR / 2)
                if seen == 20:
                    tasks.cancel_scope.cancel()

    async with session(server, handler) as running:
        with anyio.move_on_after(1000):
            await server.put(*["x"] * (MESSAGES + 100))
        with anyio.fail_after(1000):
            await running.ended.wait()
    assert seen == 20
    assert server.closed == (1000, "")


async def test_a_handler_that_stops_receiving_and_only_sends_loses_its_patience(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await websocket.receive_text()
        await push()

    async with session(server, handler) as running:
        await server.put("subscribe")
        with anyio.move_on_after(60):
            await server.put(*["x"] * (MESSAGES + 100))
        with anyio.fail_after(60):
            await running.ended.wait()
    assert server.closed == (1008, "too many messages that are not read")


async def test_a_flood_beside_a_send_that_waits_does_not_keep_it_waiting_for_ever() -> None:
    """The client reads nothing, sends more than is kept, and goes; the server hangs on its own queue."""
    server = Server("hypercorn")

    async def handler() -> None:
        await websocket.accept()
        await websocket.send_text("hello")

        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async with session(server, handler) as running:
        server.stall()
        with anyio.move_on_after(60):
            await server.put(*["x"] * (MESSAGES + 100))
        server.vanish()
        with anyio.fail_after(60):
            await running.ended.wait()
    assert running.error is None


async def test_a_stalled_reader_holds_the_handler_back_and_nothing_is_lost(kind: Kind) -> None:
    server = Server(kind)
    sent = 0

    async def handler() -> None:
        nonlocal sent
        await websocket.accept()
        while sent < 20:
            await websocket.send_text(str(sent))
            sent += 1
            if sent == 5:
                server.stall()

    async with session(server, handler) as running:
        await anyio.sleep(20)
        assert sent == 5
        server.resume()
    assert running.error is None
    assert server.texts == [str(number) for number in range(20)]
