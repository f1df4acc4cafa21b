"""The one task that watches a client: when it begins, what it receives, when it wakes up, and that it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import anyio
import pytest

from kui.concurrency import Exchange
from kui.concurrency.http.watch import WATCH_AFTER, Watch
from kui.concurrency.task_group import framework_tasks
from tests.support.asgi_server import DISCONNECT, Server, body

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def exchange(server: Server) -> Exchange:
    return Exchange(server.scope, server.receive, server.send)


async def test_a_client_that_leaves_is_noticed_while_the_block_waits(server, exchange) -> None:
    async with framework_tasks() as group:
        exchange.listen(group.cancel)
        watch = Watch(exchange, group)
        watch.begin()
        await anyio.sleep(1)
        server.put(DISCONNECT)
        await anyio.sleep_forever()
    watch.end()
    assert exchange.client_gone


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_work_that_waits_for_a_moment_is_not_watched_on_asyncio(server, exchange) -> None:
    async with framework_tasks() as group:
        watch = Watch(exchange, group)
        watch.begin()
        await anyio.sleep(WATCH_AFTER / 2)
        watch.end()
        await anyio.sleep(1)
        assert server.receiving == 0


async def test_nothing_is_received_once_the_block_is_left(server, exchange) -> None:
    async with framework_tasks() as group:
        watch = Watch(exchange, group)
        watch.begin()
        await anyio.sleep(1)
        assert server.receiving == 1
        watch.end()
    await exchange.close()
    assert server.receiving == 0


async def test_what_comes_in_is_kept_for_a_later_reader(server, exchange) -> None:
    async with framework_tasks() as group:
        watch = Watch(exchange, group)
        watch.begin()
        for piece in (b"a", b"b", b"c"):
            server.put(body(piece, more=True))
        await anyio.sleep(1)
        watch.end()
    assert [await exchange.next_chunk() for _ in range(3)] == [b"a", b"b", b"c"]
    await exchange.close()


def ticking(exchange: Exchange, group, due: Callable[[], float]) -> tuple[Watch, list[float]]:
    times: list[float] = []
    began = anyio.current_time()

    async def tick() -> None:
        times.append(round(anyio.current_time() - began, 3))

    return Watch(exchange, group, due, tick), times


async def test_it_wakes_up_when_something_is_due_and_at_no_other_time(exchange) -> None:
    began = anyio.current_time()
    due = [began + 100, began + 200, math.inf]
    async with framework_tasks() as group:
        watch, times = ticking(exchange, group, lambda: due[len(times)])
        watch.begin()
        await anyio.sleep(1000)
        watch.end()
    await exchange.close()
    assert times == [100, 200]


async def test_it_asks_again_what_is_due_when_a_message_has_come_in(server, exchange) -> None:
    began = anyio.current_time()
    due = math.inf
    async with framework_tasks() as group:
        watch, times = ticking(exchange, group, lambda: math.inf if times else due)
        watch.begin()
        await anyio.sleep(10)
        due = began + 20
        await anyio.sleep(30)
        assert times == []
        due = began + 50
        server.put(body(b"a", more=True))
        await anyio.sleep(30)
        watch.end()
    await exchange.close()
    assert times == [50]


async def test_a_message_that_comes_while_it_ticks_is_not_lost(server, exchange) -> None:
    began = anyio.current_time()
    ticked = False

    async def tick() -> None:
        nonlocal ticked
        ticked = True
        server.put(body(b"a", more=True))
        await anyio.sleep(5)

    async with framework_tasks() as group:
        watch = Watch(exchange, group, lambda: math.inf if ticked else began + 10, tick)
        watch.begin()
        await anyio.sleep(20)
        watch.end()
    assert await exchange.next_chunk() == b"a"
    await exchange.close()


async def test_a_client_that_leaves_while_it_ticks_is_noticed(server, exchange) -> None:
    async def tick() -> None:
        server.put(DISCONNECT)
        await anyio.sleep_forever()  # as a send to a client that does not read

    async with framework_tasks() as group:
        exchange.listen(group.cancel)
        watch = Watch(exchange, group, lambda: 0.0, tick)
        watch.begin()
        with anyio.move_on_after(60):
            await anyio.sleep_forever()
    watch.end()
    assert exchange.client_gone


async def test_it_runs_in_the_context_of_who_began_it(exchange) -> None:
    var: ContextVar[str] = ContextVar("var", default="nobody's")
    seen: list[str] = []

    async def tick() -> None:
        seen.append(var.get())
        await anyio.sleep_forever()

    token = var.set("mine")
    async with framework_tasks() as group:
        watch = Watch(exchange, group, lambda: 0.0, tick)
        watch.begin()
        await anyio.sleep(1)
        watch.end()
    var.reset(token)
    await exchange.close()
    assert seen == ["mine"]
