"""What lasts as long as a request: the exit stack, then the background tasks, whatever became of the request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from baize.typing import Message

from kui.asgi import ClientDisconnect, HTTPException, Kui, request
from kui.lifetime import BackgroundTasks
from tests.support.scopes import http_scope

pytestmark = pytest.mark.anyio

Outcome = Callable[[], Awaitable[object]]
SCOPE = http_scope(method="POST", headers=[(b"content-length", b"3")])


async def call(app: Kui, steps: list[str], *messages: Message) -> None:
    """One request, without anything around the app; what it sends is among the steps."""
    waiting = [*messages]

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        steps.append(message["type"].rpartition(".")[2])

    await app(dict(SCOPE), receive, send)


def app_that(outcome: Outcome, steps: list[str]) -> Kui:
    """An app whose handler appends tasks, and a context manager, before the outcome."""
    app = Kui()

    @asynccontextmanager
    async def entered() -> Any:
        try:
            yield
        finally:
            await anyio.lowlevel.checkpoint()
            steps.append("left")

    async def asynchronous(text: str, *, end: str) -> None:
        await anyio.lowlevel.checkpoint()
        steps.append(text + end + request.url.path)

    def synchronous() -> None:
        here = threading.current_thread() is threading.main_thread()
        steps.append(f"{'in the loop' if here else 'in a thread'} {request.url.path}")

    @app.router.http.post("/")
    async def handler() -> object:
        await request.exit_stack.enter_async_context(entered())
        request.background_tasks.append(asynchronous, "async", end="!")
        request.background_tasks.append(synchronous)
        assert len(request.background_tasks) == 2
        return await outcome()

    return app


async def answer() -> str:
    return "answer"


async def answer_as_events() -> object:
    async def events() -> Any:
        yield "one"

    return events()


async def refuse() -> None:
    raise HTTPException(409)


async def fail() -> None:
    raise ValueError("the handler's")


async def read() -> bytes:
    body: bytes = await request.body
    return body


BODY: Message = {"type": "http.request", "body": b"abc", "more_body": False}
GONE: Message = {"type": "http.disconnect"}
AFTERWARDS = ["left", "async!/", "in a thread /"]


@pytest.mark.parametrize("outcome", [answer, refuse, read])
async def test_they_come_after_the_answer_and_in_order(outcome: Outcome) -> None:
    steps: list[str] = []
    await call(app_that(outcome, steps), steps, BODY)
    assert steps == ["start", "body", *AFTERWARDS]


async def test_a_task_is_a_function_of_any_kind_or_an_object() -> None:
    steps: list[str] = []

    async def asynchronous() -> None:
        await anyio.lowlevel.checkpoint()
        steps.append("done")

    class Asynchronous:
        async def __call__(self) -> None:
            await asynchronous()

    tasks = BackgroundTasks()
    for task in (
        asynchronous,
        Asynchronous(),
        lambda: asynchronous(),
        lambda: steps.append("done"),
    ):
        tasks.append(task)
    await tasks.run()
    assert steps == ["done"] * 4


async def test_they_come_after_the_last_event_of_a_stream() -> None:
    steps: list[str] = []
    await call(app_that(answer_as_events, steps), steps, BODY)
    assert steps[0] == "start"
    assert steps[-4:] == ["body", *AFTERWARDS]


async def test_they_come_before_a_failure_is_raised_on() -> None:
    steps: list[str] = []
    with pytest.raises(ValueError, match="the handler's"):
        await call(app_that(fail, steps), steps, BODY)
    assert steps == ["start", "body", *AFTERWARDS]


async def test_they_come_where_the_client_has_left_without_an_answer() -> None:
    steps: list[str] = []
    await call(app_that(read, steps), steps, GONE)
    assert steps == AFTERWARDS


async def test_a_cancellation_from_outside_closes_what_is_open_and_runs_no_task() -> None:
    steps: list[str] = []
    with anyio.CancelScope() as scope:

        async def cancelled() -> str:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
            return "never"

        await call(app_that(cancelled, steps), steps, BODY)
    assert scope.cancelled_caught
    assert steps == ["left"]


async def test_a_cancellation_ends_the_tasks_where_they_are() -> None:
    steps: list[str] = []
    app = Kui()
    with anyio.CancelScope() as scope:

        async def interrupted() -> None:
            steps.append("begins")
            scope.cancel()
            await anyio.lowlevel.checkpoint()
            steps.append("never")

        @app.router.http("/")
        async def handler() -> str:
            request.background_tasks.append(interrupted)
            request.background_tasks.append(steps.append, "never")
            return "answer"

        await call(app, steps, BODY)
    assert scope.cancelled_caught
    assert steps == ["start", "body", "begins"]


async def test_a_context_manager_that_fails_keeps_no_task_from_running() -> None:
    steps: list[str] = []

    async def outcome() -> str:
        def fails() -> None:
            raise OSError("cannot be closed")

        request.exit_stack.callback(fails)
        return "answer"

    with pytest.raises(OSError, match="cannot be closed"):
        await call(app_that(outcome, steps), steps, BODY)
    assert steps == ["start", "body", *AFTERWARDS]


async def test_a_task_may_append_another_and_one_that_fails_stops_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps: list[str] = []
    tasks = BackgroundTasks()

    async def fails() -> None:
        tasks.append(steps.append, "appended")
        raise ClientDisconnect("of another client")

    tasks.append(fails)
    tasks.append(steps.append, "second")
    with caplog.at_level(logging.ERROR, "kui.error"):
        await tasks.run()
        await tasks.run()
    assert steps == ["second", "appended"]
    (record,) = caplog.records
    assert record.name == "kui.error"
    assert "fails" in record.message


def test_a_coroutine_is_no_task() -> None:
    coroutine = answer()
    with pytest.raises(TypeError, match="a background task is a function and its arguments, not"):
        BackgroundTasks().append(coroutine)  # type: ignore[arg-type]  # the mistake
    coroutine.close()
