"""The app's life, driven message by message as a server does it, on both loops."""

from __future__ import annotations

import contextvars
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from baize.typing import Message

from kui.lifespan import SERVER, Lifespan

pytestmark = pytest.mark.anyio


class App:
    """What a Lifespan needs of the app; `life` is short for what Kui keeps to itself."""

    def __init__(self, **options: Any) -> None:
        self.in_flight = 0
        self.log: list[str] = []
        self.life = Lifespan(self, **options)  # type: ignore[arg-type] # it only counts requests

    @property
    def task_group(self) -> Any:
        return self.life.services


class Server:
    """The server's side: `async with Server(app)` starts the app up and shuts it down."""

    def __init__(self, app: App, *, knows_kui: bool = True) -> None:
        self.app = app
        self.sent: list[Message] = []
        self.crashes: list[Exception] = []
        self.exits: list[Callable[[], None]] = []
        self.crashed = anyio.Event()
        self.ended = anyio.Event()
        self.error: Exception | None = None
        self._asked = anyio.Event()
        self._answered = anyio.Event()
        self._first = True
        self._extensions: dict[str, Any] = {SERVER: self} if knows_kui else {}
        self.tasks: anyio.abc.TaskGroup = anyio.create_task_group()

    def on_exit(self, callback: Callable[[], None]) -> None:
        self.exits.append(callback)

    def service_crashed(self, error: Exception) -> None:
        self.crashes.append(error)
        self.crashed.set()

    @property
    def types(self) -> list[str]:
        return [message["type"].removeprefix("lifespan.") for message in self.sent]

    async def __aenter__(self) -> Server:
        await self.tasks.__aenter__()
        self.tasks.start_soon(self._run)
        await self._answered.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self.shut_down()
        return await self.tasks.__aexit__(kind, error, trace)

    def shut_down(self) -> None:
        self._asked.set()

    def cancel(self) -> None:
        self.tasks.cancel_scope.cancel()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "extensions": self._extensions}
        try:
            await self.app.life(scope, self._receive, self._send)
        except Exception as error:
            self.error = error
        finally:
            self._answered.set()
            self.ended.set()

    async def _receive(self) -> Message:
        await anyio.lowlevel.checkpoint()
        if self._first:
            self._first = False
            return {"type": "lifespan.startup"}
        await self._asked.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        self.sent.append(message)
        self._answered.set()


@pytest.fixture
def errors() -> Iterator[list[logging.LogRecord]]:
    """What `kui.error` has logged."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign] # a handler in one line
    logger = logging.getLogger("kui.error")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def note(text: str) -> Callable[[App], None]:
    return lambda app: app.log.append(text)


def async_note(text: str) -> Callable[[App], Any]:
    async def callback(app: App) -> None:
        await anyio.lowlevel.checkpoint()
        app.log.append(text)

    return callback


async def test_start_up_runs_in_order_and_shutdown_in_reverse() -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        app.log.append("opened")
        yield
        app.log.append("closed")

    app = App(
        on_startup=[note("first up"), async_note("second up")],
        on_shutdown=[note("first down"), async_note("second down")],
        lifespan=lifespan,
    )
    async with Server(app) as server:
        assert server.types == ["startup.complete"]
        assert app.log == ["opened", "first up", "second up"]
        del app.log[:]
    assert app.log == ["second down", "first down", "closed"]
    assert server.types == ["startup.complete", "shutdown.complete"]
    assert server.error is None


class Resource:
    """Writes into a list when it is entered and left."""

    def __init__(self, log: list[str], name: str, error: Exception | None = None) -> None:
        self.log = log
        self.name = name
        self.error = error

    async def __aenter__(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        self.log.append(f"{self.name} entered")

    async def __aexit__(self, *error: object) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append(f"{self.name} left")


async def test_resources_are_entered_in_order_around_lifespan() -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        app.log.append("opened")
        yield
        app.log.append("closed")

    log: list[str] = []
    resources = [Resource(log, "pool"), Resource(log, "channels")]
    app = App(lifespan=lifespan, resources=resources, on_shutdown=[note("down")])
    app.log = log
    for _ in range(2):
        async with Server(app) as server:
            assert server.types == ["startup.complete"]
            assert log == ["pool entered", "channels entered", "opened"]
            del log[:]
        assert log == ["down", "closed", "channels left", "pool left"]
        assert server.error is None
        del log[:]


async def test_a_resource_that_cannot_be_entered_fails_the_start_up() -> None:
    log: list[str] = []
    broken = Resource(log, "channels", LookupError("no store"))
    app = App(resources=[Resource(log, "pool"), broken, Resource(log, "never")])
    async with Server(app) as server:
        await server.ended.wait()
    assert server.types == ["startup.failed"]
    assert isinstance(server.error, LookupError)
    assert log == ["pool entered", "pool left"]


async def test_callbacks_are_registered_by_decorator_too() -> None:
    app = App()

    @app.life.on_startup
    async def up(app: Any) -> None:
        app.log.append("up")

    @app.life.on_shutdown
    def down(app: Any) -> None:
        app.log.append("down")

    async with Server(app):
        pass
    assert app.log == ["up", "down"]
    assert callable(up) and callable(down)


async def test_a_context_manager_is_a_lifespan() -> None:
    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        app.log.append("opened")
        yield
        app.log.append("closed")

    app = App(lifespan=lifespan)
    async with Server(app):
        pass
    assert app.log == ["opened", "closed"]


async def test_what_is_no_lifespan_is_refused_at_start_up() -> None:
    async with Server(App(lifespan=lambda app: 7)) as server:
        assert server.types == ["startup.failed"]
    assert "it returned 7" in server.sent[0]["message"]


async def test_a_task_group_may_be_open_across_the_yield() -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            await group.start(serve, app)
            yield
            group.cancel_scope.cancel()

    async def serve(app: App, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        try:
            task_status.started()
            await anyio.sleep_forever()
        finally:
            app.log.append("cancelled")

    app = App(lifespan=lifespan)
    async with Server(app) as server:
        assert app.log == []
    assert app.log == ["cancelled"]
    assert server.types == ["startup.complete", "shutdown.complete"]


async def test_a_failed_start_up_is_told_with_its_traceback_and_raised(
    errors: list[logging.LogRecord],
) -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        try:
            yield
        finally:
            app.log.append("closed")

    def fail(app: App) -> None:
        raise LookupError("no database")

    app = App(lifespan=lifespan, on_startup=[fail], on_shutdown=[note("down")])
    async with Server(app) as server:
        assert server.types == ["startup.failed"]
    message = server.sent[0]["message"]
    assert message.startswith("Traceback") and message.endswith("LookupError: no database")
    assert isinstance(server.error, LookupError)
    assert app.log == ["closed"]
    assert errors == []


async def test_a_failed_start_up_does_not_hang_in_the_servers_exception() -> None:
    """hypercorn raises where `startup.failed` is sent, and prints what that is the context of."""

    def fail(app: App) -> None:
        raise LookupError("no database")

    class Refusing(Server):
        async def _send(self, message: Message) -> None:
            await super()._send(message)
            raise OSError("lifespan failure")

    async with Refusing(App(on_startup=[fail])) as server:
        pass
    assert isinstance(server.error, OSError)
    assert server.error.__context__ is None


async def test_every_on_shutdown_is_called_and_what_fails_is_told(
    errors: list[logging.LogRecord],
) -> None:
    def fail(app: App) -> None:
        raise LookupError("cannot close")

    app = App(on_shutdown=[note("last"), fail, note("first")])
    async with Server(app) as server:
        pass
    assert app.log == ["first", "last"]
    assert server.types == ["startup.complete", "shutdown.failed"]
    assert server.sent[1]["message"] == "LookupError('cannot close')"
    assert isinstance(server.error, LookupError)
    assert [record.exc_info and record.exc_info[1] for record in errors] == [server.error]


async def test_what_a_lifespan_raises_at_its_end_is_told() -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        yield
        raise LookupError("cannot close")

    async with Server(App(lifespan=lifespan)) as server:
        pass
    assert server.types == ["startup.complete", "shutdown.failed"]
    assert isinstance(server.error, LookupError)


async def test_should_exit_is_set_when_shutdown_is_asked_for() -> None:
    async with Server(App()) as server:
        exits = server.app.life.exit
        assert not exits.is_set
        server.shut_down()
        await exits.wait()


async def test_should_exit_is_set_as_soon_as_the_server_knows() -> None:
    async with Server(App()) as server:
        server.exits[0]()
        assert server.app.life.exit.is_set
        assert server.types == ["startup.complete"]


async def test_on_shutdown_waits_for_the_requests_in_flight() -> None:
    app = App(on_shutdown=[note("down")])
    async with Server(app) as server:
        app.in_flight = 1
        server.shut_down()
        await app.life.exit.wait()
        await anyio.wait_all_tasks_blocked()
        assert app.log == []
        app.in_flight = 0
        await server.ended.wait()
    assert app.log == ["down"]


async def test_an_app_can_live_again() -> None:
    app = App(on_startup=[note("up")])
    for _ in range(2):
        async with Server(app) as server:
            assert not app.life.exit.is_set
    assert app.log == ["up", "up"]
    assert server.types == ["startup.complete", "shutdown.complete"]


async def test_an_app_has_one_life_at_a_time() -> None:
    app = App()
    async with Server(app), Server(app) as second:
        assert isinstance(second.error, RuntimeError)
        assert not app.life.exit.is_set


async def test_a_server_that_cancels_leaves_time_to_wind_down() -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        yield
        await anyio.lowlevel.checkpoint()
        app.log.append("closed")

    app = App(lifespan=lifespan, on_shutdown=[async_note("down")])
    async with Server(app) as server:
        server.cancel()
    assert app.log == ["down", "closed"]
    assert server.types == ["startup.complete"]


async def test_a_start_up_that_is_cancelled_ends_at_once() -> None:
    app = App(on_shutdown=[note("down")])
    waiting = anyio.Event()

    @app.life.on_startup
    async def wait(app: Any) -> None:
        waiting.set()
        try:
            await anyio.sleep_forever()
        finally:
            app.log.append("cancelled")

    server = Server(app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server._run)
        await waiting.wait()
        tasks.cancel_scope.cancel()
    assert app.log == ["cancelled"]
    assert server.sent == []


async def test_services_run_until_after_on_shutdown() -> None:
    app = App(on_shutdown=[note("down")])

    async def service() -> None:
        app.log.append("running")
        try:
            await anyio.sleep_forever()
        finally:
            app.log.append("cancelled")

    async with Server(app):
        app.task_group.start_soon(service)
        await anyio.wait_all_tasks_blocked()
    assert app.log == ["running", "down", "cancelled"]


async def test_services_end_before_what_the_lifespan_has_opened() -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        app.task_group.start_soon(service, app)
        yield
        app.log.append("closed")

    async def service(app: App) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            app.log.append("cancelled")

    app = App(lifespan=lifespan)
    async with Server(app):
        await anyio.wait_all_tasks_blocked()
    assert app.log == ["cancelled", "closed"]


async def test_a_service_that_returns_is_all_right() -> None:
    async with Server(App()) as server:
        server.app.task_group.start_soon(anyio.lowlevel.checkpoint)
        await anyio.wait_all_tasks_blocked()
        assert not server.app.life.exit.is_set
    assert server.types == ["startup.complete", "shutdown.complete"]


async def test_start_waits_for_the_service_and_returns_its_value() -> None:
    async def service(value: int, *, task_status: anyio.abc.TaskStatus[int]) -> None:
        await anyio.lowlevel.checkpoint()
        task_status.started(value)
        await anyio.sleep_forever()

    async with Server(App()) as server:
        assert await server.app.task_group.start(service, 7) == 7
    assert server.types == ["startup.complete", "shutdown.complete"]


async def test_what_a_service_raises_before_it_has_started_is_its_callers() -> None:
    async def service(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        await anyio.lowlevel.checkpoint()
        raise LookupError("not today")

    async with Server(App()) as server:
        with pytest.raises(LookupError):
            await server.app.task_group.start(service)
        assert server.crashes == []
        assert server.app.life.crashed is None


var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="nothing")


@pytest.mark.parametrize("how", ["start", "start_soon"])
async def test_a_service_has_the_context_of_the_lifespan(how: str) -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        var.set("the lifespan's")
        yield

    async def service(task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
        app.log.append(var.get())
        task_status.started()
        await anyio.lowlevel.checkpoint()
        app.log.append(var.get())

    app = App(lifespan=lifespan)
    async with Server(app):
        var.set("a request's")
        if how == "start":
            await app.task_group.start(service)
        else:
            app.task_group.start_soon(service)
        await anyio.wait_all_tasks_blocked()
        assert var.get() == "a request's"
    assert app.log == ["the lifespan's", "the lifespan's"]


async def test_without_a_lifespan_the_task_group_says_so() -> None:
    app = App()
    with pytest.raises(RuntimeError, match="needs a lifespan"):
        app.task_group.start_soon(anyio.sleep_forever)
    with pytest.raises(RuntimeError, match="needs a lifespan"):
        await app.task_group.start(anyio.sleep_forever)


async def test_after_the_lifespan_the_task_group_says_so() -> None:
    app = App()
    async with Server(app):
        pass
    with pytest.raises(RuntimeError, match="is over"):
        app.task_group.start_soon(anyio.sleep_forever)


async def test_a_service_has_to_be_an_async_def() -> None:
    async with Server(App()) as server:
        with pytest.raises(TypeError, match="async def"):
            server.app.task_group.start_soon(print)
        assert server.app.life.crashed is None


async def fail() -> None:
    await anyio.lowlevel.checkpoint()
    raise LookupError("the feed is gone")


async def test_a_service_that_crashes_takes_the_app_down_audibly(
    errors: list[logging.LogRecord],
) -> None:
    app = App(on_shutdown=[note("down")])
    async with Server(app) as server:
        app.task_group.start_soon(fail)
        await server.crashed.wait()
        assert app.life.exit.is_set
        assert isinstance(app.life.crashed, LookupError)
        assert app.log == []
    assert server.crashes == [app.life.crashed]
    assert [record.exc_info and record.exc_info[1] for record in errors] == server.crashes
    assert app.log == ["down"]
    assert server.types == ["startup.complete", "shutdown.failed"]
    assert server.sent[1]["message"] == "LookupError('the feed is gone')"
    assert server.error is app.life.crashed


async def test_the_server_is_asked_once_however_many_services_crash(
    errors: list[logging.LogRecord],
) -> None:
    app = App()
    async with Server(app) as server:
        app.task_group.start_soon(fail)
        app.task_group.start_soon(fail)
        await anyio.wait_all_tasks_blocked()
    assert len(server.crashes) == 1
    assert len(errors) == 2


async def test_a_server_that_does_not_know_kui_gets_a_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signals: list[tuple[int, int]] = []
    asked = anyio.Event()

    def kill(pid: int, signum: int) -> None:
        signals.append((pid, signum))
        asked.set()

    monkeypatch.setattr(os, "kill", kill)
    app = App()
    async with Server(app, knows_kui=False):
        app.task_group.start_soon(fail)
        await asked.wait()
    assert signals == [(os.getpid(), signal.SIGTERM)]


async def test_a_service_that_crashes_during_start_up_is_a_failed_start_up(
    errors: list[logging.LogRecord],
) -> None:
    app = App()

    @app.life.on_startup
    async def wait_for_the_service(app: Any) -> None:
        app.task_group.start_soon(fail)
        await anyio.sleep_forever()

    async with Server(app) as server:
        assert server.types == ["startup.failed"]
    assert "the feed is gone" in server.sent[0]["message"]
    assert isinstance(server.error, LookupError)
    assert server.crashes == []
    assert errors == []


async def test_a_task_of_the_lifespans_own_group_that_fails_is_a_crash(
    errors: list[logging.LogRecord],
) -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(wait_and_fail)
            yield

    now = anyio.Event()

    async def wait_and_fail() -> None:
        await now.wait()
        await fail()

    app = App(lifespan=lifespan, on_shutdown=[async_note("down")])
    async with Server(app) as server:
        now.set()
        await server.crashed.wait()
        assert app.log == ["down"]
    (error,) = server.crashes
    assert isinstance(error, ExceptionGroup)
    assert [type(inner) for inner in error.exceptions] == [LookupError]
    assert len(errors) == 1
    assert server.types == ["startup.complete", "shutdown.failed"]


async def test_a_lifespan_that_ends_too_early_is_a_crash(errors: list[logging.LogRecord]) -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            yield

    scopes: list[anyio.CancelScope] = []
    app = App(lifespan=lifespan)
    async with Server(app) as server:
        scopes[0].cancel()
        await server.crashed.wait()
    assert "ended before" in str(server.crashes[0])
    assert len(errors) == 1


async def test_a_service_that_fails_while_it_is_cancelled_is_logged(
    errors: list[logging.LogRecord],
) -> None:
    async def service() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("cannot end")

    app = App()
    async with Server(app) as server:
        app.task_group.start_soon(service)
        await anyio.wait_all_tasks_blocked()
    assert len(errors) == 1
    assert server.crashes == []
    assert server.types[-1] == "shutdown.failed"


@pytest.mark.parametrize(
    ("knows_kui", "handle_signals"), [(False, True), (False, False), (True, True)]
)
async def test_a_servers_own_signal_handler_tells_where_the_server_does_not(
    knows_kui: bool, handle_signals: bool
) -> None:
    caught: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))
    try:
        app = App(handle_signals=handle_signals)
        async with Server(app, knows_kui=knows_kui):
            signal.raise_signal(signal.SIGTERM)
            await anyio.wait_all_tasks_blocked()
            assert app.life.exit.is_set is (handle_signals and not knows_kui)
        assert caught == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, previous)
