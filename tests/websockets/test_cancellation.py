"""Every state of a WebSocket, cut at every checkpoint: no message is lost, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias

import anyio
import pytest

from kui.concurrency.websocket.states import SocketState
from kui.current import websocket, websocket_var
from kui.testing import every_checkpoint, virtual_clock
from tests.support.websocket_server import Kind, Server, Session, session

pytestmark = pytest.mark.anyio

How: TypeAlias = Literal["scope", "native"]


# trio knows no cancellation but that of scopes
WAYS: list[tuple[str, How]] = [("asyncio", "scope"), ("asyncio", "native"), ("trio", "scope")]
cancelled_in_every_way = pytest.mark.parametrize(
    ("anyio_backend", "how"),
    [pytest.param(virtual_clock(backend), how, id=f"{backend}-{how}") for backend, how in WAYS],
)


async def echo() -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def push() -> None:
    await websocket.accept()
    for _ in range(4):
        await websocket.send_text("tick")
        await anyio.sleep(0.2)


async def both() -> None:
    await websocket.accept()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(push_some)
        async for _ in websocket.iter_text():
            pass
        tasks.cancel_scope.cancel()


async def push_some() -> None:
    for _ in range(4):
        await websocket.send_text("tick")
        await anyio.sleep(0.1)


async def refuse() -> object:
    return "no", 403


async def fail() -> None:
    await websocket.accept()
    raise LookupError


async def close() -> None:
    await websocket.accept()
    await websocket.close(4000)


@cancelled_in_every_way
@pytest.mark.parametrize("handler", [echo, push, both, refuse, fail, close])
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_session_may_be_cut_anywhere(
    kind: Kind, how: How, handler: Callable[[], Awaitable[Any]], end: str
) -> None:
    async def client(server: Server) -> None:
        await server.put("a", "b")
        await anyio.sleep(0.3)
        await server.put("c")
        await anyio.sleep(0.3)
        await (server.close(4000) if end == "close" else server.reset())

    async def scenario(state: SimpleNamespace) -> None:
        state.server = Server(kind)
        state.session = Session(state.server)
        state.left = 0

        async def leaving() -> Any:
            websocket.exit_stack.callback(lambda: setattr(state, "left", state.left + 1))
            state.entered = True
            return await handler()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client, state.server)
            try:
                await state.session.serve(leaving)
            except LookupError:
                assert handler is fail
            tasks.cancel_scope.cancel()

    def check(state: SimpleNamespace) -> None:
        assert websocket_var.get(None) is None
        assert state.server.receiving == 0
        websocket = state.session.websocket
        assert websocket.socket.state.children is None
        if hasattr(state, "entered"):
            assert state.left == 1
        if state.server.accepted:
            assert websocket.connection_state in (SocketState.CLOSING, SocketState.CLOSED)
        state.server.dispose()

    assert await every_checkpoint(scenario, check, how=how) > 0


@cancelled_in_every_way
@pytest.mark.parametrize("watched", [False, True])
async def test_a_receive_that_is_cut_has_taken_no_message(
    kind: Kind, how: How, watched: bool
) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def receive_some(state: SimpleNamespace) -> None:
        for _ in range(3):
            seen.append(await websocket.receive_text())  # noqa: PERF401 - each before the next is awaited

    def check(state: SimpleNamespace) -> None:
        assert seen == [str(number) for number in range(len(seen))]

    async def handler() -> None:
        await websocket.accept()
        if watched:
            websocket.socket.watch(int)
            await anyio.sleep(1)
        for _ in range(5):
            await every_checkpoint(receive_some, check, how=how)

    async with session(server, handler) as running:
        with anyio.move_on_after(1000):
            for number in range(1000):
                if running.ended.is_set():
                    break
                await server.put(str(number))
                await anyio.sleep(0.01 * (number % 3))
    assert running.error is None
    assert len(seen) > 20


async def test_no_message_is_lost_between_the_handler_and_the_task_that_reads_for_it(
    kind: Kind,
) -> None:
    server = Server(kind)
    seen: list[str] = []
    total = 300

    async def handler() -> None:
        await websocket.accept()
        number = 0
        while len(seen) < total:
            number += 1
            with anyio.move_on_after(0.07 * (number % 5)):
                seen.append(await websocket.receive_text())
                if number % 7 == 0:
                    await websocket.send_text("ack")
                    await anyio.sleep(0.4)

    async with session(server, handler) as running:
        for number in range(total):
            await server.put(str(number))
            await anyio.sleep(0.05 * (number % 4))
    assert running.error is None
    assert seen == [str(number) for number in range(total)]


async def test_a_close_that_is_cut_has_closed(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await websocket.close(4000)

    async with session(server, handler) as running:
        pass
    assert server.closed == (4000, "")
    assert running.error is None
