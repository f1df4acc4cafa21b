"""The block of a client: the app's lifespan around it, a deadline over it, and what is raised where it ends."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio
import httpx2
import pytest
from anyio.lowlevel import checkpoint
from baize.typing import ASGIApp, Message, Receive, Scope, Send

from kui.testing import AsyncTestClient, DeadlineExceeded, LifespanFailed, RequestBody

pytestmark = pytest.mark.anyio

OK: tuple[Message, ...] = (
    {"type": "http.response.start", "status": 200, "headers": []},
    {"type": "http.response.body"},
)


async def ok(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    for message in OK:
        await send(message)


def with_lifespan(
    life: Callable[[Scope, Receive, Send], Awaitable[None]], http: ASGIApp = ok
) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (life if scope["type"] == "lifespan" else http)(scope, receive, send)

    return app


# ---- the lifespan


async def test_the_lifespan_is_around_the_block() -> None:
    log = []

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
        assert await receive() == {"type": "lifespan.startup"}
        log.append("up")
        await send({"type": "lifespan.startup.complete"})
        assert await receive() == {"type": "lifespan.shutdown"}
        log.append("down")
        await send({"type": "lifespan.shutdown.complete"})

    async with AsyncTestClient(with_lifespan(life)) as client:
        await client.get("/")
        log.append("block")
    assert log == ["up", "block", "down"]


async def test_each_request_has_a_copy_of_the_state_of_the_lifespan() -> None:
    seen = []

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["db"] = "open"
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["state"]))
        scope["state"]["mine"] = True
        await ok(scope, receive, send)

    async with AsyncTestClient(with_lifespan(life, http)) as client:
        await client.get("/")
        await client.get("/")
    assert seen == [{"db": "open"}, {"db": "open"}]


async def test_a_start_up_that_fails_raises_its_own_exception() -> None:
    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise ConnectionRefusedError("no database")

    with pytest.raises(ConnectionRefusedError, match="no database"):
        async with AsyncTestClient(with_lifespan(life)):
            pytest.fail("the block is not entered")


async def test_a_start_up_that_says_so_and_raises_does_too() -> None:
    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})
        await anyio.wait_all_tasks_blocked()
        raise ConnectionRefusedError("no database")

    with pytest.raises(ConnectionRefusedError, match="no database"):
        async with AsyncTestClient(with_lifespan(life)):
            pytest.fail("the block is not entered")


async def test_a_start_up_that_only_says_that_it_failed() -> None:
    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(LifespanFailed, match="no database"):
        async with AsyncTestClient(with_lifespan(life)):
            pytest.fail("the block is not entered")


async def test_a_start_up_that_hangs() -> None:
    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await anyio.sleep_forever()

    with pytest.raises(DeadlineExceeded, match=r"lifespan.startup took longer than 0.01 s"):
        async with AsyncTestClient(with_lifespan(life), timeout=0.01):
            pytest.fail("the block is not entered")


async def test_a_shutdown_that_fails_raises_its_own_exception() -> None:
    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise ConnectionResetError("lost")

    with pytest.raises(ConnectionResetError, match="lost"):
        async with AsyncTestClient(with_lifespan(life)):
            pass


async def test_a_lifespan_that_crashes_in_the_block_fails_the_test() -> None:
    crash = anyio.Event()

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await crash.wait()
        raise ConnectionResetError("lost")

    with pytest.raises(ConnectionResetError, match="lost"):
        async with AsyncTestClient(with_lifespan(life)) as client:
            crash.set()
            await anyio.wait_all_tasks_blocked()
            await client.get("/")


async def test_an_app_without_a_lifespan_is_served_without_one() -> None:
    async def sends_http(scope: Scope, receive: Receive, send: Send) -> None:
        for message in OK:
            await send(message)

    async def returns(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    for app in (ok, sends_http, with_lifespan(returns)):
        async with AsyncTestClient(app) as client:
            assert (await client.get("/")).status_code == 200


async def test_the_lifespan_can_be_left_out() -> None:
    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        pytest.fail("it is started")

    async with AsyncTestClient(with_lifespan(life), lifespan=False) as client:
        await client.get("/")


async def test_the_app_is_shut_down_while_a_request_is_under_way() -> None:
    stopping = anyio.Event()

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        stopping.set()
        await send({"type": "lifespan.shutdown.complete"})

    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        await send(OK[0])
        await stopping.wait()
        await send({"type": "http.response.body", "body": b"bye"})

    async with AsyncTestClient(with_lifespan(life, http)) as client:
        async with client.stream("GET", "/") as response:
            client.begin_shutdown()
            assert await response.aread() == b"bye"
        await client.shutdown()


# ---- what is raised where


async def test_an_exception_of_the_block_is_raised_as_itself() -> None:
    with pytest.raises(KeyError):
        async with AsyncTestClient(ok) as client:
            await client.get("/")
            raise KeyError("mine")


async def test_the_app_is_shut_down_after_a_block_that_fails() -> None:
    log = []

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        log.append("down")
        raise ValueError("and this")

    with pytest.raises(KeyError) as raised:
        async with AsyncTestClient(with_lifespan(life)):
            raise KeyError("mine")
    assert log == ["down"]
    assert raised.value.__notes__ == ["Besides, the app failed: ValueError('and this')"]


async def test_what_no_request_told_is_raised_at_the_end() -> None:
    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        await send(OK[0])
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
        raise KeyError(scope["path"])

    async def leave(client: AsyncTestClient, path: str) -> None:
        request = client.build_request("GET", path)
        response = await client.send(request, stream=True)
        client.disconnect(response)

    with pytest.raises(KeyError, match="/one"):
        async with AsyncTestClient(http, lifespan=False) as client:
            await leave(client, "/one")
    with pytest.raises(ExceptionGroup, match="several times") as raised:
        async with AsyncTestClient(http, lifespan=False) as client:
            await leave(client, "/one")
            await leave(client, "/two")
    assert {str(error) for error in raised.value.exceptions} == {"'/one'", "'/two'"}


async def test_a_block_that_is_cancelled_cancels_the_app() -> None:
    started, log = anyio.Event(), []

    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cancelled")

    with anyio.CancelScope() as scope:
        async with AsyncTestClient(http, lifespan=False) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.get, "/")
                await started.wait()
                scope.cancel()
    assert scope.cancelled_caught
    assert log == ["cancelled"]


async def test_an_interrupt_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        async with AsyncTestClient(ok) as client:
            await client.get("/")
            raise KeyboardInterrupt


# ---- the deadline


async def test_a_block_that_hangs_says_what_was_under_way() -> None:
    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    with pytest.raises(DeadlineExceeded, match=r"longer than 0.5 s: GET /slow: the app is in"):
        async with AsyncTestClient(http, lifespan=False, deadline=0.5) as client:
            await client.get("/slow")


async def test_an_app_that_does_not_end_is_given_up_at_the_deadline() -> None:
    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        await send(OK[0])
        await anyio.sleep_forever()

    with pytest.raises(DeadlineExceeded, match="the client has left"):
        async with AsyncTestClient(http, lifespan=False, deadline=0.5) as client:
            await client.send(client.build_request("GET", "/"), stream=True)


async def test_a_deadline_that_is_not_reached_changes_nothing() -> None:
    async with AsyncTestClient(ok, deadline=60) as client:
        await client.get("/")
    async with AsyncTestClient(ok, deadline=None) as client:
        await client.get("/")


async def test_waiting_until_idle_has_a_deadline() -> None:
    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        await send(OK[0])
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    async with AsyncTestClient(http, lifespan=False) as client:
        async with client.stream("GET", "/"):
            with pytest.raises(DeadlineExceeded, match=r"not idle within .* s: GET /"):
                await client.wait_idle(timeout=0.01)


# ---- it is an httpx2.AsyncClient


async def reflect(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    headers = dict(scope["headers"])
    if scope["path"] == "/login":
        answer = [(b"set-cookie", b"user=ada; Path=/"), (b"location", b"/")]
        await send({"type": "http.response.start", "status": 303, "headers": answer})
        body = b""
    else:
        await send(OK[0])
        body = headers.get(b"cookie", b"") + b"|" + headers.get(b"content-type", b"") + b"|" + body
    await send({"type": "http.response.body", "body": body})


async def test_cookies_redirects_json_and_files() -> None:
    async with AsyncTestClient(reflect, follow_redirects=True) as client:
        response = await client.post("/login")
        assert response.text == "user=ada||"
        assert [step.status_code for step in response.history] == [303]
        response = await client.post("/", json=[1])
        assert response.text == "user=ada|application/json|[1]"
        response = await client.post("/", files={"file": ("a.txt", b"content")})
        assert "multipart/form-data" in response.text
        assert "content" in response.text


async def test_relative_urls_are_relative_to_the_base_url() -> None:
    seen = []

    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["scheme"], scope["server"], scope["path"]))
        await ok(scope, receive, send)

    async with AsyncTestClient(http, lifespan=False, base_url="https://example.org/api") as client:
        await client.get("/items")
    assert seen == [("https", ("example.org", 443), "/api/items")]


async def test_many_requests_at_once() -> None:
    arrived = 0
    together = anyio.Event()

    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 20:
            together.set()
        await together.wait()
        await ok(scope, receive, send)

    async with AsyncTestClient(http, lifespan=False) as client:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(client.get, f"/{number}")
        assert not client.transport.conversations


async def test_a_response_that_is_never_closed_is_left_with_the_block() -> None:
    gone = []

    async def http(scope: Scope, receive: Receive, send: Send) -> None:
        await send(OK[0])
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.append(True)

    async with AsyncTestClient(http, lifespan=False) as client:
        request = client.build_request("POST", "/", content=RequestBody())
        await client.send(request, stream=True)
        await checkpoint()
    assert gone
    with pytest.raises(RuntimeError, match="closed"):
        await client.get("/")


async def test_it_is_an_httpx2_client() -> None:
    async with AsyncTestClient(ok) as client:
        assert isinstance(client, httpx2.AsyncClient)


async def test_a_process_that_was_held_up_is_not_taken_for_an_app_that_hangs() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await checkpoint()
        # Nothing of this process goes on meanwhile, as where the machine is busy.
        time.sleep(0.3)  # noqa: ASYNC251 - just that
        await checkpoint()
        await ok(scope, receive, send)

    async with AsyncTestClient(late, lifespan=False, timeout=0.1) as client:
        assert (await client.get("/")).status_code == 200
