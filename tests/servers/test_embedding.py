"""`kui.serve` in a larger program: started, stopped and cancelled like any other task, on both loops."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import httpx2
import pytest
import trio
from baize.typing import Receive, Scope, Send

from kui.lifespan import Lifespan
from kui.serving.binding import CannotServe
from kui.serving.runner import ShutdownFailed, StartupFailed
from kui.serving.server import serve
from tests.support.process import PATIENCE

pytestmark = pytest.mark.anyio


class App:
    """Answers with its path; `/never` does not, and says so in `waiting`."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.log: list[str] = []
        self.waiting = anyio.Event()
        self.life = Lifespan(
            self,  # type: ignore[arg-type] # it only counts requests
            on_startup=[lambda app: self.log.append("up")],
            on_shutdown=[lambda app: self.log.append("down")],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.life(scope, receive, send)
            return
        self.in_flight += 1
        try:
            if scope["path"] == "/never":
                self.waiting.set()
                await anyio.sleep_forever()
            if scope["path"] == "/until_exit":
                self.waiting.set()
                await self.life.exit.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": scope["path"].encode()})
        finally:
            self.log.append(f"{scope['path']} ended")
            self.in_flight -= 1


@pytest.fixture
def app(anyio_backend: str) -> App:
    return App()


here = partial(serve, bind="127.0.0.1:0")


async def test_start_returns_the_addresses_once_it_listens(app: App) -> None:
    async with anyio.create_task_group() as group, httpx2.AsyncClient(timeout=PATIENCE) as client:
        binds = ["127.0.0.1:0", "127.0.0.1:0"]
        addresses = await group.start(partial(serve, app, bind=binds))
        assert len(set(addresses)) == 2
        for address in addresses:
            assert address.startswith("http://127.0.0.1:")
            assert (await client.get(f"{address}/hello")).text == "/hello"
        group.cancel_scope.cancel()


async def test_cancelled_it_ends_its_requests_and_shuts_the_app_down(
    app: App, anyio_backend: str
) -> None:
    scope = anyio.CancelScope()
    statuses: list[int] = []

    async def serving(*, task_status: anyio.abc.TaskStatus[list[str]]) -> None:
        with scope:
            await here(app, task_status=task_status)

    async with httpx2.AsyncClient(timeout=PATIENCE) as client, anyio.create_task_group() as group:
        (address,) = await group.start(serving)

        async def ask() -> None:
            try:
                statuses.append((await client.get(f"{address}/never")).status_code)
            except httpx2.RemoteProtocolError:
                statuses.append(0)

        group.start_soon(ask)
        await app.waiting.wait()
        scope.cancel()
    assert statuses == [503]
    assert app.log == ["up", "/never ended", "down"]


async def test_after_it_the_port_is_free_again(app: App) -> None:
    host = "127.0.0.2"  # where no client's end of a connection comes upon the port meanwhile
    async with anyio.create_task_group() as group:
        (address,) = await group.start(partial(serve, app, bind=f"{host}:0"))
        group.cancel_scope.cancel()
    port = int(address.rpartition(":")[2])
    async with anyio.create_task_group() as group:
        assert await group.start(partial(serve, app, bind=f"{host}:{port}")) == [address]
        group.cancel_scope.cancel()
    assert app.log == ["up", "down"] * 2


async def test_when_until_returns_requests_end_first(app: App) -> None:
    stop = anyio.Event()
    texts: list[str] = []
    async with httpx2.AsyncClient(timeout=PATIENCE) as client, anyio.create_task_group() as group:
        serving = partial(here, app, until=stop.wait, graceful_timeout=60)
        (address,) = await group.start(serving)

        async def ask() -> None:
            texts.append((await client.get(f"{address}/until_exit")).text)

        group.start_soon(ask)
        await app.waiting.wait()
        stop.set()
    assert texts == ["/until_exit"]
    assert app.log == ["up", "/until_exit ended", "down"]


async def test_what_until_raises_is_raised_after_the_shutdown(app: App) -> None:
    async def fail() -> None:
        raise LookupError("no more")

    with pytest.raises(LookupError):
        await here(app, until=fail)
    assert app.log in (["up", "down"], [])


async def test_cancelled_during_start_up_it_ends(app: App) -> None:
    @app.life.on_startup
    async def wait(app: Any) -> None:
        waiting.set()
        await anyio.sleep_forever()

    waiting = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(here, app)
        await waiting.wait()
        group.cancel_scope.cancel()
    assert app.log == ["up"]


async def test_a_start_up_that_fails_is_raised_with_its_cause(app: App) -> None:
    @app.life.on_startup
    def fail(app: Any) -> None:
        raise LookupError("no database")

    with pytest.raises(StartupFailed) as caught:
        await here(app)
    assert isinstance(caught.value.__cause__, LookupError)
    assert "no database" in caught.value.detail


async def test_a_shutdown_that_fails_is_raised_with_its_cause(app: App) -> None:
    @app.life.on_shutdown
    def fail(app: Any) -> None:
        raise LookupError("cannot close")

    stop = anyio.Event()
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            await group.start(partial(here, app, until=stop.wait))
            stop.set()
    (error,) = caught.value.exceptions
    assert isinstance(error, ShutdownFailed) and isinstance(error.__cause__, LookupError)


async def test_an_app_that_raises_at_its_shutdown_and_says_nothing_has_failed_all_the_same() -> (
    None
):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise LookupError("cannot close")

    stop = anyio.Event()
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            await group.start(partial(here, app, until=stop.wait))
            stop.set()
    (error,) = caught.value.exceptions
    assert isinstance(error, ShutdownFailed) and isinstance(error.__cause__, LookupError)


async def test_what_a_service_crashes_with_is_raised_after_the_shutdown(app: App) -> None:
    @app.life.on_startup
    def start(_: Any) -> None:
        app.life.services.start_soon(crash)

    async def crash() -> None:
        await app.waiting.wait()
        raise LookupError("the feed is gone")

    async def serve_and_crash() -> None:
        async with anyio.create_task_group() as group:
            await group.start(here, app)
            app.waiting.set()

    with pytest.raises(ExceptionGroup) as caught:
        await serve_and_crash()
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert app.log == ["up", "down"]


async def test_a_busy_address_is_refused_before_the_app_starts(app: App) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        bind = f"127.0.0.1:{busy.getsockname()[1]}"
        with pytest.raises(CannotServe, match=f"cannot listen on {bind}"):
            await serve(app, bind=bind)
    assert app.log == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bind": []}, "no address"),
        ({"bind": "nowhere.invalid:80"}, "cannot listen on nowhere.invalid:80"),
        ({"bind": "8000"}, "HOST:PORT"),
        ({"bind": ":8000"}, "HOST:PORT"),
        ({"bind": "::1:8000"}, "HOST:PORT"),
        ({"bind": "127.0.0.1:http"}, "up to 65535"),
        ({"bind": "127.0.0.1:65536"}, "up to 65535"),
        ({"bind": "fd://x"}, "a descriptor is a number"),
        ({"bind": "fd://999"}, "Bad file descriptor"),
        ({"bind": "unix:/nowhere/socket"}, "No such file"),
        ({"certfile": "/nowhere.pem"}, "cannot read /nowhere.pem: No such file"),
        ({"keyfile": "/nowhere.pem"}, "give certfile too"),
        ({"certfile": __file__}, "cannot use the certificate"),
        ({"graceful_timeout": -1}, "graceful_timeout is a number"),
        ({"drain_delay": float("nan")}, "drain_delay is a number"),
        ({"websocket_ping_interval": 0}, "positive"),
        ({"root_path": "shop"}, "begins with a slash"),
        ({"forwarded_allow_ips": "proxy"}, "forwarded_allow_ips: 'proxy'"),
    ],
)
async def test_an_option_that_makes_no_sense_is_refused_in_words(
    app: App, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(CannotServe, match=words):
        await serve(app, **{"bind": "127.0.0.1:0", **options})
    assert app.log == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncios_own_cancellation_stops_it_as_cleanly(app: App) -> None:
    addresses: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    class Status:
        def started(self, value: Any = None) -> None:
            addresses.set_result(value)

    serving = asyncio.create_task(here(app, task_status=Status()))
    (address,) = await addresses
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        asking = asyncio.create_task(client.get(f"{address}/never"))
        await app.waiting.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert (await asking).status_code == 503
    assert app.log == ["up", "/never ended", "down"]


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trios_own_nursery_starts_it_too(app: App) -> None:
    async with trio.open_nursery() as nursery, httpx2.AsyncClient(timeout=PATIENCE) as client:
        (address,) = await nursery.start(here, app)
        assert (await client.get(address)).text == "/"
        nursery.cancel_scope.cancel()
    assert app.log == ["up", "/ ended", "down"]
