"""Threads by purpose, and synchronous generators that live in them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace

import anyio
import anyio.lowlevel
import pytest

from kui.concurrency import GENERATORS, HANDLERS, Limiter, call, in_thread, is_async
from kui.concurrency.sync import InThreads
from kui.testing import every_checkpoint
from tests.support.asgi_server import WAYS

pytestmark = pytest.mark.anyio

var: ContextVar[str] = ContextVar("var", default="unset")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)  # in real time: what these wait for are threads


async def until(holds) -> None:
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110 - a thread sets no event of the loop's
            await anyio.sleep(0.001)


# One call.


async def test_a_call_gives_its_result_from_another_thread() -> None:
    assert await in_thread(threading.current_thread) is not threading.current_thread()


async def test_it_sees_the_context_of_its_caller_and_changes_nothing_in_it() -> None:
    def change() -> str:
        seen = var.get()
        var.set("changed")
        return seen

    var.set("mine")
    assert await in_thread(change) == "mine"
    assert var.get() == "mine"


async def test_what_it_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0)


@pytest.mark.parametrize("abandon", [False, True])
async def test_stop_iteration_does_not_cross(abandon) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await in_thread(next, iter(()), abandon_on_cancel=abandon)


@pytest.mark.parametrize("abandon", [False, True])
async def test_a_coroutine_comes_out_of_a_thread_on_either_loop(abandon) -> None:
    coroutine = await in_thread(asynchronous, 1, abandon_on_cancel=abandon)
    assert await coroutine == (1, threading.current_thread())


async def asynchronous(value: object) -> tuple[object, object]:
    return value, threading.current_thread()


def synchronous(value: object) -> tuple[object, object]:
    return value, threading.current_thread()


def returns_a_coroutine(value: object) -> object:
    return asynchronous(value)


class Asynchronous:
    async def __call__(self, value: object) -> tuple[object, object]:
        return await asynchronous(value)


class Made(tuple):
    """A class, whose instances have an asynchronous `__call__`, as responses have."""

    def __new__(cls, value: object) -> tuple[object, object]:
        return synchronous(value)

    async def __call__(self) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("function", "waits", "here"),
    [
        (asynchronous, True, True),
        (partial(asynchronous), True, True),
        (Asynchronous(), True, True),
        (partial(Asynchronous()), True, True),
        (Asynchronous().__call__, True, True),
        (returns_a_coroutine, False, True),
        (synchronous, False, False),
        (Made, False, False),
    ],
)
async def test_a_function_is_called_where_it_belongs(function, waits, here) -> None:
    assert is_async(function) is waits
    for value, thread in [await call(function, 1), await call(function, value=1)]:
        assert value == 1
        assert (thread is threading.current_thread()) is here


async def test_one_purpose_cannot_starve_another() -> None:
    mine, other = Limiter(2), Limiter(1)
    stop = threading.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(lambda: in_thread(stop.wait, limiter=mine))
        await until(lambda: mine.get().borrowed_tokens == 2)
        assert await in_thread(lambda: "through", limiter=other) == "through"
        assert await in_thread(lambda: "through") == "through"
        stop.set()


async def test_a_limiter_without_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Limiter(0)


async def test_a_cancelled_call_is_waited_for() -> None:
    log: list[str] = []

    def work() -> None:
        time.sleep(0.05)
        log.append("done")

    with anyio.move_on_after(0.001):
        await in_thread(work)
    assert log == ["done"]


async def cancel_once(scope: anyio.CancelScope, begun: threading.Event) -> None:
    """Cancel `scope` when a thread has begun to work."""
    await until(begun.is_set)
    scope.cancel()


async def test_an_abandoned_call_is_not_but_counts_until_it_comes_back() -> None:
    limiter = Limiter(1)
    stop = threading.Event()
    begun = threading.Event()

    def work() -> None:
        begun.set()
        stop.wait()

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_once, scope, begun)
            await in_thread(work, limiter=limiter, abandon_on_cancel=True)
    assert scope.cancelled_caught
    assert limiter.get().borrowed_tokens == 1
    stop.set()
    await until(lambda: limiter.get().borrowed_tokens == 0)


async def test_a_call_that_is_cancelled_before_there_is_a_thread_is_never_made() -> None:
    limiter = Limiter(1)
    stop = threading.Event()
    called: list[int] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: in_thread(stop.wait, limiter=limiter))
        await until(lambda: limiter.get().borrowed_tokens == 1)
        with anyio.move_on_after(0.01):
            await in_thread(called.append, 1, limiter=limiter, abandon_on_cancel=True)
        stop.set()
    assert called == []
    assert limiter.get().borrowed_tokens == 0


# Generators.


class Log(list[str]):
    def numbers(self, count: int = 3) -> Iterator[int]:
        self.append("open")
        try:
            yield from range(count)
        finally:
            self.append("closed")


async def test_a_generator_is_iterated_to_its_end() -> None:
    log = Log()
    assert [number async for number in InThreads(log.numbers())] == [0, 1, 2]
    assert log == ["open", "closed"]


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
async def test_what_would_pass_for_its_end_is_an_error(error: type[Exception]) -> None:
    def source() -> Iterator[int]:
        yield 1
        raise error

    got = []
    with pytest.raises(RuntimeError, match=error.__name__):
        async for number in InThreads(source()):
            got.append(number)  # noqa: PERF401  # what came before the error counts
    assert got == [1]


async def test_it_has_one_context_whichever_thread_it_is_in() -> None:
    def source() -> Iterator[str]:
        token = var.set("mine")
        yield var.get()
        yield var.get()
        var.reset(token)
        yield var.get()

    var.set("caller's")
    assert [each async for each in InThreads(source())] == ["mine", "mine", "caller's"]
    assert var.get() == "caller's"


async def test_what_it_raises_is_raised_and_that_is_its_end() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise LookupError

    threaded = InThreads(source())
    assert await threaded.__anext__() == 1
    with pytest.raises(LookupError):
        await threaded.__anext__()
    with pytest.raises(StopAsyncIteration):
        await threaded.__anext__()
    await threaded.aclose()


async def test_an_iterable_that_is_no_generator_is_iterated_too() -> None:
    assert [each async for each in InThreads([1, 2])] == [1, 2]
    await InThreads([1]).aclose()


async def test_one_that_was_not_advanced_is_closed_without_running() -> None:
    log = Log()
    source = log.numbers()
    await InThreads(source).aclose()
    assert log == []
    assert next(source, None) is None


async def test_one_that_is_suspended_is_closed_in_a_thread() -> None:
    threads: list[threading.Thread] = []

    def source() -> Iterator[int]:
        try:
            yield 1
        finally:
            threads.append(threading.current_thread())

    threaded = InThreads(source())
    await threaded.__anext__()
    await threaded.aclose()
    await threaded.aclose()
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_an_exception_can_be_raised_in_it() -> None:
    def source() -> Iterator[str]:
        try:
            yield "a"
        except LookupError:
            yield "b"

    threaded = InThreads(source())
    assert await threaded.__anext__() == "a"
    assert await threaded.athrow(LookupError()) == "b"
    await threaded.aclose()


async def test_a_cancellation_closes_it_and_is_raised_on() -> None:
    log = Log()
    threaded = InThreads(log.numbers())
    await threaded.__anext__()
    with pytest.raises(KeyboardInterrupt):
        await threaded.athrow(KeyboardInterrupt())
    assert log == ["open", "closed"]


async def test_cancelled_while_a_thread_works_it_lets_go_and_the_thread_closes_it() -> None:
    stop = threading.Event()
    begun = threading.Event()
    closed: list[threading.Thread] = []

    def source() -> Iterator[int]:
        try:
            begun.set()
            stop.wait()
            yield 1
        finally:
            closed.append(threading.current_thread())

    threaded = InThreads(source())
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_once, scope, begun)
            await threaded.__anext__()
    assert scope.cancelled_caught
    assert closed == []
    await threaded.aclose()  # waits for nothing: that thread does it
    assert GENERATORS.get().borrowed_tokens == 1
    stop.set()
    await until(lambda: closed)
    await until(lambda: GENERATORS.get().borrowed_tokens == 0)
    assert len(closed) == 1


async def test_what_it_raises_when_it_is_closed_late_is_logged(caplog) -> None:
    stop = threading.Event()
    begun = threading.Event()

    def source() -> Iterator[int]:
        try:
            begun.set()
            stop.wait()
            yield 1
        finally:
            raise LookupError("late")

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_once, scope, begun)
            await InThreads(source()).__anext__()
    stop.set()
    await until(lambda: caplog.records)
    assert caplog.records[0].name == "kui.error"
    assert "source" in caplog.records[0].message
    await until(lambda: GENERATORS.get().borrowed_tokens == 0)


async def test_quiet_generators_do_not_hold_handlers_up() -> None:
    stop = threading.Event()

    def quiet() -> Iterator[int]:
        stop.wait()
        yield 1

    async with anyio.create_task_group() as tasks:
        for _ in range(HANDLERS.threads):
            tasks.start_soon(InThreads(quiet()).__anext__)
        await until(lambda: GENERATORS.get().borrowed_tokens == HANDLERS.threads)
        assert await in_thread(lambda: "through") == "through"
        stop.set()


async def iterated(state: SimpleNamespace) -> None:
    state.log = Log()
    state.threaded = threaded = InThreads(state.log.numbers())
    try:
        async for _ in threaded:
            pass
    finally:
        with anyio.CancelScope(shield=True):
            await threaded.aclose()


@pytest.mark.parametrize(("anyio_backend", "how"), WAYS)
async def test_it_is_closed_once_wherever_it_is_cut(how) -> None:
    async def check(state: SimpleNamespace) -> None:
        await until(lambda: state.log in ([], ["open", "closed"]))
        await until(lambda: GENERATORS.get().borrowed_tokens == 0)

    assert await every_checkpoint(iterated, check, how=how) > 3
