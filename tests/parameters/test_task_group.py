"""`task_group`: who waits for whom, and who stops whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from kui.asgi import (
    Depends,
    HTTPException,
    HttpRoute,
    Kui,
    SocketRoute,
    StreamResponse,
    request,
    task_group,
    timeout,
    websocket,
)
from kui.testing import AsyncTestClient

from .conftest import Serve

pytestmark = pytest.mark.anyio

Group = Annotated[TaskGroup, Depends(task_group)]


async def test_leaving_waits_for_the_children(serve: Serve) -> None:
    done = []

    async def child(number: int) -> None:
        await anyio.sleep(0.01 * number)
        done.append(request["path"])  # a child sees the request

    async def show(tasks: Group) -> str:
        for number in range(3):
            tasks.start_soon(child, number)
        return "a"

    async with serve(show) as client:
        assert (await client.get("/")).text == "a"
        assert done == ["/"] * 3


async def test_children_may_be_waited_for_by_the_handler(serve: Serve) -> None:
    async def child(*, task_status: Any) -> None:
        task_status.started("value")

    async def show(tasks: Group) -> str:
        value: str = await tasks.start(child)
        return value

    async with serve(show) as client:
        assert (await client.get("/")).text == "value"


async def test_the_handler_s_exception_cancels_the_children_and_passes_as_itself(
    serve: Serve,
) -> None:
    cancelled = []

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(True)

    async def show(tasks: Group) -> str:
        tasks.start_soon(child)
        await anyio.lowlevel.checkpoint()
        raise HTTPException(409)

    async with serve(show) as client:
        assert (await client.get("/")).status_code == 409
    assert cancelled == [True]


async def test_a_child_s_failure_cancels_the_handler_and_is_raised_as_itself(serve: Serve) -> None:
    async def child() -> None:
        raise HTTPException(418)

    seen: list[BaseException] = []

    async def session() -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            seen.append(error)
            raise

    async def show(session: Annotated[None, Depends(session)], tasks: Group) -> str:
        tasks.start_soon(child)
        await anyio.sleep_forever()
        return "never"

    async with serve(show) as client:
        assert (await client.get("/")).status_code == 418
    assert [type(one) for one in seen] == [HTTPException]


async def test_a_child_that_fails_while_it_is_waited_for_is_raised_too(serve: Serve) -> None:
    async def child() -> None:
        await anyio.sleep(0.01)
        raise HTTPException(418)

    async def show(tasks: Group) -> str:
        tasks.start_soon(child)
        return "a"

    async with serve(show) as client:
        assert (await client.get("/")).status_code == 418


async def test_several_failures_are_a_group(serve: Serve) -> None:
    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("second")

    async def failing() -> None:
        await anyio.lowlevel.checkpoint()
        raise OSError("first")

    async def show(tasks: Group) -> str:
        tasks.start_soon(child)
        tasks.start_soon(failing)
        return "a"

    with pytest.raises(ExceptionGroup) as raised:
        async with serve(show) as client:
            await client.get("/")
    assert {type(one) for one in raised.value.exceptions} == {KeyError, OSError}


async def test_a_client_that_leaves_cancels_the_children_and_not_the_handler() -> None:
    log = []
    began, went_on = anyio.Event(), anyio.Event()

    async def child() -> None:
        log.append("child")
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cancelled")
            went_on.set()

    async def order(tasks: Group) -> str:
        tasks.start_soon(child)
        await went_on.wait()
        await anyio.wait_all_tasks_blocked()
        log.append("placed")
        return "placed"

    app = Kui(routes=HttpRoute("/", order))
    async with AsyncTestClient(app) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(leave_after, client, began)
        with pytest.raises(Exception):  # noqa: B017 - the client itself has left
            await client.post("/")
        await client.wait_idle()
    assert log == ["child", "cancelled", "placed"]


async def leave_after(client: AsyncTestClient, event: anyio.Event) -> None:
    await event.wait()
    client.disconnect()


async def test_a_timeout_cancels_the_children_that_are_waited_for(serve: Serve) -> None:
    log = []

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cancelled")

    async def show(tasks: Group) -> str:
        tasks.start_soon(child)
        return "a"

    async with serve(show, middlewares=[timeout(0.05)]) as client:
        assert (await client.get("/")).status_code == 504
    assert log == ["cancelled"]


async def test_until_sent_the_children_live_while_the_answer_is_sent(serve: Serve) -> None:
    log = []

    async def feed(send: Any) -> None:
        with send:
            for number in range(3):
                await send.send(f"{number}\n")
            await anyio.sleep_forever()

    async def show(tasks: Annotated[TaskGroup, Depends(task_group, until="sent")]) -> Any:
        send, receive = anyio.create_memory_object_stream[str]()
        tasks.start_soon(feed, send)

        async def stream() -> AsyncIterator[str]:
            with receive:
                for _ in range(3):
                    yield await receive.receive()
            log.append("end")

        return StreamResponse(stream())

    async with serve(show) as client:
        response = await client.get("/")
        assert response.text == "0\n1\n2\n"
        await client.wait_idle()
    assert log == ["end"]


async def test_a_websocket_has_one_as_well() -> None:
    log = []

    async def ticks() -> None:
        try:
            for number in range(100):
                await websocket.send_text(str(number))
                await anyio.sleep(0.001)
        finally:
            log.append("ended")

    async def ticker(tasks: Group) -> None:
        await websocket.accept()
        tasks.start_soon(ticks)
        async for _ in websocket.iter_text():
            tasks.cancel_scope.cancel()
            return

    app = Kui(routes=SocketRoute("/", ticker))
    async with AsyncTestClient(app) as client, client.websocket("/") as session:
        assert await session.receive_text() == "0"
        await session.send_text("stop")
    assert log == ["ended"]


def test_it_is_declared_and_not_called() -> None:
    with pytest.raises(RuntimeError, match="is declared and not called"):
        task_group()
