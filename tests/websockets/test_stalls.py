"""A client that stops reading: a send that waits for it has a limit, on both loops, under a server of either kind."""

from __future__ import annotations

import anyio
import pytest
from baize.typing import Message

from kui.concurrency.http.send_limit import LIMIT_AT_EXIT, PIECE, SERVER_GIVES_UP, STALL
from kui.concurrency.websocket.held_sends import STALLED
from kui.current import websocket, websocket_var
from kui.websockets import WebSocket, WebSocketDisconnect
from tests.support.websocket_server import Kind, Server, session

pytestmark = pytest.mark.anyio


async def push(text: str = "tick") -> None:
    await websocket.accept()
    while True:
        await websocket.send_text(text)
        await anyio.sleep(0.1)


async def test_a_send_without_progress_is_given_up_after_30_s(kind: Kind) -> None:
    server = Server(kind)
    seen: list[object] = []

    async def handler() -> None:
        try:
            await push()
        except WebSocketDisconnect as gone:
            seen.append((gone.code, gone.reason))
            raise

    async with session(server, handler) as running:
        server.stall()
        begin = anyio.current_time()
        await running.ended.wait()
        assert STALL <= anyio.current_time() - begin < STALL + 1
    assert seen == [(1006, STALLED)]
    assert running.websocket.close_code == 1006
    assert running.error is None
    assert server.closed is None


async def test_a_client_that_reads_in_time_loses_nothing(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        for number in range(10):
            await websocket.send_text(str(number))
            await anyio.sleep(0.1)

    async with session(server, handler) as running:
        for _ in range(3):
            server.stall()
            await anyio.sleep(STALL - 1)
            taken = len(server.texts)
            server.resume()
            await server.until(lambda taken=taken: len(server.texts) > taken)
        await running.ended.wait()
    assert running.error is None
    assert server.texts == [str(number) for number in range(10)]
    assert server.closed == (1000, "")


@pytest.mark.parametrize("size", [PIECE, 10 * PIECE])
async def test_a_long_message_has_more_time(kind: Kind, size: int) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await anyio.sleep(1)
        await websocket.send_bytes(bytes(size))

    async with session(server, handler) as running:
        server.stall()
        begin = anyio.current_time() + 1
        await running.ended.wait()
        limit = STALL * (1 + size // PIECE)
        assert limit <= anyio.current_time() - begin < limit + 1
    assert running.websocket.close_code == 1006


async def test_the_message_before_counts_for_a_server_that_waits_for_it_in_the_next(
    kind: Kind,
) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await websocket.send_text("x" * 2 * PIECE)
        await anyio.sleep(1)
        await websocket.send_text("and?")

    async with session(server, handler) as running:
        await server.until(lambda: server.texts)
        server.stall()
        begin = anyio.current_time()
        await running.ended.wait()
        assert 3 * STALL <= anyio.current_time() - begin < 3 * STALL + 2
    assert running.websocket.close_code == 1006


async def test_every_task_that_sends_is_told(kind: Kind) -> None:
    server = Server(kind)
    seen: list[int] = []

    async def send() -> None:
        with pytest.raises(WebSocketDisconnect) as caught:
            await websocket.send_text("tick")
        seen.append(caught.value.code)

    async def handler() -> None:
        await websocket.accept()
        await anyio.sleep(1)
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(send)

    async with session(server, handler) as running:
        server.stall()
        await running.ended.wait()
    assert seen == [1006] * 5
    assert running.error is None


async def test_a_server_with_a_limit_of_its_own_has_the_only_one(kind: Kind) -> None:
    server = Server(kind, extensions={SERVER_GIVES_UP: {}})

    async def handler() -> None:
        await websocket.accept()
        for number in range(3):
            await websocket.send_text(str(number))
            await anyio.sleep(0.1)

    async with session(server, handler) as running:
        server.stall()
        await anyio.sleep(100 * STALL)
        server.resume()
        await running.ended.wait()
    assert running.error is None
    assert server.texts == ["0", "1", "2"]


@pytest.mark.parametrize("extensions", [{}, {SERVER_GIVES_UP: {}}])
async def test_an_app_that_is_to_stop_waits_for_a_send_for_a_second(
    kind: Kind, extensions: dict[str, object]
) -> None:
    server = Server(kind, extensions=extensions)
    seen: list[int] = []

    async def handler() -> None:
        try:
            await push()
        except WebSocketDisconnect as gone:
            seen.append(gone.code)
            raise

    async with session(server, handler) as running:
        server.stall()
        await anyio.sleep(5)
        running.exit_signal.set()
        begin = anyio.current_time()
        await running.ended.wait()
        assert anyio.current_time() - begin < LIMIT_AT_EXIT + 1
    assert seen == [1001]
    assert running.error is None


async def test_a_close_frame_has_the_limit_of_a_message(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await anyio.sleep(1)

    async with session(server, handler) as running:
        server.stall()
        await running.ended.wait()
    assert running.error is None
    assert running.websocket.close_code == 1000


async def test_a_response_that_refuses_has_the_limit_of_a_message(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> object:
        return "no", 403

    server.stall()
    async with session(server, handler, at_once=True) as running:
        await running.ended.wait()
    assert running.error is None


async def test_what_outlives_its_connection_is_cleaned_up_after_a_stall(kind: Kind) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def note(what: str) -> None:
        await anyio.sleep(0.1)
        seen.append(what)

    async def handler() -> None:
        websocket.exit_stack.push_async_callback(note, "left")
        websocket.background_tasks.append(note, "after")
        await push()

    async with session(server, handler) as running:
        server.stall()
        await running.ended.wait()
    assert seen == ["left", "after"]
    assert running.error is None


async def test_a_cancellation_from_outside_is_no_stall(kind: Kind) -> None:
    server = Server(kind)
    seen: list[bool] = []

    async def handler() -> None:
        await websocket.accept()
        await anyio.sleep(1)
        with anyio.move_on_after(5) as scope:
            await websocket.send_text("tick")
        seen.append(scope.cancelled_caught)
        server.resume()
        await websocket.send_text("tock")

    async with session(server, handler) as running:
        server.stall()
        await running.ended.wait()
    assert seen == [True]
    assert running.error is None
    assert server.texts == ["tock"]
    assert server.closed == (1000, "")


@pytest.mark.parametrize("seconds", [STALL, STALL + 0.001])
async def test_a_cancellation_in_the_same_moment_wins_or_loses_but_is_never_lost(
    kind: Kind, seconds: float
) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def handler() -> None:
        await websocket.accept()
        await anyio.sleep(1)
        with anyio.CancelScope(deadline=anyio.current_time() + seconds) as scope:
            try:
                await websocket.send_text("tick")
            except WebSocketDisconnect:
                seen.append("disconnect")
            await anyio.sleep(0.1)
            await anyio.sleep(0.1)
            seen.append("not cancelled")
        assert scope.cancelled_caught

    async with session(server, handler) as running:
        server.stall()
        await running.ended.wait()
    assert "not cancelled" not in seen
    assert running.error is None


async def test_a_send_that_does_not_wait_starts_nothing(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        for _ in range(1000):
            await websocket.send_text(await websocket.receive_text())
        assert websocket.socket.state.held_back == 0

    async with session(server, handler) as running:
        begin = anyio.current_time()
        for number in range(1000):
            await server.put(str(number))
        await running.ended.wait()
        assert anyio.current_time() - begin < 2
    assert len(server.texts) == 1000
    assert running.error is None


class Scoped(Server):
    """A server whose send waits twice, in a cancel scope of its own that is entered before and left after."""

    shield = False

    async def send(self, message: Message) -> None:
        with anyio.CancelScope(shield=self.shield):
            await anyio.sleep(0.1)
            await super().send(message)
            await anyio.sleep(0.1)


@pytest.mark.parametrize("shield", [False, True])
async def test_the_scopes_of_a_server_are_left_in_their_order(kind: Kind, shield: bool) -> None:
    server = Scoped(kind)
    server.shield = shield

    async def handler() -> None:
        await websocket.accept()
        for number in range(5):
            await websocket.send_text(str(number))
        await websocket.close(4000)

    async with session(server, handler) as running:
        await running.ended.wait()
    assert running.error is None
    assert server.texts == [str(number) for number in range(5)]
    assert server.closed == (4000, "")


@pytest.mark.parametrize("shield", [False, True])
async def test_a_shield_of_the_server_does_not_hold_a_stalled_send(
    kind: Kind, shield: bool
) -> None:
    server = Scoped(kind)
    server.shield = shield
    seen: list[int] = []

    async def handler() -> None:
        try:
            await push()
        except WebSocketDisconnect as gone:
            seen.append(gone.code)
            await anyio.sleep(1)
            seen.append(0)  # it was not cancelled

    async with session(server, handler) as running:
        server.stall()
        await running.ended.wait()
    assert seen == [1006, 0]
    assert running.error is None


class Stubborn(Server):
    """A server whose send goes on after it was cancelled."""

    async def send(self, message: Message) -> None:
        try:
            await super().send(message)
        except anyio.get_cancelled_exc_class():
            await anyio.sleep(1000)


async def test_a_server_that_swallows_the_cancellation_is_cancelled_again(kind: Kind) -> None:
    server = Stubborn(kind)
    seen: list[int] = []

    async def handler() -> None:
        try:
            await push()
        except WebSocketDisconnect as gone:
            seen.append(gone.code)

    async with session(server, handler) as running:
        server.stall()
        begin = anyio.current_time()
        await running.ended.wait()
        assert anyio.current_time() - begin < STALL + 1
    assert seen == [1006]
    assert running.error is None


async def test_a_send_from_outside_of_the_handler_is_given_up_as_well(kind: Kind) -> None:
    server = Server(kind)
    seen: list[int] = []
    opened: list[WebSocket] = []

    async def handler() -> None:
        await websocket.accept()
        opened.append(websocket_var.get())
        await anyio.sleep(STALL + 10)

    async with session(server, handler) as running:
        await server.until(lambda: opened)
        server.stall()
        with pytest.raises(WebSocketDisconnect) as caught:
            await opened[0].send_text("from a service")
        seen.append(caught.value.code)
        assert not running.ended.is_set()
    assert seen == [1006]
    assert running.error is None
