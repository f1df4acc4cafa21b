"""`scope="app"`, and other dependencies for the length of a test."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import pytest

from kui.asgi import Depends, HttpRoute, Kui, Query, SocketRoute, websocket
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio


async def test_a_dependency_of_the_app_is_entered_once_in_the_order_of_need() -> None:
    log: list[str] = []

    async def settings() -> str:
        log.append("settings")
        return "settings"

    async def pool(
        settings: Annotated[str, Depends(settings, scope="app")],
    ) -> AsyncIterator[list[str]]:
        log.append("+pool")
        yield [settings]
        log.append("-pool")

    Pool = Annotated[list[str], Depends(pool, scope="app")]

    async def connection(pool: Pool) -> AsyncIterator[str]:
        yield f"connection of {pool[0]}"

    async def show(connection: Annotated[str, Depends(connection)], pool: Pool) -> Any:
        return [connection, id(pool)]

    async def chat(pool: Pool) -> None:
        await websocket.accept()
        await websocket.send_json(id(pool))

    app = Kui(routes=[HttpRoute("/", show), SocketRoute("/", chat)])

    async def service() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("service ended")

    @app.on_startup
    def start(app: Kui) -> None:
        log.append("on_startup")
        app.task_group.start_soon(service)

    app.on_shutdown(lambda app: log.append("on_shutdown"))
    for _ in range(2):
        log.clear()
        async with AsyncTestClient(app) as client:
            assert log == ["settings", "+pool", "on_startup"]
            one = (await client.get("/")).json()
            assert one == (await client.get("/")).json()
            assert one[0] == "connection of settings"
            async with client.websocket("/") as session:
                assert await session.receive_json() == one[1]
        assert log[3:] == ["on_shutdown", "service ended", "-pool"]


async def test_one_that_cannot_be_entered_fails_the_start_and_leaves_the_others() -> None:
    log = []

    async def first() -> AsyncIterator[str]:
        yield "first"
        log.append("-first")

    async def second(first: Annotated[str, Depends(first, scope="app")]) -> AsyncIterator[str]:
        raise OSError("no database")
        yield

    async def show(second: Annotated[str, Depends(second, scope="app")]) -> str:
        return second

    with pytest.raises(OSError, match="no database"):
        async with AsyncTestClient(Kui(routes=HttpRoute("/", show))):
            pass
    assert log == []  # it saw the exception, as a context manager does


async def test_a_child_of_its_group_that_fails_is_a_crashed_service(caplog: Any) -> None:
    fail = anyio.Event()

    async def child() -> None:
        await fail.wait()
        raise OSError("the feed is gone")

    async def feed() -> AsyncIterator[str]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
            yield "feed"
            tasks.cancel_scope.cancel()

    async def show(feed: Annotated[str, Depends(feed, scope="app")]) -> str:
        return feed

    app = Kui(routes=HttpRoute("/", show))
    with pytest.raises(BaseException) as raised, caplog.at_level(logging.ERROR, "kui.error"):
        async with AsyncTestClient(app) as client:
            assert (await client.get("/")).text == "feed"
            fail.set()
            await app.wait_for_exit()
            assert (await client.get("/")).status_code == 503
    assert "the feed is gone" in caplog.text
    assert raised


async def test_without_a_lifespan_it_is_an_error_that_says_so() -> None:
    async def pool() -> str:
        return "pool"

    async def show(pool: Annotated[str, Depends(pool, scope="app")]) -> str:
        return pool

    app = Kui(routes=HttpRoute("/", show))
    with pytest.raises(RuntimeError, match="is entered by the app's lifespan, and there is none"):
        async with AsyncTestClient(app, lifespan=False) as client:
            await client.get("/")


# ---- overrides


async def real(a: Annotated[int, Query()]) -> str:
    return f"real {a}"


async def other() -> str:
    return "other"


async def show(value: Annotated[str, Depends(real)], other: Annotated[str, Depends(other)]) -> Any:
    return [value, other]


async def test_a_dependency_is_replaced_with_what_it_declares() -> None:
    app = Kui(routes=HttpRoute("/", show))
    left = []

    async def fake(b: Annotated[int, Query()] = 0) -> AsyncIterator[str]:
        yield f"fake {b}"
        left.append(b)

    async with AsyncTestClient(app) as client:
        with app.overrides(dependencies={real: fake}):
            assert (await client.get("/?b=2")).json() == ["fake 2", "other"]
            assert left == [2]
            with app.overrides(dependencies={other: lambda: "inner"}):
                assert (await client.get("/")).json() == ["fake 0", "inner"]
            assert (await client.get("/")).json() == ["fake 0", "other"]
        assert (await client.get("/?a=1")).json() == ["real 1", "other"]
        assert (await client.get("/")).status_code == 422


async def test_what_cannot_be_overridden_changes_nothing() -> None:
    app = Kui(routes=HttpRoute("/", show))

    async def broken(a: int) -> str:
        return "never"

    with pytest.raises(LookupError, match="no route depends on"):
        with app.overrides(dependencies={test_what_cannot_be_overridden_changes_nothing: other}):
            pass
    with pytest.raises(TypeError, match="needs 'a', and it is not in the path"):
        with app.overrides(dependencies={real: broken}):
            pass
    async with AsyncTestClient(app) as client:
        assert (await client.get("/?a=1")).json() == ["real 1", "other"]


async def test_one_of_the_app_is_replaced_before_it_starts() -> None:
    async def pool() -> str:
        return "real"

    async def use(pool: Annotated[str, Depends(pool, scope="app")]) -> str:
        return pool

    app = Kui(routes=HttpRoute("/", use))
    with app.overrides(dependencies={pool: lambda: "fake"}):
        async with AsyncTestClient(app) as client:
            assert (await client.get("/")).text == "fake"
    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).text == "real"
        with pytest.raises(
            RuntimeError, match="was entered when the app started: override it before"
        ):
            with app.overrides(dependencies={pool: lambda: "late"}):
                pass
