"""Driving a user's generator: one task from first to last, its cleanup shielded, what is raised thrown into it first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextvars import ContextVar
from types import SimpleNamespace

import anyio
import anyio.lowlevel
import pytest
import sniffio

from kui.concurrency import shielded
from kui.concurrency.http.generator_runner import GeneratorRunner, ItemLost, close_unstarted
from kui.testing import every_checkpoint
from tests.support.asgi_server import WAYS

pytestmark = pytest.mark.anyio

SHORT = 0.02  # seconds of grace, where a test overruns them


class Log(list[str]):
    """What happened, in order, and generators that note it."""

    async def numbers(self, count: int = 3) -> AsyncIterator[int]:
        self.append("open")
        try:
            for i in range(count):
                await anyio.lowlevel.checkpoint()
                yield i
        finally:
            self.append("closing")
            await anyio.lowlevel.checkpoint()
            self.append("closed")

    async def careful_numbers(self, count: int = 3) -> AsyncIterator[int]:
        """Those of a generator that waits at bare checkpoints, and shields its cleanup itself."""
        self.append("open")
        try:
            for i in range(count):
                await anyio.lowlevel.checkpoint()
                yield i
        finally:
            self.append("closing")
            with shielded(5):
                await anyio.lowlevel.checkpoint()
            self.append("closed")

    async def quiet(self) -> AsyncIterator[int]:
        try:
            yield 0
            await anyio.sleep_forever()
        finally:
            self.append("closing")
            await anyio.sleep(0.001)
            self.append("closed")


async def run(source, consume=None, *, grace: float = 5.0) -> list[object]:
    items: list[object] = []

    async def keep(item: object) -> None:
        items.append(item)

    with anyio.CancelScope() as scope:
        await GeneratorRunner(source, consume or keep, interrupt=scope.cancel, grace=grace).run()
    return items


async def run_until_blocked(drive: GeneratorRunner, then) -> None:
    """Run it in a task group of its own, and do `then` once everything waits."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drive.run)
        await anyio.wait_all_tasks_blocked()
        then(tasks.cancel_scope)


async def nothing(item: object) -> None:
    pass


# To the end.


async def test_each_item_is_consumed_in_order() -> None:
    log = Log()
    assert await run(log.numbers()) == [0, 1, 2]
    assert log == ["open", "closing", "closed"]


async def test_an_iterable_that_is_no_generator_is_iterated() -> None:
    class Numbers:
        def __init__(self) -> None:
            self.left = [2, 1]

        def __aiter__(self) -> Numbers:
            return self

        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop()

    assert await run(Numbers()) == [1, 2]


async def test_the_generator_lives_in_one_task_and_one_context() -> None:
    var: ContextVar[str] = ContextVar("var")
    tasks = set()

    async def source() -> AsyncIterator[int]:
        token = var.set("mine")
        try:
            for i in range(3):
                tasks.add(anyio.get_current_task().id)
                yield i
        finally:
            tasks.add(anyio.get_current_task().id)
            var.reset(token)

    await run(source())
    assert tasks == {anyio.get_current_task().id}


async def test_a_generator_that_never_waits_lets_others_run(monkeypatch) -> None:
    monkeypatch.setattr("kui.concurrency.http.generator_runner._FAIR_SHARE", 0.0)
    stopped = anyio.Event()

    async def source() -> AsyncIterator[int]:
        while not stopped.is_set():
            yield 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            GeneratorRunner(source(), nothing, interrupt=tasks.cancel_scope.cancel).run
        )
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        stopped.set()


async def test_the_first_wait_is_told_and_only_that() -> None:
    waits: list[int] = []

    async def source() -> AsyncIterator[int]:
        for number in range(3):
            await anyio.sleep(0.001)
            yield number

    with anyio.CancelScope() as scope:
        await GeneratorRunner(source(), nothing, interrupt=scope.cancel).run(
            lambda: waits.append(1)
        )
    assert waits == [1]


async def test_a_cancellation_that_meets_a_deadline_of_the_source_leaves_time_for_its_cleanup() -> (
    None
):
    log: list[str] = []

    async def source() -> AsyncIterator[int]:
        try:
            await anyio.sleep(1)
            yield 1
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(1)
            log.append("closed")

    async def cancel() -> None:
        await anyio.sleep(1)
        scope.cancel()

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            await GeneratorRunner(source(), nothing, interrupt=scope.cancel).run()
    assert log == ["closed"]


async def test_a_few_checkpoints_are_no_wait_and_many_are_one(monkeypatch) -> None:
    # On a slow machine the runner would come to a checkpoint of its own.
    monkeypatch.setattr("kui.concurrency.http.generator_runner._FAIR_SHARE", 3600.0)
    told_at: list[int] = []
    checkpoints = 0

    async def source() -> AsyncIterator[int]:
        nonlocal checkpoints
        for checkpoints in range(1, 40):
            await anyio.lowlevel.checkpoint()
            yield checkpoints

    with anyio.CancelScope() as scope:
        await GeneratorRunner(source(), nothing, interrupt=scope.cancel).run(
            lambda: told_at.append(checkpoints)
        )
    assert told_at == [17]


async def test_a_source_behind_a_send_that_shields_its_checkpoints_hears_of_a_cancellation() -> (
    None
):
    """As under a server that sends within a shield: nothing else of the loop ever waits."""
    sent = 0

    async def source() -> AsyncIterator[int]:
        while True:
            yield 1

    with anyio.CancelScope() as scope:

        async def send(item: int) -> None:
            nonlocal sent
            sent += 1
            if sent == 3:
                scope.cancel()
            assert sent < 100
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.cancel_shielded_checkpoint()

        await GeneratorRunner(source(), send, interrupt=scope.cancel).run()
    assert scope.cancelled_caught


async def test_who_never_waits_is_never_said_to(monkeypatch) -> None:
    monkeypatch.setattr("kui.concurrency.http.generator_runner._FAIR_SHARE", 3600.0)

    async def source() -> AsyncIterator[int]:
        yield 1

    waits: list[int] = []
    with anyio.CancelScope() as scope:
        await GeneratorRunner(source(), nothing, interrupt=scope.cancel).run(
            lambda: waits.append(1)
        )
    assert waits == []


# What is raised.


async def test_an_exception_of_the_generator_arrives_as_itself() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await run(source())


async def test_an_exception_of_the_consumer_goes_into_the_generator_first() -> None:
    seen: list[BaseException] = []

    async def source() -> AsyncIterator[int]:
        try:
            yield 1
        except LookupError as error:
            seen.append(error)
            raise

    async def consume(item: object) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await run(source(), consume)
    assert len(seen) == 1


async def test_a_generator_may_turn_it_into_another() -> None:
    async def source() -> AsyncIterator[int]:
        try:
            yield 1
        except LookupError:
            raise ValueError from None

    async def consume(item: object) -> None:
        raise LookupError

    with pytest.raises(ValueError):
        await run(source(), consume)


async def test_a_generator_that_survives_it_is_closed_and_it_is_raised_all_the_same() -> None:
    log: list[str] = []

    async def source() -> AsyncIterator[int]:
        try:
            while True:
                try:
                    yield 1
                except LookupError:
                    log.append("survived")
        finally:
            log.append("closed")

    async def consume(item: object) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await run(source(), consume)
    assert log == ["survived", "closed"]


# Cancelled from outside.


async def test_a_generator_that_waits_is_cancelled_there_and_cleans_up_with_awaits() -> None:
    log = Log()
    drive = GeneratorRunner(log.quiet(), nothing, interrupt=lambda: None)
    await run_until_blocked(drive, lambda scope: scope.cancel())
    assert log == ["closing", "closed"]


async def test_a_generator_that_is_suspended_is_cancelled_where_it_yielded() -> None:
    log = Log()

    async def block(item: object) -> None:
        await anyio.sleep_forever()

    drive = GeneratorRunner(log.quiet(), block, interrupt=lambda: None)
    await run_until_blocked(drive, lambda scope: scope.cancel())
    assert log == ["closing", "closed"]


async def test_a_cleanup_that_overruns_its_time_is_cancelled_and_logged(caplog) -> None:
    log: list[str] = []

    async def source() -> AsyncIterator[int]:
        try:
            await anyio.sleep_forever()
            yield 1
        finally:
            log.append("closing")
            await anyio.sleep_forever()

    drive = GeneratorRunner(source(), nothing, interrupt=lambda: None, grace=SHORT)
    await run_until_blocked(drive, lambda scope: scope.cancel())
    assert log == ["closing"]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("kui.error", logging.ERROR)
    assert "source took longer than 0.02 s" in record.message


async def test_a_generator_that_swallows_its_cancellation_is_closed() -> None:
    log: list[str] = []

    async def source() -> AsyncIterator[int]:
        try:
            try:
                await anyio.sleep_forever()
            except BaseException:
                log.append("swallowed")
            yield 1
        finally:
            log.append("closed")

    async def consume(item: object) -> None:
        log.append("consumed")

    drive = GeneratorRunner(source(), consume, interrupt=lambda: None)
    await run_until_blocked(drive, lambda scope: scope.cancel())
    assert log == ["swallowed", "closed"]


async def test_what_a_cleanup_raises_is_raised() -> None:
    async def source() -> AsyncIterator[int]:
        try:
            yield 1
            await anyio.sleep_forever()
        finally:
            await anyio.lowlevel.checkpoint()
            raise LookupError("in the cleanup")

    with pytest.raises(ExceptionGroup) as caught:
        drive = GeneratorRunner(source(), nothing, interrupt=lambda: None)
        await run_until_blocked(drive, lambda scope: scope.cancel())
    assert caught.group_contains(LookupError, depth=1)


@pytest.mark.parametrize("where", ["waits", "suspended"])
@pytest.mark.parametrize("attempt", range(4))  # trio wakes tasks in any order
async def test_a_task_group_of_its_own_does_not_take_the_cancellation_for_its_own(
    where, attempt
) -> None:
    log: list[str] = []

    async def source() -> AsyncIterator[int]:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep_forever)
                yield 1
                await anyio.sleep_forever()
            log.append("went on")
        finally:
            log.append("closing")
            await anyio.sleep(1)
            log.append("closed")

    async def consume(item: object) -> None:
        if where == "suspended":
            await anyio.sleep_forever()

    drive = GeneratorRunner(source(), consume, interrupt=lambda: None)
    await run_until_blocked(drive, lambda scope: scope.cancel())
    assert log == ["closing", "closed"]


async def test_a_scope_of_its_own_that_is_not_cancelled_lets_the_cancellation_through() -> None:
    log: list[str] = []

    async def source() -> AsyncIterator[int]:
        try:
            with anyio.move_on_after(100):
                await anyio.sleep_forever()
                yield 1
            log.append("went on")
        finally:
            await anyio.lowlevel.checkpoint_if_cancelled()
            log.append("closed")

    drive = GeneratorRunner(source(), nothing, interrupt=lambda: None)
    await run_until_blocked(drive, lambda scope: scope.cancel())
    assert log == ["closed"]


@pytest.mark.parametrize("order", ["its own first", "its own last"])
@pytest.mark.parametrize("then", ["checkpoint", "wait"])
async def test_a_cancellation_that_comes_together_with_one_of_its_own_leaves_time(
    order, then
) -> None:
    log = []
    own = anyio.CancelScope()

    async def source() -> AsyncIterator[int]:
        try:
            yield 0
            with own:
                await anyio.sleep_forever()
            await anyio.sleep_forever()
        finally:
            if then == "wait":
                await anyio.sleep(0.001)
            else:
                with shielded(5):
                    await anyio.lowlevel.checkpoint()
            log.append("closed")

    def cancel(scope: anyio.CancelScope) -> None:
        for each in [own, scope] if order == "its own first" else [scope, own]:
            each.cancel()

    await run_until_blocked(GeneratorRunner(source(), nothing, interrupt=lambda: None), cancel)
    assert log == ["closed"]


async def test_a_cancellation_that_comes_while_a_server_shields_its_send_leaves_time() -> None:
    log = Log()

    async def consume(item: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(1)

    async def source() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await anyio.lowlevel.checkpoint_if_cancelled()
        finally:
            await anyio.lowlevel.checkpoint_if_cancelled()
            log.append("closed")

    drive = GeneratorRunner(source(), consume, interrupt=lambda: None)
    await run_until_blocked(drive, lambda scope: scope.cancel())
    assert log == ["closed"]


# The generator's own scopes.


async def test_timeouts_of_its_own_are_its_own_and_cost_it_no_grace() -> None:
    async def source() -> AsyncIterator[int]:
        for i in range(5):
            with anyio.move_on_after(SHORT / 2):
                await anyio.sleep_forever()
            if i == 3:
                yield i

    assert await run(source(), grace=SHORT) == [3]


async def test_a_timeout_that_ends_while_an_item_is_consumed_loses_it() -> None:
    async def source() -> AsyncIterator[int]:
        with anyio.move_on_after(0.001):
            yield 1
        yield 2

    async def block(item: object) -> None:
        await anyio.sleep_forever()

    with pytest.raises(ItemLost, match="source"):
        await run(source(), block)


async def test_it_is_lost_as_well_when_the_generator_then_ends() -> None:
    async def source() -> AsyncIterator[int]:
        with anyio.move_on_after(0.001):
            yield 1

    async def block(item: object) -> None:
        await anyio.sleep_forever()

    with pytest.raises(ItemLost):
        await run(source(), block)


async def test_a_timeout_of_its_own_that_raises_arrives_as_itself() -> None:
    async def source() -> AsyncIterator[int]:
        with anyio.fail_after(0.001):
            yield 1

    async def block(item: object) -> None:
        await anyio.sleep_forever()

    with pytest.raises(TimeoutError):
        await run(source(), block)


async def test_a_child_of_its_own_task_group_that_fails_meanwhile_arrives_as_its_group() -> None:
    async def source() -> AsyncIterator[int]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            yield 1
            await anyio.sleep_forever()

    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise LookupError

    async def block(item: object) -> None:
        await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await run(source(), block)
    assert caught.group_contains(LookupError, depth=1)


async def test_closing_a_generator_inside_of_its_task_group_raises_nothing() -> None:
    log: list[str] = []

    async def source() -> AsyncIterator[int]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            try:
                yield 1
                yield 2
            finally:
                log.append("closed")

    drive: GeneratorRunner[int]

    async def consume(item: object) -> None:
        drive.stop()

    drive = GeneratorRunner(source(), consume, interrupt=lambda: None)
    await drive.run()
    assert log == ["closed"]


# Stopping.


async def test_stop_cancels_a_generator_that_waits() -> None:
    log = Log()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            drive = GeneratorRunner(log.quiet(), nothing, interrupt=scope.cancel)
            tasks.start_soon(drive.run)
            await anyio.wait_all_tasks_blocked()
            drive.stop()
    assert log == ["closing", "closed"]


async def test_stop_never_cancels_the_consumer() -> None:
    log = Log()
    go = anyio.Event()

    async def consume(item: object) -> None:
        await go.wait()
        log.append(f"consumed {item}")

    async with anyio.create_task_group() as tasks:
        drive = GeneratorRunner(log.quiet(), consume, interrupt=tasks.cancel_scope.cancel)
        tasks.start_soon(drive.run)
        await anyio.wait_all_tasks_blocked()
        drive.stop()
        await anyio.wait_all_tasks_blocked()
        assert log == []
        go.set()
    assert log == ["consumed 0", "closing", "closed"]


async def test_a_drive_that_was_stopped_before_runs_nothing() -> None:
    log = Log()
    drive = GeneratorRunner(log.numbers(), nothing, interrupt=lambda: None)
    drive.stop()
    await drive.run()
    assert log == []


async def test_an_item_that_is_yielded_after_the_stop_is_not_consumed() -> None:
    log: list[object] = []

    async def source() -> AsyncIterator[str]:
        try:
            await anyio.sleep_forever()
        except BaseException:
            yield "late"
        finally:
            log.append("closed")

    async def consume(item: object) -> None:
        log.append(item)

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            drive = GeneratorRunner(source(), consume, interrupt=scope.cancel)
            tasks.start_soon(drive.run)
            await anyio.wait_all_tasks_blocked()
            drive.stop()
    assert log == ["closed"]


async def test_a_generator_that_refuses_to_be_closed_is_an_error() -> None:
    async def source() -> AsyncIterator[int]:
        while True:
            try:
                yield 1
            except GeneratorExit:
                yield 2

    drive: GeneratorRunner[int]

    async def consume(item: object) -> None:
        drive.stop()

    drive = GeneratorRunner(source(), consume, interrupt=lambda: None)
    with pytest.raises(RuntimeError, match="GeneratorExit"):
        await drive.run()


async def test_a_generator_that_was_not_advanced_is_closed_without_running() -> None:
    log = Log()
    source = log.numbers()
    await close_unstarted(source)
    with pytest.raises(StopAsyncIteration):
        await source.__anext__()
    assert log == []


# asyncio's own ways.


async def no_timeout_of_asyncio_costs_grace() -> None:
    async def source() -> AsyncIterator[int]:
        for i in range(5):
            try:
                async with asyncio.timeout(SHORT / 2):
                    await asyncio.Event().wait()
            except TimeoutError:
                pass
            if i == 3:
                yield i

    assert await run(source(), grace=SHORT) == [3]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_timeouts_of_asyncio_inside_of_it_cost_it_no_grace() -> None:
    await no_timeout_of_asyncio_costs_grace()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_cancelled_task_that_it_awaits_costs_it_no_grace() -> None:
    async def source() -> AsyncIterator[int]:
        task = asyncio.create_task(asyncio.sleep(60))
        asyncio.get_running_loop().call_soon(task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            await asyncio.sleep(SHORT * 2)
            yield 1

    assert await run(source(), grace=SHORT) == [1]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("where", ["waits", "suspended"])
async def test_a_native_cancellation_leaves_time_for_the_cleanup(where) -> None:
    log = Log()

    async def consume(item: object) -> None:
        if where == "suspended":
            await anyio.sleep_forever()

    task = asyncio.ensure_future(
        GeneratorRunner(log.quiet(), consume, interrupt=lambda: None).run()
    )
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["closing", "closed"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_native_cancellation_that_the_generator_swallows_is_raised() -> None:
    async def source() -> AsyncIterator[int]:
        while True:
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                yield 1

    task = asyncio.ensure_future(GeneratorRunner(source(), nothing, interrupt=lambda: None).run())
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Cancellation at every checkpoint.


async def driven(state: SimpleNamespace) -> None:
    state.log = Log()
    state.items = []

    async def consume(item: object) -> None:
        await anyio.lowlevel.checkpoint()
        state.items.append(item)

    with anyio.CancelScope() as state.scope:
        careful = getattr(state, "careful", False)
        source = state.log.careful_numbers() if careful else state.log.numbers()
        state.drive = GeneratorRunner(source, consume, interrupt=state.scope.cancel)
        await state.drive.run()


async def driven_carefully(state: SimpleNamespace) -> None:
    state.careful = True
    await driven(state)


async def driven_naively(state: SimpleNamespace) -> None:
    state.log = Log()
    source = state.log.numbers()
    with anyio.CancelScope() as state.scope:
        try:
            async for _ in source:
                await anyio.lowlevel.checkpoint()
        finally:
            with anyio.CancelScope(shield=True):
                await source.aclose()


def left_its_finally(state: SimpleNamespace) -> None:
    assert state.log in ([], ["open", "closing", "closed"])


def reached_its_finally(state: SimpleNamespace) -> None:
    assert state.log[:2] in ([], ["open", "closing"])
    assert state.log.count("closing") <= 1


def cancel_unless_it_cleans_up_already(state: SimpleNamespace) -> None:
    if "closing" not in state.log:
        state.scope.cancel()


def stop(state: SimpleNamespace) -> None:
    state.drive.stop()


@pytest.mark.parametrize(("anyio_backend", "how"), WAYS, indirect=["anyio_backend"])
async def test_its_finally_is_reached_once_wherever_it_is_cut(how) -> None:
    assert await every_checkpoint(driven, reached_its_finally, how=how) == 7


async def test_its_finally_is_left_wherever_it_is_cut_before() -> None:
    how = cancel_unless_it_cleans_up_already
    on_trio = sniffio.current_async_library() == "trio"
    scenario = driven_carefully if on_trio else driven
    assert await every_checkpoint(scenario, left_its_finally, how=how) == 7


async def test_a_naive_loop_does_not_pass_that() -> None:
    how = cancel_unless_it_cleans_up_already
    with pytest.raises(AssertionError):
        await every_checkpoint(driven_naively, left_its_finally, how=how)


async def test_stopped_anywhere_it_is_closed_and_what_it_yielded_is_consumed() -> None:
    def check(state: SimpleNamespace) -> None:
        assert state.log[:2] == ["open", "closing"]
        assert state.items == list(range(len(state.items)))

    await every_checkpoint(driven, check, how=stop)
