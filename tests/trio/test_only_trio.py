"""What only trio can show: its own nurseries and timeouts in handlers, its clock, its Cancelled."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from kui.asgi import Kui, SendEventResponse, StreamResponse, request
from kui.testing import AsyncTestClient
from tests.support.scopes import http_scope

pytestmark = pytest.mark.trio


async def test_an_hour_of_pings_takes_no_time(autojump_clock: trio.testing.MockClock) -> None:
    async def quiet() -> AsyncGenerator[str, None]:
        yield "first"
        await trio.sleep(3600)
        yield "last"

    app = Kui()
    app.router.http("/")(lambda: SendEventResponse(quiet(), ping_interval=10))
    async with AsyncTestClient(app, deadline=None, timeout=None) as client:
        async with client.events("/", comments=True) as events:
            seen = [event async for event in events]
    pings = [event for event in seen if event.comment]
    assert [event.data for event in seen if not event.comment] == ["first", "last"]
    assert 350 <= len(pings) <= 360


async def test_a_handler_may_open_a_nursery_and_its_error_is_one() -> None:
    app = Kui()
    app.exception_handler(KeyError)(lambda exc: ("missing", 404))

    @app.router.http("/")
    async def handler() -> None:
        async def child() -> None:
            raise KeyError("child")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await trio.sleep_forever()

    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).status_code == 404


async def test_a_handlers_own_timeout_is_its_own(autojump_clock: trio.testing.MockClock) -> None:
    app = Kui()

    @app.router.http("/")
    async def handler() -> str:
        with trio.move_on_after(60):
            await trio.sleep_forever()
        return "in time"

    async with AsyncTestClient(app, deadline=None, timeout=None) as client:
        assert (await client.get("/")).text == "in time"


async def test_a_feed_may_open_a_nursery() -> None:
    async def feed(send: Callable[[Any], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(send, str(number))

    app = Kui()
    app.router.http("/")(lambda: StreamResponse(feed))
    async with AsyncTestClient(app) as client:
        assert sorted((await client.get("/")).text) == ["0", "1", "2"]


async def test_a_cancellation_from_outside_leaves_the_app_as_it_is() -> None:
    seen: list[type[BaseException]] = []
    app = Kui()
    app.exception_handler(Exception)(lambda exc: "never")

    @app.router.http("/")
    async def handler() -> None:
        try:
            await trio.sleep_forever()
        except BaseException as exc:
            seen.append(type(exc))
            raise
        finally:
            request.exit_stack.callback(seen.append, trio.Cancelled)

    async def never(*args: object) -> Any:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, http_scope(), never, never)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == [trio.Cancelled, trio.Cancelled]
    assert app.in_flight == 0


async def test_a_service_lives_in_a_nursery_across_the_lifespan(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def life(app: Kui) -> AsyncGenerator[None, None]:
        app.state.ticks = 0

        async def tick() -> None:
            while True:
                await trio.sleep(1)
                app.state.ticks += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            yield
            nursery.cancel_scope.cancel()

    app = Kui(lifespan=life)
    async with AsyncTestClient(app, deadline=None):
        await trio.sleep(10.5)
        assert app.state.ticks == 10
