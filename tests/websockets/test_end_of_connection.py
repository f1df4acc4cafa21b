"""How a connection ends, and who learns of it: on both loops, under a server of either kind."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kui.concurrency.websocket.states import SocketState
from kui.current import websocket
from kui.websockets import InvalidMessage, WebSocketDisconnect
from tests.support.websocket_server import Kind, Server, session

pytestmark = pytest.mark.anyio


def code_of(kind: Kind, code: int) -> int:
    """The close code that an app can know."""
    return 1006 if kind == "hypercorn" else code


async def test_receive_gives_what_came_before_the_end(kind: Kind) -> None:
    server = Server(kind)
    seen: list[object] = []

    async def handler() -> None:
        await websocket.accept()
        await anyio.sleep(1)
        seen.append(await websocket.receive_text())
        seen.append(await websocket.receive_text())
        for _ in range(2):
            with pytest.raises(WebSocketDisconnect) as caught:
                await websocket.receive_text()
            seen.append(caught.value.code)

    async with session(server, handler) as running:
        await server.put("a", "b")
        await server.close(4000, "bye")
    assert seen == ["a", "b", code_of(kind, 4000), code_of(kind, 4000)]
    assert running.returned
    assert running.error is None


async def test_an_iterator_ends_with_the_connection(kind: Kind) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def handler() -> None:
        await websocket.accept()
        seen.extend([text async for text in websocket.iter_text()])
        seen.append("ended")

    async with session(server, handler):
        await server.put("a", "b")
        await server.reset()
    assert seen == ["a", "b", "ended"]


async def test_a_handler_that_only_sends_ends_within_a_second_of_the_end(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        while True:
            await websocket.send_text("tick")
            await anyio.sleep(0.02)

    async with session(server, handler) as running:
        await anyio.sleep(10)
        await server.reset()
        gone = anyio.current_time()
        await running.ended.wait()
        assert anyio.current_time() - gone < 1
    assert running.error is None
    assert running.websocket.close_code == 1006


async def test_a_handler_that_only_sends_keeps_what_comes_in(kind: Kind) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def handler() -> None:
        await websocket.accept()
        for _ in range(50):
            await websocket.send_text("tick")
            await anyio.sleep(0.1)
        with pytest.raises(WebSocketDisconnect):
            while True:
                seen.append(await websocket.receive_text())

    messages = [str(number) for number in range(500)]
    async with session(server, handler):
        await server.put(*messages)
        await anyio.sleep(10)
        await server.reset()
    assert seen == messages


async def test_send_raises_again_and_again_once_the_client_has_gone(kind: Kind) -> None:
    server = Server(kind)
    seen: list[int] = []

    async def handler() -> None:
        await websocket.accept()
        while len(seen) < 3:
            try:
                await websocket.send_text("tick")
            except WebSocketDisconnect as gone:
                seen.append(gone.code)
            await anyio.sleep(0.1)

    async with session(server, handler):
        await server.close(4001, "enough")
    assert seen == [code_of(kind, 4001)] * 3


async def test_a_lost_connection_is_a_1006(kind: Kind) -> None:
    server = Server(kind)
    seen: list[int] = []

    async def handler() -> None:
        await websocket.accept()
        try:
            await websocket.receive()
        except WebSocketDisconnect as gone:
            seen.append(gone.code)

    async with session(server, handler):
        await server.reset()
    assert seen == [1006]


async def test_a_send_to_a_client_that_does_not_read_ends_when_it_goes(kind: Kind) -> None:
    """hypercorn's own send would wait for ever for room in its queue, which the client has filled."""
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async with session(server, handler) as running:
        server.stall()
        await server.put(*map(str, range(30)))
        server.vanish()
        if kind == "uvicorn":
            await server.reset()
        await running.ended.wait()
    assert running.error is None


async def test_a_send_is_let_go_whose_handler_has_received_meanwhile() -> None:
    """Its receiver has gone on to other things, and the client, which reads nothing, floods and goes."""
    server = Server("hypercorn")

    async def receive() -> None:
        await websocket.receive_text()
        await anyio.sleep_forever()

    async def handler() -> None:
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await anyio.sleep(1)
            while True:
                await websocket.send_text("tick")

    async with session(server, handler) as running:
        server.stall()
        await anyio.sleep(5)
        await server.put(*map(str, range(30)))
        server.vanish()
        await running.ended.wait()
    assert running.error is None


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])  # time is real: nothing is idle
async def test_a_handler_that_does_nothing_but_send_lets_others_work(kind: Kind) -> None:
    """No server's send is a checkpoint, as long as there is room, or when its client has gone."""
    server = Server(kind)
    worked = 0

    async def handler() -> None:
        await websocket.accept()
        while True:
            await websocket.send_text("tick")
            del server.sent[1:]

    async with session(server, handler) as running:
        for _ in range(10):
            await checkpoint()
            worked += 1
        await server.reset()
    assert worked == 10
    assert running.error is None


async def test_a_close_is_let_go_whose_client_has_flooded_and_gone() -> None:
    server = Server("hypercorn")

    async def handler() -> None:
        await websocket.accept()
        await anyio.sleep(1)

    async with session(server, handler) as running:
        server.stall()
        await anyio.sleep(2)
        await server.put(*map(str, range(30)))
        server.vanish()
        await running.ended.wait()
    assert running.error is None


@pytest.mark.parametrize("how", ["send", "close"])
async def test_over_http_2_a_send_that_waits_for_ever_is_given_up(how: str) -> None:
    server = Server("hypercorn", http_version="2")
    server.waits_for_ever = True

    async def handler() -> None:
        await websocket.accept()
        await anyio.sleep(1)
        while how == "send":
            await websocket.send_text("tick")

    async with session(server, handler) as running:
        server.stall()
        await anyio.sleep(2)
        await server.reset()
        await running.ended.wait()
    assert running.websocket.close_code == (1006 if how == "send" else 1000)
    assert running.error is None


async def test_a_handler_that_goes_back_to_only_sending_ends_as_well(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await anyio.sleep(1)
        await websocket.receive_text()  # from the task that has begun to read
        while True:
            await websocket.send_text("tick")
            await anyio.sleep(0.1)

    async with session(server, handler) as running:
        await anyio.sleep(2)
        await server.put("subscribe")
        await anyio.sleep(2)
        await server.reset()
        gone = anyio.current_time()
        await running.ended.wait()
        assert anyio.current_time() - gone < 1
    assert running.error is None


async def test_an_app_that_returns_with_a_full_queue_does_not_hold_the_server_up() -> None:
    server = Server("hypercorn")
    server.answers_close = False

    async def handler() -> None:
        await websocket.accept()
        await anyio.sleep(5)

    async with session(server, handler) as running:
        with anyio.move_on_after(8):
            await server.put(*["flood"] * 100)
        await running.ended.wait()
    assert server.closed == (1000, "")


async def test_a_client_that_does_not_confirm_a_close_is_waited_for_but_a_second() -> None:
    server = Server("hypercorn")
    server.answers_close = False

    async def handler() -> None:
        await websocket.accept()

    async with session(server, handler) as running:
        await server.until(lambda: server.closed)
        closed = anyio.current_time()
        await running.ended.wait()
        assert 0 < anyio.current_time() - closed < 1.5


async def test_returning_closes_with_1000(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()

    async with session(server, handler) as running:
        pass
    assert server.closed == (1000, "")
    assert running.websocket.connection_state is SocketState.CLOSED


async def test_an_exception_closes_with_1011_and_is_raised(kind: Kind) -> None:
    server = Server(kind)
    error = LookupError("oops")

    async def handler() -> None:
        await websocket.accept()
        raise error

    async with session(server, handler) as running:
        pass
    assert server.closed == (1011, "")
    assert running.error is error


async def test_a_disconnect_that_leaves_the_handler_is_a_normal_end(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await websocket.receive()

    async with session(server, handler) as running:
        await server.reset()
    assert running.error is None
    assert server.closed is None


async def test_a_group_of_nothing_but_disconnects_is_a_normal_end(kind: Kind) -> None:
    server = Server(kind)

    async def push() -> None:
        while True:
            await websocket.send_text("tick")
            await anyio.sleep(0.1)

    async def handler() -> None:
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(push)
            tasks.start_soon(push)
            await websocket.receive()

    async with session(server, handler) as running:
        await server.reset()
    assert running.error is None


async def test_a_group_with_another_exception_is_a_failure(kind: Kind) -> None:
    server = Server(kind)
    error = ExceptionGroup("both", [WebSocketDisconnect(1006), LookupError("oops")])

    async def handler() -> None:
        await websocket.accept()
        raise error

    async with session(server, handler) as running:
        pass
    assert running.error is error
    assert server.closed == (1011, "")


async def test_the_server_that_stops_closes_with_1001(kind: Kind) -> None:
    server = Server(kind)
    seen: list[int] = []

    async def handler() -> None:
        await websocket.accept()
        try:
            await websocket.receive()
        except WebSocketDisconnect as gone:
            seen.append(gone.code)
            raise

    async with session(server, handler) as running:
        running.exit_signal.set()
    assert server.closed == (1001, "the server stops")
    assert seen == [1001]
    assert running.error is None


async def test_what_is_accepted_while_the_server_stops_is_closed_with_1001(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await anyio.sleep(1)
        await websocket.accept()
        while True:
            await websocket.send_text("tick")
            await anyio.sleep(0.1)

    async with session(server, handler, at_once=True) as running:
        running.exit_signal.set()
    assert server.closed == (1001, "the server stops")
    assert running.error is None


async def test_a_cancelled_session_is_closed_with_1001(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await anyio.sleep_forever()

    async with session(server, handler) as running:
        running.scope.cancel()
    assert server.closed == (1001, "")


async def test_an_invalid_message_that_is_not_caught_closes_with_its_code(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        raise InvalidMessage("no such command", code=4004)

    async with session(server, handler) as running:
        pass
    assert server.closed == (4004, "no such command")
    assert running.error is None


async def test_close_may_be_called_any_number_of_times(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        await websocket.close(4000, "first")
        await websocket.close(4001, "second")
        await websocket.close()

    async with session(server, handler) as running:
        pass
    assert [each["type"] for each in server.sent].count("websocket.close") == 1
    assert server.closed == (4000, "first")
    assert running.websocket.close_code == 4000


async def test_another_task_that_receives_learns_of_a_close(kind: Kind) -> None:
    server = Server(kind)
    seen: list[int] = []

    async def receive() -> None:
        try:
            await websocket.receive()
        except WebSocketDisconnect as gone:
            seen.append(gone.code)
        try:
            await websocket.send_text("more")
        except WebSocketDisconnect as gone:
            seen.append(gone.code)

    async def handler() -> None:
        await websocket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await anyio.sleep(1)
            await websocket.close(4000)

    async with session(server, handler):
        pass
    assert seen == [4000, 4000]


async def test_a_loop_over_messages_may_close_the_socket(kind: Kind) -> None:
    server = Server(kind)
    seen: list[str] = []

    async def handler() -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            seen.append(text)
            await websocket.close()
        seen.append("ended")

    async with session(server, handler) as running:
        await server.put("a", "b")
    assert seen == ["a", "ended"]
    assert running.error is None


async def test_cleanup_may_close_under_cancellation(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.accept()
        try:
            await anyio.sleep_forever()
        finally:
            await websocket.close(4001)
            await checkpoint()

    async with session(server, handler) as running:
        running.scope.cancel()
    assert server.closed == (4001, "")
