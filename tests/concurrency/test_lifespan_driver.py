"""The lifespan driver: what it tells of an app that starts, refuses, raises or is cancelled, on both loops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio
import pytest
from baize.typing import Receive, Scope, Send

from kui.concurrency.lifespan_driver import LifespanDriver, LifespanFailed

pytestmark = pytest.mark.anyio

Life: TypeAlias = Callable[[Receive, Send], Awaitable[None]]


@asynccontextmanager
async def driving(
    life: Life, crashes: list[Exception] | None = None
) -> AsyncIterator[LifespanDriver]:
    """The driver of an app, once that has started or ended."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await life(receive, send)

    driver = LifespanDriver(app, {}, {}, [].append if crashes is None else crashes.append)
    async with anyio.create_task_group() as group:
        group.start_soon(driver.run)
        await driver.started.wait()
        yield driver
        group.cancel_scope.cancel()


async def begin(receive: Receive, send: Send) -> None:
    assert await receive() == {"type": "lifespan.startup"}
    await send({"type": "lifespan.startup.complete"})


async def test_an_app_is_up_until_it_has_ended() -> None:
    async def life(receive: Receive, send: Send) -> None:
        await begin(receive, send)
        assert await receive() == {"type": "lifespan.shutdown"}
        await send({"type": "lifespan.shutdown.complete"})

    async with driving(life) as driver:
        assert driver.up and not driver.stopped.is_set()
        driver.ask_to_stop()
        driver.ask_to_stop()
        await driver.ended.wait()
        assert not driver.up and driver.stopped.is_set()
        assert driver.failure("startup") is driver.failure("shutdown") is None


@pytest.mark.parametrize("raises", [True, False])
async def test_a_start_up_that_failed_is_told_by_what_was_raised_or_else_sent(raises: bool) -> None:
    error = LookupError("no database")

    async def life(receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        if raises:
            raise error

    async with driving(life) as driver:
        await driver.ended.wait()
        assert driver.refusal("startup") == "no database" and driver.refusal("shutdown") is None
        failure = driver.failure("startup")
        assert failure is error if raises else isinstance(failure, LifespanFailed)
        assert str(failure).endswith("no database")


async def raises_at_once(receive: Receive, send: Send) -> None:
    raise LookupError("lifespan")


async def answers_as_to_a_request(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def returns(receive: Receive, send: Send) -> None:
    pass


@pytest.mark.parametrize("life", [raises_at_once, answers_as_to_a_request, returns])
async def test_an_app_without_a_lifespan_has_started_and_has_not_failed(life: Life) -> None:
    crashes: list[Exception] = []
    async with driving(life, crashes) as driver:
        assert driver.ended.is_set() and not driver.up
        assert driver.failure("startup") is driver.failure("shutdown") is None
    assert not crashes


async def test_an_app_that_raises_while_it_is_up_has_crashed() -> None:
    crashes: list[Exception] = []
    crash = anyio.Event()

    async def life(receive: Receive, send: Send) -> None:
        await begin(receive, send)
        await crash.wait()
        await send({"type": "http.response.start"})

    async with driving(life, crashes) as driver:
        assert driver.up and not crashes
        crash.set()
        await driver.ended.wait()
        assert crashes == [driver.error] and driver.failure("shutdown") is driver.error


async def test_what_is_raised_at_the_shutdown_is_a_failure_and_no_crash() -> None:
    crashes: list[Exception] = []

    async def life(receive: Receive, send: Send) -> None:
        await begin(receive, send)
        await receive()
        raise LookupError("cannot close")

    async with driving(life, crashes) as driver:
        driver.ask_to_stop()
        await driver.stopped.wait()
        assert isinstance(driver.failure("shutdown"), LookupError)
        assert driver.refusal("shutdown") is None
    assert not crashes


@pytest.mark.parametrize("starts", [True, False])
async def test_an_app_that_hangs_is_cancelled(starts: bool) -> None:
    hangs, cleaned = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if starts:
            await begin(receive, send)
        try:
            hangs.set()
            await anyio.sleep_forever()
        finally:
            cleaned.set()

    driver = LifespanDriver(app, {}, {})
    async with anyio.create_task_group() as group:
        group.start_soon(driver.run)
        await hangs.wait()
        assert driver.up == starts
        driver.cancel()
        await driver.ended.wait()
    assert cleaned.is_set() and not driver.up and driver.error is None


async def test_each_scope_has_the_state_and_extensions_of_its_own() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    state = {"database": "open"}
    await LifespanDriver(app, state, {"kui.server": None}).run()
    assert seen[0]["type"] == "lifespan" and seen[0]["state"] is state
    assert seen[0]["extensions"] == {"kui.server": None}
