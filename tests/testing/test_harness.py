"""The harness of cancellation at every checkpoint: what it hits, what it reports, what it catches."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import anyio
import anyio.lowlevel
import pytest

from kui.testing import every_checkpoint
from tests.support.clocks import anyio_backend  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio


async def three_checkpoints(state: SimpleNamespace) -> None:
    state.reached = 0
    for _ in range(3):
        await anyio.lowlevel.cancel_shielded_checkpoint()
        state.reached += 1


def accept(state: SimpleNamespace) -> None:
    pass


async def test_it_counts_the_checkpoints_of_a_scenario() -> None:
    assert await every_checkpoint(three_checkpoints, accept) == 3


async def test_a_scenario_without_a_checkpoint_runs_once() -> None:
    runs = []

    async def scenario(state: SimpleNamespace) -> None:
        runs.append(state)

    assert await every_checkpoint(scenario, accept) == 0
    assert len(runs) == 1


async def test_each_checkpoint_is_hit_once_and_the_last_run_is_whole() -> None:
    reached = []

    async def scenario(state: SimpleNamespace) -> None:
        state.reached = 0
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
            state.reached += 1

    await every_checkpoint(scenario, lambda state: reached.append(state.reached))
    assert reached == [0, 1, 2, 3]


async def test_a_function_given_by_the_caller_is_called_at_each_checkpoint() -> None:
    hits = []

    async def scenario(state: SimpleNamespace) -> None:
        await three_checkpoints(state)

    count = await every_checkpoint(scenario, accept, how=lambda state: hits.append(state.reached))
    assert count == 3
    assert hits == [0, 1, 2]


async def test_the_state_may_be_of_any_kind() -> None:
    seen: list[list[str]] = []

    async def scenario(state: list[str]) -> None:
        state.append("began")
        await anyio.lowlevel.checkpoint()
        state.append("ended")

    def check(state: list[str]) -> None:
        seen.append(state)

    await every_checkpoint(scenario, check, state=list[str])
    assert seen == [["began"], ["began", "ended"]]


async def test_check_may_be_async() -> None:
    checked = []

    async def check(state: SimpleNamespace) -> None:
        await anyio.lowlevel.checkpoint()
        checked.append(state)

    await every_checkpoint(three_checkpoints, check)
    assert len(checked) == 4


async def test_a_leak_is_reported_with_the_checkpoint_and_its_place() -> None:
    async def scenario(state: SimpleNamespace) -> None:
        state.open = 1
        await anyio.lowlevel.checkpoint()
        state.open = 0

    def check(state: SimpleNamespace) -> None:
        assert state.open == 0

    with pytest.raises(AssertionError) as caught:
        await every_checkpoint(scenario, check)
    (note,) = caught.value.__notes__
    assert note.startswith("hit at checkpoint 1: test_harness.py:")
    assert "in scenario" in note


async def test_the_place_is_found_inside_an_async_generator() -> None:
    async def numbers():
        yield 1
        await anyio.lowlevel.checkpoint()
        yield 2

    async def scenario(state: SimpleNamespace) -> None:
        state.count = 0
        async for _ in numbers():
            state.count += 1

    def check(state: SimpleNamespace) -> None:
        assert state.count == 2

    with pytest.raises(AssertionError) as caught:
        await every_checkpoint(scenario, check)
    assert "in numbers" in caught.value.__notes__[0]


async def test_an_exception_of_the_scenario_is_raised_on() -> None:
    async def scenario(state: SimpleNamespace) -> None:
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            raise LookupError("in the cleanup")

    with pytest.raises(LookupError) as caught:
        await every_checkpoint(scenario, accept)
    assert caught.value.__notes__[0].startswith("hit at checkpoint 1")


async def test_a_scenario_that_does_not_end_is_given_up() -> None:
    async def scenario(state: SimpleNamespace) -> None:
        while True:
            with suppress(BaseException):
                await anyio.lowlevel.cancel_shielded_checkpoint()
            state.count = getattr(state, "count", 0) + 1
            if state.count > 50:
                return

    with pytest.raises(RuntimeError, match="more than 20 checkpoints"):
        await every_checkpoint(scenario, accept, limit=20)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_native_cancellation_hits_what_a_scope_would_shield() -> None:
    async def scenario(state: SimpleNamespace) -> None:
        state.cut = False
        with anyio.CancelScope(shield=True):
            try:
                await anyio.lowlevel.checkpoint()
            except asyncio.CancelledError:
                state.cut = True
                raise

    cut = []
    await every_checkpoint(scenario, lambda state: cut.append(state.cut), how="native")
    assert cut == [True, False]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_swallowed_native_cancellation_is_caught() -> None:
    async def scenario(state: SimpleNamespace) -> None:
        with suppress(asyncio.CancelledError):
            await anyio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="swallowed"):
        await every_checkpoint(scenario, accept, how="native")


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_task_left_behind_is_caught() -> None:
    tasks = []

    async def scenario(state: SimpleNamespace) -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        tasks.append(task)
        await anyio.lowlevel.checkpoint()
        task.cancel()

    with pytest.raises(AssertionError, match="tasks left behind"):
        await every_checkpoint(scenario, accept)
    for task in tasks:
        task.cancel()
