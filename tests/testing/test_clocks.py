"""Virtual time: an hour of waiting takes none, and no time passes while a thread works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest
from baize.typing import Message, Receive, Scope, Send

from kui.testing import (
    ASGITransport,
    AsyncTestClient,
    DeadlineExceeded,
    RequestBody,
    VirtualClockLoop,
    virtual_clock,
)

pytestmark = pytest.mark.anyio

START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_clock(request.param)


async def pings(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    for _ in range(1200):
        await anyio.sleep(3)
        await send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
    await send({"type": "http.response.body"})


async def test_an_hour_of_pings_takes_no_time() -> None:
    begin = anyio.current_time()
    async with AsyncTestClient(pings, lifespan=False) as client:
        async with client.events("/", comments=True) as events:
            assert len([event async for event in events]) == 1200
    assert anyio.current_time() - begin == pytest.approx(3600)


async def test_a_timer_fires_in_its_turn() -> None:
    log = []

    async def after(seconds: float) -> None:
        await anyio.sleep(seconds)
        log.append(seconds)

    async with anyio.create_task_group() as tasks:
        for seconds in (30.0, 10.0, 20.0):
            tasks.start_soon(after, seconds)
    assert log == [10.0, 20.0, 30.0]


async def test_a_task_that_waits_until_all_is_quiet_comes_before_the_next_timer() -> None:
    begin = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 1000)
        await anyio.wait_all_tasks_blocked()
        assert anyio.current_time() - begin < 1
        tasks.cancel_scope.cancel()


def work() -> None:
    time.sleep(0.05)  # real work, in real time, in a thread


async def test_no_time_passes_while_a_thread_works() -> None:
    begin = anyio.current_time()
    with anyio.move_on_after(10) as scope:
        await anyio.to_thread.run_sync(work)
    assert not scope.cancel_called
    assert anyio.current_time() == begin


async def test_nor_while_a_thread_works_that_is_started_from_a_generator() -> None:
    class Stepped:
        """Advances a coroutine by hand: what it waits for is not seen from outside."""

        def __init__(self, step: Callable[[], Any]) -> None:
            self.step = step

        def __await__(self) -> Any:
            coroutine = copy_context().run(self.step)
            value, send = None, coroutine.send
            try:
                while True:
                    value = yield send(value)
            except StopIteration as stop:
                return stop.value

    async def step() -> None:
        await anyio.to_thread.run_sync(work)

    with anyio.move_on_after(10) as scope:
        await Stepped(step)
    assert not scope.cancel_called


async def test_nor_while_a_cancelled_thread_is_waited_for() -> None:
    with anyio.move_on_after(10) as outer:
        with anyio.CancelScope() as scope:
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(work)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, work)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert not outer.cancel_called


async def test_time_goes_on_after_the_thread() -> None:
    begin = anyio.current_time()
    await anyio.to_thread.run_sync(work)
    await anyio.sleep(100)
    assert anyio.current_time() - begin == pytest.approx(100)


@pytest.mark.parametrize("anyio_backend", [virtual_clock("asyncio")], ids=["asyncio"])
async def test_nor_while_a_thread_of_asyncios_own_works() -> None:
    async with asyncio.timeout(10):
        await asyncio.to_thread(work)
        await asyncio.get_running_loop().run_in_executor(None, work)


async def test_there_is_no_default_timeout_in_virtual_time() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(3600)
        await send(START)
        await send({"type": "http.response.body"})

    async with AsyncTestClient(slow, lifespan=False) as client:
        await client.get("/")
        with pytest.raises(httpx2.ReadTimeout):
            await client.get("/", timeout=60)
    async with AsyncTestClient(slow, lifespan=False, timeout=60) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.get("/")


async def test_nor_for_a_piece_of_a_body() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await anyio.sleep(3600)
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.body"})

    body = RequestBody()
    transport = ASGITransport(slow, buffer_size=0)
    async with AsyncTestClient(slow, transport=transport, lifespan=False) as client:
        async with client.stream("POST", "/", content=body) as response:
            await body.send(b"a")
            await body.end()
            await response.aread()
            assert anyio.current_time() >= 3600


def test_a_clock_is_for_one_of_two_loops() -> None:
    with pytest.raises(ValueError, match="curio"):
        virtual_clock("curio")


async def test_time_does_not_go_backwards() -> None:
    loop = VirtualClockLoop()
    try:
        with pytest.raises(ValueError, match="backwards"):
            loop.jump(-1)
    finally:
        loop.close()


async def test_a_test_that_hangs_ends_in_real_time() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    with pytest.raises(DeadlineExceeded, match=r"longer than 0.5 s: GET /: the app is in"):
        async with AsyncTestClient(app, lifespan=False, deadline=0.5) as client:
            await client.get("/")
