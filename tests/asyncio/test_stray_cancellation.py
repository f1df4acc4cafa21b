"""A CancelledError that was not delivered to this task is a failure like any other: logged, and the next one runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from kui.asgi import (
    Kui,
    Mount,
    SendEventResponse,
    SocketView,
    StreamResponse,
    middleware,
    request,
    websocket,
)
from kui.concurrency import AwaitedTaskCancelled
from kui.testing import AsyncTestClient
from tests.support.scopes import http_scope

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def stray() -> None:
    """What a library does whose task was cancelled, and is awaited."""
    task = asyncio.ensure_future(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await task


class Life:
    """An app's lifespan, as a server that notes what it is told."""

    def __init__(self, app: Kui) -> None:
        self.told: list[str] = []
        self._app = app
        self._messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def run(self) -> None:
        with pytest.raises(AwaitedTaskCancelled):
            await self._app({"type": "lifespan", "extensions": {}}, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        return {"type": next(self._messages)}

    async def _send(self, message: Any) -> None:
        self.told.append(message["type"].removeprefix("lifespan."))


async def test_the_other_shutdown_functions_and_the_rest_of_the_lifespan_run() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Kui) -> AsyncIterator[None]:
        yield
        steps.append("lifespan")

    app = Kui(lifespan=lifespan, handle_signals=False)
    app.on_shutdown(lambda app: steps.append("first"))

    @app.on_shutdown
    async def second(app: Kui) -> None:
        await stray()

    life = Life(app)
    await life.run()
    assert steps == ["first", "lifespan"]
    assert life.told == ["startup.complete", "shutdown.failed"]


async def test_a_lifespan_that_fails_like_this_at_its_start_or_end_says_so() -> None:
    for before in (True, False):

        @asynccontextmanager
        async def lifespan(app: Kui, before: bool = before) -> AsyncIterator[None]:
            if before:
                await stray()
            yield
            await stray()

        life = Life(Kui(lifespan=lifespan, handle_signals=False))
        await life.run()
        assert life.told[-1] == ("startup.failed" if before else "shutdown.failed")


async def test_a_start_up_function_that_fails_like_this_fails_the_start_up() -> None:
    app = Kui(handle_signals=False)

    @app.on_startup
    async def start(app: Kui) -> None:
        await stray()

    life = Life(app)
    await life.run()
    assert life.told == ["startup.failed"]


async def test_a_mounted_apps_shutdown_is_seen_to_fail() -> None:
    mounted = Kui(handle_signals=False)

    @mounted.on_shutdown
    async def stop(app: Kui) -> None:
        await stray()

    life = Life(Kui(routes=[Mount("/m", mounted)], handle_signals=False))
    await life.run()
    assert life.told[-1] == "shutdown.failed"


async def test_a_service_that_ends_like_this_has_crashed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Kui()
    crashed = anyio.Event()
    app.lifespan.service_crashed = lambda error: crashed.set()  # type: ignore[method-assign]
    with pytest.raises(AwaitedTaskCancelled):
        async with AsyncTestClient(app):
            app.task_group.start_soon(stray)
            with anyio.fail_after(5):
                await crashed.wait()
    assert "A service crashed" in caplog.text


async def test_later_background_tasks_run(caplog: pytest.LogCaptureFixture) -> None:
    app = Kui()
    steps: list[str] = []

    @app.router.http("/")
    async def handler() -> str:
        request.background_tasks.append(stray)
        request.background_tasks.append(lambda: steps.append("ran"))
        return "hello"

    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).text == "hello"
    assert steps == ["ran"]
    assert "A background task failed" in caplog.text


async def chunks() -> AsyncIterator[str]:
    yield "one"
    await stray()
    yield "two"


async def feed(send: Callable[[str], Awaitable[None]]) -> None:
    await send("one")
    await stray()


@pytest.mark.parametrize(
    "make",
    [
        lambda: StreamResponse(chunks()),
        lambda: StreamResponse(feed),
        lambda: SendEventResponse({"data": each} async for each in chunks()),
    ],
    ids=["generator", "feed", "events"],
)
@pytest.mark.parametrize("around", [False, True], ids=["", "middleware"])
async def test_a_stream_is_cut_with_an_error_that_the_server_logs(
    make: Callable[[], Any], around: bool
) -> None:
    @middleware
    async def passing(request: Any, next_call: Any) -> Any:
        return await next_call(request)

    app = Kui(asgi_middlewares=[passing] if around else [])

    @app.router.http("/")
    async def handler() -> Any:
        return make()

    async with AsyncTestClient(app) as client:
        with pytest.raises(AwaitedTaskCancelled):
            await client.get("/")


async def test_a_handler_that_ends_like_this_is_answered_with_500() -> None:
    app = Kui()
    app.exception_handler(AwaitedTaskCancelled)(lambda exc: ("sorry", 503))

    @app.router.http("/")
    async def handler() -> None:
        await stray()

    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).status_code == 503


async def test_an_exception_handler_that_ends_like_this_is_answered_with_500() -> None:
    app = Kui()

    @app.exception_handler(KeyError)
    async def explain(exc: KeyError) -> None:
        await stray()

    @app.router.http("/")
    async def handler() -> None:
        raise KeyError

    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        assert (await client.get("/")).status_code == 500


@pytest.mark.parametrize("kind", ["function", "view"])
async def test_a_websocket_is_closed_with_1011(kind: str) -> None:
    app = Kui()
    codes: list[int] = []

    async def function() -> None:
        await websocket.accept()
        await stray()

    class View(SocketView):
        async def on_receive(self, data: Any) -> None:
            await stray()

        async def on_disconnect(self, close_code: int) -> None:
            codes.append(close_code)

    app.router.websocket("/")(function if kind == "function" else View)
    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        async with client.websocket("/") as socket:
            await socket.send_text("x")
            with pytest.raises(Exception) as caught:
                await socket.receive_text()
    assert getattr(caught.value, "code", None) == 1011
    assert codes == ([1011] if kind == "view" else [])


async def test_a_cancellation_of_the_task_itself_passes(caplog: pytest.LogCaptureFixture) -> None:
    app = Kui()
    waits = anyio.Event()

    @app.router.http("/")
    async def handler() -> None:
        waits.set()
        await asyncio.sleep(60)

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    task = asyncio.ensure_future(app(http_scope(), receive, send))
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
