"""Where trio delivers a cancellation to no wait of the work, its usual rule holds: cleanup that waits shields itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from kui.asgi import shielded
from kui.concurrency.cleanup_shield import CleanupShield

pytestmark = pytest.mark.trio


@pytest.mark.parametrize(
    "wait",
    [
        trio.lowlevel.checkpoint_if_cancelled,
        trio.lowlevel.checkpoint,
        partial(trio.sleep, 0),
        trio.sleep_forever,
    ],
)
async def test_a_cancellation_that_came_behind_a_shield_of_the_works_own(
    wait: Callable[[], Awaitable[None]],
) -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
                outer.cancel()
            await wait()
            done.append("went on")
        finally:
            with shielded(5):
                await trio.lowlevel.checkpoint_if_cancelled()
                await trio.lowlevel.checkpoint()
            done.append("cleaned up")

    with trio.CancelScope() as outer:
        await CleanupShield("the work").run(work())
    assert outer.cancelled_caught
    assert done == ["cleaned up"]


async def test_a_cancellation_that_only_the_tasks_of_a_nursery_of_its_own_have_met() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            async with trio.open_nursery() as nursery, trio.open_nursery() as inner:
                nursery.start_soon(trio.sleep_forever)
                inner.start_soon(trio.sleep_forever)
                inner.start_soon(cancel)
        finally:
            with shielded(5):
                await trio.sleep(0.001)
            done.append("cleaned up")

    async def cancel() -> None:
        outer.cancel()

    with trio.CancelScope() as outer:
        await CleanupShield("the work").run(work())
    assert outer.cancelled_caught
    assert done == ["cleaned up"]


async def test_a_nursery_that_the_work_has_cancelled_itself() -> None:
    done: list[str] = []

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.cancel_scope.cancel()
        await trio.sleep(0.001)
        done.append("went on")
        outer.cancel()
        await trio.sleep_forever()

    with trio.CancelScope() as outer:
        await CleanupShield("the work").run(work())
    assert outer.cancelled_caught
    assert done == ["went on"]


@pytest.mark.parametrize("through", ["coroutine", "generator"])
async def test_a_cancellation_that_comes_as_a_wait_of_the_works_own_ends(
    through: str, autojump_clock: trio.testing.MockClock
) -> None:
    done: list[str] = []

    async def work() -> AsyncGenerator[None, None]:
        try:
            await trio.sleep(1)
            yield
        finally:
            with shielded(5):
                await trio.lowlevel.checkpoint()
                await trio.sleep(1)
            done.append("cleaned up")

    async def advance() -> None:
        await anext(work())

    async def pass_through() -> AsyncGenerator[None, None]:
        await advance()
        yield

    with trio.move_on_after(1) as outer:
        run = advance() if through == "coroutine" else anext(pass_through())
        await CleanupShield("the work").run(run)
    assert outer.cancelled_caught
    assert done == ["cleaned up"]


@pytest.mark.parametrize("over", ["when it begins", "before it waits"])
async def test_a_cleanup_whose_own_timeout_is_over_at_once_comes_to_its_end(
    over: str, mock_clock: trio.testing.MockClock
) -> None:
    done: list[str] = []

    async def wait_a_moment() -> None:
        with trio.move_on_after(0 if over == "when it begins" else 0.001):
            mock_clock.jump(1)
            await trio.sleep_forever()

    async def work() -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(cancel)
        finally:
            with shielded(5):
                await wait_a_moment()
                await wait_a_moment()
                await trio.lowlevel.checkpoint()
            done.append("cleaned up")

    async def cancel() -> None:
        outer.cancel()

    with trio.CancelScope() as outer:
        await CleanupShield("the work").run(work())
    assert outer.cancelled_caught
    assert done == ["cleaned up"]
