"""Tasks of ours beside a block that is not to notice them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest

from kui.concurrency.task_group import framework_tasks
from kui.concurrency.waits import on_first_wait

pytestmark = pytest.mark.anyio


async def forever() -> None:
    await anyio.sleep_forever()


async def fail() -> None:
    raise LookupError("of ours")


def shape(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return f"[{', '.join(sorted(map(shape, error.exceptions)))}]"
    return type(error).__name__


@pytest.fixture(params=[True, False], ids=["with a task", "without"])
def start(request: pytest.FixtureRequest):
    def start(group) -> None:
        if request.param:
            group.start_soon(forever)

    return start


async def test_tasks_end_with_the_block() -> None:
    ended: list[str] = []

    async def task() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("ended")

    async with framework_tasks() as group:
        group.start_soon(task)
        await anyio.wait_all_tasks_blocked()
        assert ended == []
    assert ended == ["ended"]


async def test_what_the_block_raises_is_raised_as_itself(start) -> None:
    error = LookupError()
    with pytest.raises(LookupError) as caught:
        async with framework_tasks() as group:
            start(group)
            await anyio.sleep(1)
            raise error
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None


async def test_a_group_of_the_blocks_own_is_raised_as_it_is(start) -> None:
    error = ExceptionGroup("mine", [LookupError(), ValueError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with framework_tasks() as group:
            start(group)
            raise error
    assert caught.value is error


async def test_cancel_ends_the_block_and_nothing_is_raised(start) -> None:
    async with framework_tasks() as group:
        start(group)
        group.cancel()
        await anyio.sleep_forever()


async def test_what_failed_meanwhile_is_left_of_a_group_that_holds_cancelled(start) -> None:
    async def fail_in_cleanup() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError

    with pytest.raises(ExceptionGroup) as caught:
        async with framework_tasks() as group:
            start(group)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fail_in_cleanup)
                await anyio.wait_all_tasks_blocked()
                group.cancel()
                await anyio.sleep_forever()
    assert shape(caught.value) == "[LookupError]"


async def test_a_cancellation_from_outside_goes_through(start) -> None:
    reached: list[str] = []
    with anyio.move_on_after(1) as scope:
        async with framework_tasks() as group:
            start(group)
            await anyio.sleep_forever()
        reached.append("went on")
    assert scope.cancelled_caught
    assert reached == []


async def test_an_exception_beats_a_cancellation_from_outside(start) -> None:
    with anyio.CancelScope() as scope, suppress(LookupError):
        async with framework_tasks() as group:
            start(group)
            scope.cancel()
            raise LookupError
    assert scope.cancel_called


async def test_a_task_that_fails_ends_the_block_and_is_raised() -> None:
    with pytest.raises(LookupError, match="of ours"):
        async with framework_tasks() as group:
            group.start_soon(fail)
            await anyio.sleep_forever()


async def test_no_task_outlives_a_block_that_is_cancelled_while_it_ends() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(10)
            ended.append("ended")

    with anyio.move_on_after(1):
        async with framework_tasks() as group:
            group.start_soon(slow)
            await anyio.wait_all_tasks_blocked()
    assert ended == ["ended"]


async def test_what_the_block_raises_comes_before_what_a_task_has_raised() -> None:
    with pytest.raises(ValueError, match="the block's"):
        async with framework_tasks() as group:
            group.start_soon(fail)
            try:
                await anyio.sleep_forever()
            finally:
                raise ValueError("the block's")


async def test_a_task_that_fails_while_the_block_ends_is_raised_too() -> None:
    async def fail_in_cleanup() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("of ours")

    with pytest.raises(LookupError, match="of ours"):
        async with framework_tasks() as group:
            group.start_soon(fail_in_cleanup)
            await anyio.wait_all_tasks_blocked()


async def test_a_task_sees_the_context_of_who_started_it() -> None:
    var: ContextVar[str] = ContextVar("var", default="nobody's")
    seen: list[str] = []

    async def look() -> None:
        seen.append(var.get())
        var.set("its own")

    async with framework_tasks() as group:
        var.set("mine")
        group.start_soon(look)
        await anyio.wait_all_tasks_blocked()
    assert seen == ["mine"]
    assert var.get() == "mine"


async def test_a_task_that_starts_another_while_the_block_ends_does_not_hold_it_up() -> None:
    async with framework_tasks() as group:

        async def late() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                group.start_soon(forever)

        group.start_soon(late)
        await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_native_cancellation_while_it_ends_is_raised_when_the_tasks_have() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(10)
            ended.append("ended")

    async def block() -> None:
        async with framework_tasks() as group:
            group.start_soon(slow)
            await anyio.wait_all_tasks_blocked()

    task = asyncio.ensure_future(block())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["ended"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("error", [LookupError, None])
async def test_a_native_cancellation_while_the_tasks_end_wins_over_an_exception(error) -> None:
    ends = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ends.set()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.02)

    async def block() -> None:
        async with framework_tasks() as group:
            group.start_soon(slow_to_end)
            await anyio.wait_all_tasks_blocked()
            if error is not None:
                raise error

    task = asyncio.ensure_future(block())
    await ends.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("order", ["ours first", "ours last"])
async def test_a_native_cancellation_beside_ours_is_not_lost(order, start) -> None:
    async def block() -> None:
        async with framework_tasks() as group:
            start(group)
            groups.append(group)
            await anyio.sleep_forever()

    groups = []
    task = asyncio.ensure_future(block())
    await asyncio.sleep(1)
    for what in ("ours", "native") if order == "ours first" else ("native", "ours"):
        if what == "ours":
            groups[0].cancel()
        else:
            task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# What is begun when work first waits.


async def test_work_that_does_not_wait_pays_for_nothing() -> None:
    async def work() -> str:
        return "done"

    calls: list[str] = []
    assert await on_first_wait(work(), lambda: calls.append("waits")) == "done"
    assert calls == []


async def test_work_that_waits_is_noticed_once() -> None:
    async def work() -> str:
        await anyio.lowlevel.checkpoint()
        await anyio.sleep(1)
        return "done"

    calls: list[str] = []
    assert await on_first_wait(work(), lambda: calls.append("waits")) == "done"
    assert calls == ["waits"]


async def test_any_awaitable_will_do() -> None:
    class Awaitable:
        def __await__(self):
            yield from anyio.sleep(1).__await__()
            return "done"

    calls: list[str] = []
    assert await on_first_wait(Awaitable(), lambda: calls.append("waits")) == "done"
    assert calls == ["waits"]


async def test_what_it_raises_is_raised() -> None:
    async def work() -> None:
        await anyio.sleep(1)
        raise LookupError

    with pytest.raises(LookupError):
        await on_first_wait(work(), lambda: None)
