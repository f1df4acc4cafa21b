"""What only asyncio can show: its own task groups and timeouts in handlers, its `task.cancel()`, uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import anyio
import pytest
import uvloop

from kui.asgi import Kui, StreamResponse, request
from kui.testing import AsyncTestClient
from tests.support.scopes import http_scope

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["selector", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    factory = asyncio.SelectorEventLoop if request.param == "selector" else uvloop.new_event_loop
    return "asyncio", {"loop_factory": factory}


async def test_a_handler_may_open_a_task_group_and_its_error_is_one() -> None:
    app = Kui()
    app.exception_handler(KeyError)(lambda exc: ("missing", 404))

    @app.router.http("/")
    async def handler() -> None:
        async def child() -> None:
            raise KeyError("child")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(child())
            await asyncio.Event().wait()

    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).status_code == 404


async def test_a_handlers_own_timeout_is_its_own() -> None:
    app = Kui()

    @app.router.http("/")
    async def handler() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "in time"
        return "never"

    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).text == "in time"


async def test_a_generators_own_timeout_is_its_own() -> None:
    async def generator() -> AsyncGenerator[str, None]:
        yield "before;"
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            yield "timeout;"
        yield "after"

    app = Kui()
    app.router.http("/")(lambda: StreamResponse(generator()))
    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).text == "before;timeout;after"


async def test_a_feed_may_open_a_task_group() -> None:
    async def feed(send: Callable[[Any], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                tasks.create_task(send(str(number)))

    app = Kui()
    app.router.http("/")(lambda: StreamResponse(feed))
    async with AsyncTestClient(app) as client:
        assert sorted((await client.get("/")).text) == ["0", "1", "2"]


async def test_a_native_cancellation_closes_what_the_request_has_entered() -> None:
    steps: list[str] = []
    app = Kui()

    async def closing() -> None:
        await asyncio.sleep(0)
        steps.append("closed")

    async def service() -> None:
        steps.append("background")

    @app.router.http("/")
    async def handler() -> None:
        request.exit_stack.push_async_callback(closing)
        request.background_tasks.append(service)
        steps.append("entered")
        await asyncio.Event().wait()

    async def never(*args: object) -> Any:
        await asyncio.Event().wait()

    task = asyncio.ensure_future(app(http_scope(), never, never))
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["entered", "closed"]
    assert app.in_flight == 0
