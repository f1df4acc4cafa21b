"""What is called out of order is an error that says what to do; what another task has ended is an end."""

from __future__ import annotations

import anyio
import pytest

from kui.concurrency.websocket.states import SocketState
from kui.current import websocket
from kui.websockets import WebSocketDisconnect
from tests.support.websocket_server import Kind, Server, session

pytestmark = pytest.mark.anyio


async def test_nothing_is_received_or_sent_before_accept(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        assert websocket.connection_state is SocketState.CONNECTING
        with pytest.raises(RuntimeError, match=r"await websocket\.accept\(\)"):
            await websocket.send_text("early")
        with pytest.raises(RuntimeError, match=r"await websocket\.accept\(\)"):
            await websocket.receive_text()
        with pytest.raises(RuntimeError, match=r"await websocket\.accept\(\)"):
            async for _ in websocket.iter_json():
                pass
        assert await websocket.receive() == {"type": "websocket.connect"}
        with pytest.raises(RuntimeError, match=r"await websocket\.accept\(\)"):
            await websocket.receive()
        await websocket.accept()
        assert websocket.connection_state is SocketState.OPEN

    async with session(server, handler) as running:
        pass
    assert running.returned
    assert running.error is None
    assert [each["type"] for each in server.sent] == ["websocket.accept", "websocket.close"]


async def test_a_connection_is_accepted_once(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        with pytest.raises(RuntimeError, match="open"):
            await websocket.accept()

    async with session(server, handler) as running:
        pass
    assert running.returned
    assert running.error is None


async def test_nothing_is_received_or_sent_after_close(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await websocket.close()
        with pytest.raises(RuntimeError, match="after close"):
            await websocket.receive_text()
        with pytest.raises(RuntimeError, match="after close"):
            await websocket.send_text("late")
        with pytest.raises(RuntimeError, match="after close"):
            await websocket.accept()

    async with session(server, handler) as running:
        await server.put("unread")
    assert running.returned
    assert running.error is None
    assert server.texts == []


async def test_what_one_task_has_closed_has_ended_for_another_that_comes_later(kind: Kind) -> None:
    server = Server(kind)
    seen: list[object] = []

    async def close() -> None:
        await websocket.close(4000, "enough")

    async def handler() -> None:
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close)
        with pytest.raises(WebSocketDisconnect) as caught:
            await websocket.send_text("late")
        seen.append(str(caught.value))

    async with session(server, handler) as running:
        pass
    assert running.returned
    assert running.error is None
    assert seen == ["4000 enough"]


async def test_two_tasks_that_receive_at_once_are_an_error(kind: Kind) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def receive() -> None:
        seen.append(await websocket.receive_text())

    async def handler() -> None:
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await anyio.sleep(1)
            with pytest.raises(RuntimeError, match="another task is receiving"):
                await websocket.receive_text()
            # The same, where a task of ours reads for it.
            await websocket.send_text("ready")
            await anyio.sleep(1)
        await websocket.send_text("pushed")
        await anyio.sleep(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await anyio.sleep(1)
            with pytest.raises(RuntimeError, match="another task is receiving"):
                await websocket.receive_text()
            await websocket.send_text("ready")

    async with session(server, handler) as running:
        await server.until(lambda: server.texts == ["ready"])
        await server.put("a")
        await server.until(lambda: server.texts == ["ready", "pushed", "ready"])
        await server.put("b")
    assert running.returned
    assert running.error is None
    assert seen == ["a", "b"]


async def test_one_task_receives_while_others_send(kind: Kind) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def push(name: str) -> None:
        for number in range(20):
            await websocket.send_text(f"{name}{number}")
            await anyio.sleep(0.1)

    async def handler() -> None:
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(push, "a")
            tasks.start_soon(push, "b")
            async for text in websocket.iter_text():
                seen.append(text)
                if len(seen) == 40:
                    break

    async with session(server, handler) as running:
        for number in range(40):
            await server.put(str(number))
            await anyio.sleep(0.1)
    assert running.returned
    assert running.error is None
    assert seen == [str(number) for number in range(40)]
    for name in "ab":
        assert [text for text in server.texts if text[0] == name] == [
            f"{name}{n}" for n in range(20)
        ]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536, "1000"])
async def test_codes_that_may_not_be_sent_are_refused(kind: Kind, code: int) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        with pytest.raises(ValueError, match="close code"):
            await websocket.close(code)

    async with session(server, handler) as running:
        pass
    assert running.returned
    assert running.error is None
    assert server.closed == (1000, "")


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
async def test_codes_that_may_be_sent_are_sent(kind: Kind, code: int) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await websocket.close(code, "why")

    async with session(server, handler) as running:
        pass
    assert running.returned
    assert server.closed == (code, "why")


async def test_a_reason_has_at_most_123_bytes(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        with pytest.raises(ValueError, match="123 bytes"):
            await websocket.close(4000, "ü" * 62)
        await websocket.close(4000, "ü" * 61 + "x")

    async with session(server, handler) as running:
        pass
    assert running.returned
    assert running.error is None
    assert server.closed == (4000, "ü" * 61 + "x")
