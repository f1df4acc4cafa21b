"""`cancel_on_disconnect`, as a middleware and as a block of a handler."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import anyio
import pytest

from kui.asgi import (
    ClientDisconnect,
    Kui,
    WebSocketDisconnect,
    cancel_on_disconnect,
    request,
    websocket,
)
from kui.testing import AsyncTestClient, Disconnected
from tests.support.clocks import anyio_backend  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio


class Log(list[str]):
    async def work(self) -> None:
        self.append("began")
        try:
            await anyio.sleep(10)
            self.append("ended")
        except anyio.get_cancelled_exc_class():
            self.append(f"cancelled after {anyio.current_time() - self.left:.2f} s")
            raise

    left = 0.0


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def app(log: Log) -> Kui:
    app = Kui()

    @app.router.http.get("/without")
    async def without():
        await log.work()
        return "done"

    @app.router.http.get("/route", middlewares=[cancel_on_disconnect])
    async def route():
        request.background_tasks.append(log.append, "in the background")
        await log.work()
        return "done"

    @app.router.http.get("/block")
    async def block():
        try:
            async with cancel_on_disconnect():
                await log.work()
        except ClientDisconnect:
            log.append("told")
            raise
        return "done"

    @app.router.http.get("/fails", middlewares=[cancel_on_disconnect])
    async def fails():
        await anyio.sleep(1)
        raise LookupError("mine")

    @app.exception_handler(LookupError)
    async def lookup(error):
        return str(error), 404

    @app.router.websocket("/socket")
    async def socket():
        await websocket.accept()
        try:
            async with cancel_on_disconnect():
                await log.work()
        except WebSocketDisconnect as error:
            log.append(f"told {error.code}")
            raise

    return app


@pytest.fixture
async def client(app: Kui) -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(app) as client:
        yield client


async def leave(client: AsyncTestClient, log: Log, path: str) -> None:
    """Ask for `path`, and leave after a second."""
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            with pytest.raises(Disconnected):
                await client.get(path)

        tasks.start_soon(ask)
        await anyio.sleep(1)
        log.left = anyio.current_time()
        client.disconnect()


@pytest.mark.parametrize("path", ["/without", "/route", "/block"])
async def test_who_stays_gets_the_answer(client, path) -> None:
    assert (await client.get(path)).text == "done"


async def test_without_it_a_handler_works_on(client, log) -> None:
    await leave(client, log, "/without")
    await anyio.sleep(20)
    assert log == ["began", "ended"]


async def test_as_a_middleware_it_cancels_the_handler_and_background_tasks_still_run(
    client, log, caplog
) -> None:
    await leave(client, log, "/route")
    await anyio.sleep(20)
    assert log == ["began", "cancelled after 0.00 s", "in the background"]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_as_a_block_it_cancels_the_block_and_says_so_at_its_end(client, log) -> None:
    await leave(client, log, "/block")
    await anyio.sleep(20)
    assert log == ["began", "cancelled after 0.00 s", "told"]


async def test_an_exception_of_the_handler_reaches_its_handler_as_itself(client) -> None:
    response = await client.get("/fails")
    assert (response.status_code, response.text) == (404, "mine")


async def test_in_the_list_of_the_app_it_counts_for_every_route(log) -> None:
    app = Kui(http_middlewares=[cancel_on_disconnect])

    @app.router.http.get("/")
    async def work():
        await log.work()
        return "done"

    async with AsyncTestClient(app) as client:
        await leave(client, log, "/")
        await anyio.sleep(20)
    assert log == ["began", "cancelled after 0.00 s"]


async def test_in_a_websocket_the_block_ends_with_the_connection(client, log) -> None:
    async with client.websocket("/socket") as ws:
        await anyio.sleep(1)
        log.left = anyio.current_time()
        await ws.close(4000, "bye")
    await anyio.sleep(20)
    assert log == ["began", "cancelled after 0.00 s", "told 4000"]


async def test_outside_of_a_connection_it_is_an_error() -> None:
    with pytest.raises(LookupError):
        cancel_on_disconnect()
