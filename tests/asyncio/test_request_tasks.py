"""The tasks of requests on asyncio: their block ends when they have, and a shield of theirs holds."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from kui.serving.tasks_asyncio import RequestTasks

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_block_ends_when_its_tasks_have() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    async with RequestTasks([].append) as tasks:
        tasks.start_soon(work, 1)
        tasks.start_soon(work, 2)
    assert sorted(done) == [1, 2]


async def test_what_a_task_raises_is_told_and_ends_no_other() -> None:
    failures: list[Exception] = []
    failed = anyio.Event()
    done = False

    def note(error: Exception) -> None:
        failures.append(error)
        failed.set()

    async def fail() -> None:
        raise ValueError("once")

    async def work() -> None:
        nonlocal done
        await failed.wait()
        done = True

    async with RequestTasks(note) as tasks:
        tasks.start_soon(work)
        tasks.start_soon(fail)
    assert done and [str(each) for each in failures] == ["once"]


async def test_a_cancelled_task_finishes_what_it_shields() -> None:
    begun, may_end, cleaned = anyio.Event(), anyio.Event(), False

    async def work() -> None:
        nonlocal cleaned
        try:
            begun.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await may_end.wait()
            cleaned = True

    with anyio.fail_after(5):
        async with RequestTasks([].append) as tasks:
            tasks.start_soon(work)
            await begun.wait()
            tasks.cancel()
            await anyio.wait_all_tasks_blocked()
            assert not cleaned
            may_end.set()
    assert cleaned


async def test_a_cancellation_from_outside_reaches_the_tasks_and_waits_for_them() -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        try:
            scope.cancel()  # while the block waits for its end
            await anyio.sleep_forever()
        finally:
            ended = True

    with anyio.CancelScope() as scope:
        async with RequestTasks([].append) as tasks:
            tasks.start_soon(work)
    assert scope.cancelled_caught and ended


async def test_the_end_of_a_task_is_told_with_what_it_has_returned() -> None:
    ends: list[int | None] = []

    async def work(fails: bool) -> int:
        if fails:
            raise ValueError
        return 7

    async with RequestTasks([].append) as tasks:
        tasks.start(work(False), ends.append, None)
        tasks.start(work(True), ends.append, None)
    assert ends == [7, None]
