"""A heartbeat of the application's own: a client that no longer answers is dropped."""

from __future__ import annotations

import anyio
import pytest

from kui.concurrency.websocket.message_queue import MESSAGES
from kui.current import websocket
from kui.websockets import Heartbeat, WebSocketDisconnect
from tests.support.websocket_server import Kind, Server, session

pytestmark = pytest.mark.anyio


async def test_a_client_that_does_not_answer_is_dropped(kind: Kind) -> None:
    server = Server(kind)
    server.answers_close = False

    async def handler() -> None:
        await websocket.accept(heartbeat=20)
        with pytest.raises(WebSocketDisconnect) as caught:
            await websocket.receive_text()
        assert caught.value.code == 1011
        raise caught.value

    begin = anyio.current_time()
    async with session(server, handler) as running:
        await running.ended.wait()
    assert 40 <= anyio.current_time() - begin <= 42
    assert server.texts == ["ping"]
    assert server.closed == (1011, "no answer to a heartbeat")
    assert running.error is None


async def test_a_client_that_answers_lives_and_the_handler_sees_no_answer(kind: Kind) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def handler() -> None:
        await websocket.accept(heartbeat=20)
        seen.extend([text async for text in websocket.iter_text()])

    async with session(server, handler) as running:
        for number in range(1, 101):
            await server.until(lambda number=number: len(server.texts) == number)
            await anyio.sleep(15)
            await server.put("pong")
        await server.put("bye")
        await server.reset()
    assert seen == ["bye"]
    assert running.error is None
    assert anyio.current_time() > 3000


async def test_a_client_that_says_anything_is_not_asked(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept(heartbeat=20)
        async for _ in websocket.iter_text():
            pass

    async with session(server, handler):
        for _ in range(100):
            await server.put("hello")
            await anyio.sleep(15)
        await server.reset()
    assert server.texts == []


async def test_a_handler_that_only_sends_has_a_heartbeat_too(kind: Kind) -> None:
    server = Server(kind)
    server.answers_close = False

    async def handler() -> None:
        await websocket.accept(heartbeat=20)
        while True:
            await websocket.send_text("tick")
            await anyio.sleep(5)

    begin = anyio.current_time()
    async with session(server, handler) as running:
        await running.ended.wait()
    assert 40 <= anyio.current_time() - begin <= 50
    assert server.closed == (1011, "no answer to a heartbeat")
    assert running.error is None


async def test_a_client_that_neither_reads_nor_answers_is_dropped_out_of_a_send(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept(heartbeat=10)
        while True:
            await websocket.send_text("tick")
            await anyio.sleep(5)

    async with session(server, handler) as running:
        server.stall()
        with anyio.fail_after(60):
            await running.ended.wait()
    assert running.websocket.close_code == 1011
    assert running.error is None


async def test_a_slow_handler_is_not_blamed_on_its_client(kind: Kind) -> None:
    server = Server(kind)
    seen = 0

    async def handler() -> None:
        nonlocal seen
        await websocket.accept(heartbeat=1)
        await anyio.sleep(1000)
        async for _ in websocket.iter_text():
            seen += 1

    async with session(server, handler) as running:
        await server.put(*["x"] * (MESSAGES + 1))
        await anyio.sleep(1000)
        await server.reset()
    assert seen == MESSAGES + 1
    assert running.error is None


async def test_the_texts_of_a_heartbeat_may_be_ones_own(kind: Kind) -> None:
    server = Server(kind)
    seen: list[object] = []

    async def handler() -> None:
        await websocket.accept(heartbeat=Heartbeat(20, '{"ask": 1}', '{"answer": 1}'))
        seen.extend([value async for value in websocket.iter_json()])

    async with session(server, handler):
        await server.until(lambda: server.texts)
        await server.put('{"answer": 1}', '"pong"')
        await server.reset()
    assert server.texts == ['{"ask": 1}']
    assert seen == ["pong"]


@pytest.mark.parametrize("interval", [0, -1, float("inf"), float("nan")])
async def test_a_heartbeat_is_a_positive_number_of_seconds(kind: Kind, interval: float) -> None:
    server = Server(kind)

    async def handler() -> None:
        with pytest.raises(ValueError, match="positive number"):
            await websocket.accept(heartbeat=interval)

    async with session(server, handler) as running:
        pass
    assert running.returned
    assert running.error is None
