"""What the kit and a Kui app know of each other: the shutdown, and a service that crashes."""

from __future__ import annotations

import logging

import anyio
import pytest

from kui.asgi import HttpRoute, Kui, request
from kui.testing import AsyncTestClient, ContractError, TestClient

pytestmark = pytest.mark.anyio


async def hello() -> str:
    return "hello"


async def test_a_service_that_crashes_fails_the_test_and_not_the_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    crash = anyio.Event()

    async def service() -> None:
        await crash.wait()
        raise ConnectionResetError("lost")

    async def start(app: Kui) -> None:
        app.task_group.start_soon(service)

    app = Kui(on_startup=[start], routes=[HttpRoute("/", hello)])
    with caplog.at_level(logging.CRITICAL, "kui.error"):
        with pytest.raises(ConnectionResetError, match="lost"):
            async with AsyncTestClient(app) as client:
                assert (await client.get("/")).text == "hello"
                crash.set()
                await anyio.wait_all_tasks_blocked()


async def test_the_app_learns_of_the_shutdown_at_once() -> None:
    waiting, seen = anyio.Event(), []

    async def wait() -> str:
        waiting.set()
        await app.wait_for_exit()
        seen.append(app.should_exit)
        return "bye"

    app = Kui(routes=[HttpRoute("/", wait)])

    async def get() -> None:
        assert (await client.get("/")).text == "bye"

    async with AsyncTestClient(app) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(get)
        await waiting.wait()
        client.begin_shutdown()
    assert seen == [True]


async def test_a_handler_is_not_cut_when_its_client_leaves() -> None:
    started, left, done = anyio.Event(), anyio.Event(), []

    async def work() -> str:
        started.set()
        await left.wait()
        done.append(await request.is_disconnected())
        return "done"

    async with AsyncTestClient(Kui(routes=[HttpRoute("/", work)])) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "/")
            await started.wait()
            tasks.cancel_scope.cancel()
        left.set()
        await client.wait_idle()
    assert done == [True]


async def test_an_asgi_app_around_it_is_held_to_the_contract() -> None:
    inner = Kui(routes=[HttpRoute("/", hello)])

    async def shouts(scope, receive, send):  # type: ignore[no-untyped-def]  # as users write them
        async def louder(message):  # type: ignore[no-untyped-def]
            if message["type"] == "http.response.body":
                message = {**message, "body": message["body"].upper() + b"!"}
            await send(message)

        await inner(scope, receive, louder)

    async with AsyncTestClient(shouts) as client:
        with pytest.raises(ContractError, match="content-length is 5, the body has 6"):
            await client.get("/")


def test_the_shutdown_is_told_from_a_test_that_is_not_async(anyio_backend: str) -> None:
    app = Kui(routes=[HttpRoute("/", hello)])
    with TestClient(app, backend=anyio_backend) as client:
        assert client.get("/").text == "hello"
        client.begin_shutdown()
        assert app.should_exit
