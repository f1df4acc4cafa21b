"""`cancel_on_disconnect` in handlers of WebSockets: a block, or a whole handler, that ends with its client."""

from __future__ import annotations

import anyio
import pytest

from kui.current import websocket
from kui.middlewares.disconnect import cancel_on_disconnect
from kui.websockets import WebSocketDisconnect
from tests.support.websocket_server import Kind, Server, session

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("before", ["accept", "receive", "send"])
async def test_a_block_is_cancelled_when_the_client_leaves(kind: Kind, before: str) -> None:
    server = Server(kind)
    seen: list[object] = []

    async def handler() -> None:
        await websocket.accept()
        if before == "receive":
            await websocket.receive_text()
        elif before == "send":
            await websocket.send_text("ready")
        try:
            async with cancel_on_disconnect():
                try:
                    await anyio.sleep_forever()
                finally:
                    seen.append(anyio.current_time())
        except WebSocketDisconnect as gone:
            seen.append(gone.code)
            raise

    async with session(server, handler) as running:
        await server.put("a")
        await anyio.sleep(5)
        await server.reset()
        gone = anyio.current_time()
    assert seen == [pytest.approx(gone, abs=0.05), 1006]
    assert running.error is None


async def test_what_comes_in_during_a_block_is_received_after_it(kind: Kind) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def handler() -> None:
        await websocket.accept()
        async with cancel_on_disconnect():
            await anyio.sleep(5)
            seen.append(await websocket.receive_text())
        seen.extend([text async for text in websocket.iter_text()])

    async with session(server, handler) as running:
        await server.put("a", "b")
        await anyio.sleep(10)
        await server.put("c")
        await server.reset()
    assert seen == ["a", "b", "c"]
    assert running.error is None


async def test_a_block_may_stand_beside_a_task_that_receives(kind: Kind) -> None:
    server = Server(kind)
    seen: list[object] = []

    async def work() -> None:
        try:
            async with cancel_on_disconnect():
                await anyio.sleep_forever()
        except WebSocketDisconnect as gone:
            seen.append(gone.code)

    async def handler() -> None:
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            seen.extend([text async for text in websocket.iter_text()])

    async with session(server, handler) as running:
        await server.put("a")
        await anyio.sleep(1)
        await server.put("b")
        await server.reset()
    assert seen in (["a", "b", 1006], [1006, "a", "b"])
    assert running.error is None


async def test_a_whole_handler_is_cancelled_before_it_has_accepted(kind: Kind) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def handler() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("cancelled")

    async with session(server, cancel_on_disconnect(handler), at_once=True) as running:
        await anyio.sleep(1)
        await server.reset()
    assert seen == ["cancelled"]
    assert running.error is None


async def test_a_whole_handler_may_accept_and_talk(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await anyio.sleep(1)
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())

    async with session(server, cancel_on_disconnect(handler)) as running:
        await server.put("a")
    assert server.texts == ["a"]
    assert server.closed == (1000, "")
    assert running.error is None


async def test_a_block_whose_client_stays_ends_as_if_it_were_not_there(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        async with cancel_on_disconnect():
            await anyio.sleep(1)
        with pytest.raises(LookupError):
            async with cancel_on_disconnect():
                raise LookupError
        await websocket.send_text("done")

    async with session(server, handler) as running:
        pass
    assert server.texts == ["done"]
    assert running.returned
    assert running.error is None


async def test_a_block_is_cancelled_although_the_task_that_received_has_stopped(kind: Kind) -> None:
    server = Server(kind)
    seen: list[int] = []

    async def receive() -> None:
        await websocket.receive_text()

    async def handler() -> None:
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await anyio.sleep(1)
            try:
                async with cancel_on_disconnect():
                    await anyio.sleep_forever()
            except WebSocketDisconnect as gone:
                seen.append(gone.code)

    async with session(server, handler) as running:
        await anyio.sleep(2)
        await server.put("a")
        await anyio.sleep(2)
        await server.reset()
    assert seen == [1006]
    assert running.returned
