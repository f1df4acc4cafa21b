"""A graph of three dependencies, one of them a task group, is cut at its 1st, 2nd, ... checkpoint: all is left.

By a cancel scope, by asyncio's own `task.cancel()`, by the client leaving, and under each middleware that cancels.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from kui.asgi import (
    Depends,
    HttpRoute,
    Kui,
    StreamResponse,
    cancel_on_disconnect,
    limit_concurrency,
    request_var,
    task_group,
    timeout,
)
from kui.concurrency.cleanup import GRACE
from kui.testing import every_checkpoint
from tests.support.clocks import anyio_backend  # noqa: F401 - a fixture
from tests.support.leaving_client import CUTS, LeavingClient, leave

pytestmark = pytest.mark.anyio

State = SimpleNamespace
OPEN: list[str] = []


async def session() -> AsyncIterator[str]:
    await anyio.lowlevel.checkpoint()
    OPEN.append("session")
    try:
        yield "session"
    finally:
        # Closing takes more than one await, as a real one does, and is never cut.
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        OPEN.remove("session")


async def own_group(session: Annotated[str, Depends(session)]) -> AsyncIterator[TaskGroup]:
    OPEN.append("own group")
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
            tasks.cancel_scope.cancel()
    finally:
        await anyio.lowlevel.checkpoint()
        OPEN.remove("own group")


async def inner(own: Annotated[TaskGroup, Depends(own_group)]) -> AsyncIterator[str]:
    """It is left within the other one's task group, whose children may have been cancelled."""
    own.start_soon(forever)
    OPEN.append("inner")
    try:
        yield "inner"
    finally:
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        OPEN.remove("inner")


async def child() -> None:
    OPEN.append("child")
    try:
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
    finally:
        OPEN.remove("child")


async def forever() -> None:
    OPEN.append("forever")
    try:
        await anyio.sleep_forever()
    finally:
        OPEN.remove("forever")


Group = Annotated[TaskGroup, Depends(task_group)]


async def plain(
    own: Annotated[TaskGroup, Depends(own_group)],
    tasks: Group,
    session: Annotated[str, Depends(session)],
) -> str:
    own.start_soon(forever)
    tasks.start_soon(child)
    await anyio.lowlevel.checkpoint()
    return session


async def failing(session: Annotated[str, Depends(session)], tasks: Group) -> str:
    tasks.start_soon(forever)
    await anyio.lowlevel.checkpoint()
    raise KeyError("handler")


async def sent(
    session: Annotated[str, Depends(session, until="sent")],
    tasks: Annotated[TaskGroup, Depends(task_group, until="sent")],
) -> Any:
    async def stream() -> AsyncIterator[str]:
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
            yield "chunk"

    tasks.start_soon(forever)
    await anyio.lowlevel.checkpoint()
    return StreamResponse(stream())


async def events(own: Annotated[TaskGroup, Depends(own_group)], tasks: Group) -> AsyncIterator[str]:
    own.start_soon(forever)
    tasks.start_soon(forever)
    yield "a"
    await anyio.lowlevel.checkpoint()
    yield "b"


async def within(inner: Annotated[str, Depends(inner)]) -> str:
    await anyio.lowlevel.checkpoint()
    await anyio.lowlevel.checkpoint()
    return inner


HANDLERS = [plain, within, failing, sent, events]
MIDDLEWARES: dict[str, list[Any]] = {
    "alone": [],
    "cancel_on_disconnect": [cancel_on_disconnect],
    "timeout": [timeout(100)],
    "timeout of the body": [timeout(100, body=True)],
    "limit_concurrency": [limit_concurrency(1)],
}


@pytest.mark.parametrize("middlewares", MIDDLEWARES)
@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
@pytest.mark.parametrize(("anyio_backend", "how"), CUTS)
async def test_a_graph_may_be_cut_anywhere(
    handler: Any, how: Any, middlewares: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Kui(routes=HttpRoute("/", handler, middlewares=MIDDLEWARES[middlewares]))

    async def scenario(state: State) -> None:
        OPEN.clear()
        state.client = LeavingClient()
        try:
            await app(state.client.scope, state.client.receive, state.client.send)
        except KeyError as error:
            assert handler is failing and error.args == ("handler",)

    def check(state: State) -> None:
        # A native cancellation cuts what it meets, also a cleanup; what it did not meet is whole.
        assert OPEN == [] or (how == "native" and len(OPEN) == 1), OPEN
        assert app.in_flight == 0
        assert request_var.get(None) is None
        kinds = [message["type"] for message in state.client.sent]
        assert kinds.count("http.response.start") <= 1

    assert await every_checkpoint(scenario, check, how=how) > 3
    assert [record.getMessage() for record in caplog.records if how != leave] == []


# ---- time


@asynccontextmanager
async def wait_for_it(seconds: float, log: list[float]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        began = anyio.current_time()
        try:
            await anyio.sleep(seconds)
        finally:
            log.append(anyio.current_time() - began)


def app_of(exits: list[Any], work: float, **options: Any) -> Kui:
    first, second = exits

    async def show(
        first: Annotated[None, Depends(first)], second: Annotated[None, Depends(second)]
    ) -> str:
        await anyio.sleep(work)
        return "a"

    return Kui(routes=HttpRoute("/", show, **options))


async def test_a_cleanup_has_five_seconds_from_when_it_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[float] = []

    async def first() -> AsyncIterator[None]:
        async with wait_for_it(3, log):
            yield

    async def second() -> AsyncIterator[None]:
        async with wait_for_it(100, log):
            yield

    app = app_of([first, second], 10, middlewares=[timeout(1)])
    client = LeavingClient()
    await app(client.scope, client.receive, client.send)
    assert client.sent[0]["status"] == 504
    assert log == [pytest.approx(GRACE), 0]  # the second had all of the time
    assert "the dependencies of" in caplog.text and "took longer than 5 s" in caplog.text


async def test_a_cleanup_that_is_cancelled_on_its_way_has_five_seconds_from_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[float] = []

    async def first() -> AsyncIterator[None]:
        yield

    async def second() -> AsyncIterator[None]:
        async with wait_for_it(math.inf, log):
            yield

    app = app_of([first, second], 0, middlewares=[timeout(20)])
    client = LeavingClient()
    await app(client.scope, client.receive, client.send)
    assert client.sent[0]["status"] == 504
    assert log == [pytest.approx(20 + GRACE)]
    assert "took longer than 5 s" in caplog.text


async def test_a_cleanup_that_is_not_cancelled_takes_its_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[float] = []

    async def first() -> AsyncIterator[None]:
        async with wait_for_it(60, log):
            yield

    async def second() -> AsyncIterator[None]:
        async with wait_for_it(60, log):
            yield

    app = app_of([first, second], 0)
    client = LeavingClient()
    await app(client.scope, client.receive, client.send)
    assert client.sent[0]["status"] == 200
    assert log == [pytest.approx(60), pytest.approx(60)]
    assert caplog.text == ""


async def test_what_a_cleanup_needs_of_an_outer_group_works_on_while_it_lasts() -> None:
    log: list[str] = []

    async def pump() -> AsyncIterator[Any]:
        send, receive = anyio.create_memory_object_stream[anyio.Event]()

        async def answer() -> None:
            async for asked in receive:
                await anyio.sleep(2)
                asked.set()

        with send, receive:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(answer)
                yield send
                tasks.cancel_scope.cancel()

    async def session(pump: Annotated[Any, Depends(pump)]) -> AsyncIterator[None]:
        yield
        asked = anyio.Event()
        await pump.send(asked)
        await asked.wait()  # the timeout is over meanwhile
        log.append("committed")

    async def show(session: Annotated[None, Depends(session)]) -> str:
        return "a"

    client = LeavingClient()
    app = Kui(routes=HttpRoute("/", show, middlewares=[timeout(1)]))
    await app(client.scope, client.receive, client.send)
    assert log == ["committed"]
    assert client.sent[0]["status"] == 504
