"""Work that ends with its client, or with its time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import anyio
import anyio.lowlevel
import pytest

from kui.concurrency import ClientDisconnect, Exchange, Gone
from kui.concurrency.cancel import WaitingClient, until
from kui.concurrency.loops import clock
from kui.concurrency.slots import ConcurrencySlots, Full
from kui.testing import every_checkpoint
from tests.support.asgi_server import DISCONNECT, WAYS, Server, body

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(headers=[(b"content-length", b"50000000")])
    yield server
    server.close()


@pytest.fixture
def exchange(server: Server) -> Exchange:
    return Exchange(server.scope, server.receive, server.send)


async def settled(exchange: Exchange) -> None:
    await exchange.settle()


async def leave_soon(server: Server) -> None:
    await anyio.sleep(1)
    server.put(DISCONNECT)


# A block.


async def test_a_block_that_ends_before_its_client_leaves_is_just_a_block(exchange) -> None:
    async with WaitingClient(exchange):
        await anyio.sleep(1)
    assert exchange.gone is None
    await exchange.settle()


async def test_a_block_is_cancelled_when_the_client_leaves_and_its_end_says_so(
    server, exchange
) -> None:
    began = anyio.current_time()
    reached: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave_soon, server)
        with pytest.raises(ClientDisconnect):
            async with WaitingClient(exchange):
                reached.append("began")
                await anyio.sleep(100)
                reached.append("ended")
    assert reached == ["began"]
    assert anyio.current_time() - began < 1.05
    assert exchange.gone is Gone.CLIENT_LEFT


async def test_a_block_that_does_not_notice_raises_at_its_end(server, exchange) -> None:
    server.put(DISCONNECT)
    with pytest.raises(ClientDisconnect):
        async with WaitingClient(exchange):
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)


async def test_what_a_block_raises_is_raised_as_itself(exchange) -> None:
    with pytest.raises(LookupError):
        async with WaitingClient(exchange):
            await anyio.sleep(1)
            raise LookupError
    await exchange.settle()


async def test_a_group_of_the_blocks_own_stays_what_it_is(exchange) -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(ExceptionGroup) as caught:
        async with WaitingClient(exchange), anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            await anyio.sleep(1)
    assert caught.group_contains(LookupError, depth=1)
    await exchange.settle()


async def test_a_cancellation_from_outside_goes_through(exchange) -> None:
    with anyio.move_on_after(1) as scope:
        async with WaitingClient(exchange):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    await exchange.settle()


async def test_blocks_may_be_nested_and_follow_each_other(server, exchange) -> None:
    async with WaitingClient(exchange):
        async with WaitingClient(exchange):
            await anyio.sleep(1)
        await anyio.sleep(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave_soon, server)
        with pytest.raises(ClientDisconnect):
            async with WaitingClient(exchange):
                async with WaitingClient(exchange):
                    await anyio.sleep(0.5)
                await anyio.sleep_forever()


async def test_the_body_may_be_read_in_the_block_and_after_it(server, exchange) -> None:
    for data in (b"a", b"b", b"c"):
        server.put(body(data, True))
    async with WaitingClient(exchange):
        await anyio.sleep(1)
        assert await exchange.next_chunk() == b"a"
        await anyio.sleep(1)
    assert await exchange.next_chunk() == b"b"
    assert await exchange.next_chunk() == b"c"
    await exchange.settle()


async def test_a_client_that_leaves_behind_a_body_that_fits_is_noticed(server, exchange) -> None:
    for _ in range(15):
        server.put(body(b"x" * 4000, True))
    server.put(DISCONNECT)
    with pytest.raises(ClientDisconnect):
        async with WaitingClient(exchange):
            await anyio.sleep(0.05)
            raise AssertionError("the client was not noticed")


# A function.


async def test_work_gives_its_result(exchange) -> None:
    async def work() -> str:
        await anyio.sleep(1)
        return "done"

    assert await WaitingClient(exchange).run(work) == "done"
    await exchange.settle()


async def test_work_that_does_not_wait_is_not_watched(server, exchange) -> None:
    async def work() -> int:
        return server.receiving

    assert await WaitingClient(exchange).run(work) == 0
    assert not exchange.unsettled or exchange._pull is None


async def test_work_is_cancelled_when_the_client_leaves(server, exchange) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave_soon, server)
        with pytest.raises(ClientDisconnect):
            await WaitingClient(exchange).run(anyio.sleep_forever)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_server_that_cancels_while_the_client_leaves_is_obeyed(server, exchange) -> None:
    async def block() -> None:
        async with WaitingClient(exchange):
            await anyio.sleep_forever()

    for turns in range(5):
        task = asyncio.ensure_future(block())
        await asyncio.sleep(1)
        server.put(DISCONNECT)
        for _ in range(turns):
            await asyncio.sleep(0)
        accepted = task.cancel()
        with pytest.raises(asyncio.CancelledError if accepted else ClientDisconnect):
            await task
        exchange = Exchange(server.scope, server.receive, server.send)


async def worked(state: SimpleNamespace) -> None:
    state.server = Server()
    state.exchange = Exchange(state.server.scope, state.server.receive, state.server.send)
    state.ended = False
    try:
        async with WaitingClient(state.exchange):
            await anyio.sleep(1)
            await anyio.lowlevel.checkpoint()
            state.ended = True
    except ClientDisconnect:
        assert state.exchange.gone is Gone.CLIENT_LEFT
    finally:
        await state.exchange.settle()


def nothing_is_left(state: SimpleNamespace) -> None:
    state.server.close()
    assert state.server.receiving == 0
    assert not state.exchange._listeners


@pytest.mark.parametrize(("anyio_backend", "how"), WAYS, indirect=["anyio_backend"])
async def test_a_block_may_be_cancelled_anywhere(how) -> None:
    assert await every_checkpoint(worked, nothing_is_left, how=how) > 1


async def test_a_client_may_leave_anywhere() -> None:
    def leave(state: SimpleNamespace) -> None:
        state.server.put(DISCONNECT)

    assert await every_checkpoint(worked, nothing_is_left, how=leave) > 1


# In time.


async def test_what_ends_in_time_gives_its_result() -> None:
    async def work() -> None:
        await anyio.sleep(1)

    assert await until(clock()() + 2, work) == (None,)


async def test_what_does_not_is_cancelled() -> None:
    began = anyio.current_time()
    assert await until(clock()() + 2, anyio.sleep_forever) is None
    assert anyio.current_time() - began == pytest.approx(2)


async def test_what_it_raises_is_raised() -> None:
    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await until(clock()() + 2, work)


# Slots.


async def test_slots_are_taken_until_there_is_none() -> None:
    slots = ConcurrencySlots(2)
    assert [slots.take(), slots.take()] == [True, True]
    with pytest.raises(Full):
        slots.take()
    slots.give_back()
    assert slots.take()


async def test_who_waits_is_served_in_order_and_before_who_comes_later() -> None:
    slots = ConcurrencySlots(1, waiting=2)
    slots.take()
    served: list[int] = []

    async def wait(number: int) -> None:
        assert not slots.take()
        await slots.wait()
        served.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(wait, number)
            await anyio.wait_all_tasks_blocked()
        with pytest.raises(Full):
            slots.take()
        slots.give_back()
        assert not slots.take()
        await anyio.wait_all_tasks_blocked()
        slots.give_back()
    assert served == [0, 1]


async def test_who_stops_waiting_takes_no_slot() -> None:
    async def scenario(state: SimpleNamespace) -> None:
        state.slots = slots = ConcurrencySlots(1, waiting=1)
        state.taken = slots.take()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(give_back, state)
            await slots.wait()
            slots.give_back()

    async def give_back(state: SimpleNamespace) -> None:
        state.slots.give_back()
        state.taken = False

    def check(state: SimpleNamespace) -> None:
        if state.taken:
            state.slots.give_back()
        assert state.slots.take()
        assert not state.slots.take()

    assert await every_checkpoint(scenario, check) > 0
