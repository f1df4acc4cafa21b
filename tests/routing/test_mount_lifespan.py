"""The lifespan of mounted apps runs within that of the app around them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from baize.typing import Receive, Scope, Send

from kui.asgi import Hosts, Kui, Mount, PlainTextResponse, Router, StreamResponse, Subpaths
from kui.concurrency.lifespan_driver import LifespanFailed
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio


class Living:
    """An app of no framework that has a lifespan, and says what it does in `log`."""

    def __init__(self, name: str, log: list[str], **fails: str) -> None:
        self.name = name
        self.log = log
        self.fails = fails
        self.crash = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await PlainTextResponse(str(scope["state"].get("name")))(scope, receive, send)
            return
        for phase in ("startup", "shutdown"):
            if phase == "shutdown" and "crash" in self.fails:
                await self.crash.wait()
                raise LookupError(self.fails["crash"])
            assert (await receive())["type"] == f"lifespan.{phase}"
            self.log.append(f"{self.name} {phase}")
            if phase in self.fails:
                message = {"type": f"lifespan.{phase}.failed", "message": self.fails[phase]}
                await send(message)
                return
            if "state" in scope and phase == "startup":
                scope["state"]["name"] = self.name
            await send({"type": f"lifespan.{phase}.complete"})


def around(log: list[str], *mounts: Mount) -> Kui:
    async def lifespan(app: Kui) -> AsyncIterator[None]:
        log.append("lifespan begins")
        yield
        log.append("lifespan ends")

    return Kui(
        routes=list(mounts),
        lifespan=lifespan,  # type: ignore[arg-type]  # what a generator function is annotated with
        on_startup=[lambda app: log.append("on_startup")],
        on_shutdown=[lambda app: log.append("on_shutdown")],
    )


async def test_mounted_apps_start_between_the_lifespan_and_on_startup_and_stop_the_other_way() -> (
    None
):
    log: list[str] = []
    app = around(log, Mount("/a", Living("a", log)), Mount("/b", Living("b", log)))
    async with AsyncTestClient(app):
        assert log == ["lifespan begins", "a startup", "b startup", "on_startup"]
        log.clear()
    assert log == ["on_shutdown", "b shutdown", "a shutdown", "lifespan ends"]


async def test_an_app_that_is_mounted_twice_is_started_once() -> None:
    log: list[str] = []
    app = Living("a", log)
    async with AsyncTestClient(around(log, Mount("/a", app), Mount("/b", app))) as client:
        assert log.count("a startup") == 1
        assert (await client.get("/a")).text == (await client.get("/b")).text == "a"


async def test_each_app_finds_the_state_of_its_own_lifespan_beside_that_of_the_request() -> None:
    log: list[str] = []

    def set_state(endpoint: Callable[[], Any]) -> Callable[[], Any]:
        async def stated() -> Any:
            from kui.asgi import request

            request.state.user = "ann"
            return await endpoint()

        return stated

    async def user(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await PlainTextResponse(scope["state"]["user"])(scope, receive, send)

    mounts = [Mount("/a", Living("a", log)), Mount("/b", Living("b", log)), Mount("/u", user)]
    app = Kui(routes=mounts, http_middlewares=[set_state])
    async with AsyncTestClient(app) as client:
        assert [(await client.get(path)).text for path in ("/a", "/b", "/u")] == ["a", "b", "ann"]


async def test_an_app_without_a_lifespan_is_mounted_all_the_same() -> None:
    async def only_http(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await PlainTextResponse("ok")(scope, receive, send)

    async def answers_anything(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await PlainTextResponse("ok")(scope, receive, send)

    async def returns(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await PlainTextResponse("ok")(scope, receive, send)

    mounts = [Mount("/a", only_http), Mount("/b", answers_anything), Mount("/c", returns)]
    async with AsyncTestClient(Kui(routes=mounts)) as client:
        for path in ("/a", "/b", "/c"):
            assert (await client.get(path)).text == "ok"


async def test_a_start_up_that_fails_is_that_of_the_app_around_it_and_others_are_stopped() -> None:
    log: list[str] = []
    app = around(
        log, Mount("/a", Living("a", log)), Mount("/b", Living("b", log, startup="no database"))
    )
    with pytest.raises(LifespanFailed, match="no database"):
        async with AsyncTestClient(app):
            pass
    assert log == ["lifespan begins", "a startup", "b startup", "a shutdown"]


async def test_what_a_mounted_kui_app_raises_at_start_up_is_raised_as_itself() -> None:
    def fail(app: Kui) -> None:
        raise LookupError("no database")

    app = Kui(routes=[Mount("/m", Kui(on_startup=[fail]))])
    with pytest.raises(LookupError, match="no database"):
        async with AsyncTestClient(app):
            pass


async def test_a_shutdown_that_fails_stops_no_other_and_is_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[str] = []
    app = around(
        log, Mount("/a", Living("a", log)), Mount("/b", Living("b", log, shutdown="cannot close"))
    )
    with pytest.raises(LifespanFailed, match="cannot close"):
        async with AsyncTestClient(app):
            log.clear()
    assert log == ["on_shutdown", "b shutdown", "a shutdown"]
    assert "The shutdown failed" in caplog.text


async def test_a_lifespan_that_crashes_takes_the_app_around_it_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "kui.error")
    log: list[str] = []
    crashing = Living("a", log, crash="the feed is gone")
    app = around(log, Mount("/a", crashing), Mount("/b", Living("b", log)))
    with pytest.raises(LookupError, match="the feed is gone"):
        async with AsyncTestClient(app):
            crashing.crash.set()
            await app.wait_for_exit()
    assert "b shutdown" in log
    assert "the feed is gone" in caplog.text


async def test_a_service_of_a_mounted_kui_app_that_crashes_asks_the_server_to_stop() -> None:
    crashed: list[Exception] = []
    stop = anyio.Event()

    class Server:
        def on_exit(self, callback: Callable[[], None]) -> None:
            pass

        def service_crashed(self, error: Exception) -> None:
            crashed.append(error)
            stop.set()

    async def service() -> None:
        raise LookupError("the feed is gone")

    inner = Kui()
    inner.on_startup(lambda app: None)
    app = Kui(routes=[Mount("/m", inner)], on_startup=[])

    @app.on_startup
    async def start(app: Kui) -> None:
        inner.task_group.start_soon(service)

    sent: list[str] = []
    received = 0

    async def receive() -> dict[str, Any]:
        nonlocal received
        received += 1
        if received == 1:
            return {"type": "lifespan.startup"}
        await stop.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope: Scope = {"type": "lifespan", "state": {}, "extensions": {"kui.server": Server()}}
    with pytest.raises(LookupError):
        await app(scope, receive, send)
    assert [str(error) for error in crashed] == ["the feed is gone"]
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.failed"]


async def test_streams_of_a_mounted_kui_app_end_properly_when_the_app_around_it_stops() -> None:
    inner = Kui()

    async def ticks() -> AsyncIterator[str]:
        yield "tick"
        await anyio.sleep_forever()

    inner.router.http.get("/")(lambda: StreamResponse(ticks()))
    app = Kui(routes=[Mount("/m", inner)])
    async with AsyncTestClient(app) as client, client.stream("GET", "/m") as response:
        assert await client.read(response, 4) == b"tick"
        client.begin_shutdown()
        assert await response.aread() == b""
        assert inner.should_exit and app.should_exit


@pytest.mark.parametrize("kind", ["router", "subpaths", "hosts"])
async def test_apps_made_of_apps_start_and_stop_their_parts(kind: str) -> None:
    log: list[str] = []
    one, other = Living("one", log), Living("other", log)
    app: Any = {
        "router": lambda: Router(("/one", one), ("/other", other), ("/one/{x}", one)),
        "subpaths": lambda: Subpaths(("/one", one), ("/other", other), ("", one)),
        "hosts": lambda: Hosts((r"testserver", one), (r"other", other)),
    }[kind]()
    for top in (app, Kui(routes=[Mount("/", app)])):
        log.clear()
        async with AsyncTestClient(top) as client:
            assert log == ["one startup", "other startup"]
            assert (await client.get("/one")).text == "one"
        assert log == ["one startup", "other startup", "other shutdown", "one shutdown"]


async def test_an_app_made_of_apps_says_which_of_them_cannot_start() -> None:
    with pytest.raises(LifespanFailed, match="no database"):
        async with AsyncTestClient(Subpaths(("", Living("a", [], startup="no database")))):
            pass
