"""`middleware`: functions between ASGI apps, through which everything streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest
from baize.typing import Message, Receive, Scope, Send
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import StreamingResponse
from starlette.routing import Route

from kui.asgi import (
    Files,
    HTTPException,
    Kui,
    Mount,
    NextRequest,
    NextResponse,
    PlainTextResponse,
    StreamResponse,
    middleware,
    request,
    request_response,
    websocket,
)
from kui.concurrency.app_runner import IGNORED
from kui.testing import ASGITransport, AsyncTestClient, virtual_clock
from tests.support.scopes import http_scope

pytestmark = pytest.mark.anyio

NextCall = Callable[[NextRequest], Awaitable[NextResponse]]


@middleware
async def pass_on(request: NextRequest, next_call: NextCall) -> NextResponse:
    return await next_call(request)


def everywhere(decorate: Any, app: Any) -> list[tuple[Any, str]]:
    """An app with a middleware around it: on its own, in a Kui app, and around a Kui app."""
    return [
        (decorate(app), ""),
        (Kui(routes=[Mount("/m", decorate(app))]), "/m"),
        (Kui(routes=[Mount("/m", app)], asgi_middlewares=[decorate]), "/m"),
    ]


async def test_status_headers_and_cookies_of_the_next_response_may_be_changed() -> None:
    @middleware
    async def change(request: NextRequest, next_call: NextCall) -> NextResponse:
        response = await next_call(request)
        assert (response.status_code, response.headers["x-a"]) == (200, "1")
        response.status_code = 203
        response.headers["x-b"] = "2"
        del response.headers["x-a"]
        response.set_cookie("seen", "1")
        return response

    @request_response
    async def view(request: Any) -> Any:
        response = PlainTextResponse("body", headers={"x-a": "1"})
        response.set_cookie("own", "1")
        return response

    for app, prefix in everywhere(change, view):
        async with AsyncTestClient(app) as client:
            response = await client.get(f"{prefix}/")
            assert (response.status_code, response.text) == (203, "body")
            assert response.headers["content-length"] == "4"
            assert "x-a" not in response.headers and response.headers["x-b"] == "2"
            assert dict(response.cookies) == {"seen": "1", "own": "1"}


async def test_the_scope_that_the_next_app_gets_may_be_changed() -> None:
    @middleware
    async def change(request: NextRequest, next_call: NextCall) -> NextResponse:
        assert "user" not in request
        request["user"] = "ann"
        del request["client"]
        return await next_call(request)

    @request_response
    async def view(request: Any) -> Any:
        return [request["user"], "client" in request]

    for app, prefix in everywhere(change, view):
        async with AsyncTestClient(app) as client:
            assert (await client.get(f"{prefix}/")).json() == ["ann", False]


async def test_each_chunk_reaches_the_client_before_the_next_is_asked_for() -> None:
    made: list[int] = []

    async def numbers() -> AsyncIterator[bytes]:
        for number in range(1000):
            made.append(number)
            yield b"x" * 10_000

    @request_response
    async def view(request: Any) -> Any:
        return StreamResponse(numbers())

    for app, prefix in everywhere(pass_on, view):
        made.clear()
        async with AsyncTestClient(app) as client:
            async with client.stream("GET", f"{prefix}/") as response:
                assert len(await client.read(response, 10_000)) == 10_000
                # The transport holds 64 KiB; whatever more was made would be in a buffer of ours.
                await anyio.wait_all_tasks_blocked()
                assert len(made) < 12
                await response.aread()
        assert len(made) == 1000


async def test_the_request_body_streams_into_the_next_app() -> None:
    went_on = anyio.Event()

    @request_response
    async def view(request: Any) -> Any:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            went_on.set()
        return str(size)

    async def body() -> AsyncIterator[bytes]:
        nonlocal went_on
        went_on = anyio.Event()
        yield b"x" * 1000
        await went_on.wait()
        yield b"x" * 1000

    for app, prefix in everywhere(pass_on, view):
        async with AsyncTestClient(app) as client:
            assert (await client.post(f"{prefix}/", content=body())).text == "2000"


async def test_the_body_may_be_replaced_chunk_by_chunk() -> None:
    @middleware
    async def shout(request: NextRequest, next_call: NextCall) -> NextResponse:
        response = await next_call(request)
        chunks = response.iterable
        response.iterable = (chunk.upper() async for chunk in chunks)
        return response

    async def view(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers: list[Any] = [(b"content-length", b"6")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        await send({"type": "http.response.body", "body": b"def"})

    for app, prefix in everywhere(shout, view):
        async with AsyncTestClient(app) as client:
            response = await client.get(f"{prefix}/")
            assert response.text == "ABCDEF"
            assert "content-length" not in response.headers


async def test_another_response_may_be_given_and_the_app_is_cancelled() -> None:
    log: list[str] = []

    @middleware
    async def replace(request: NextRequest, next_call: NextCall) -> Any:
        response = await next_call(request)
        assert response.status_code == 200
        return "another", 202

    async def view(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"lost"})
            log.append("never")
        finally:
            log.append("ended")

    for app, prefix in everywhere(replace, view):
        async with AsyncTestClient(app) as client:
            response = await client.get(f"{prefix}/")
            assert (response.status_code, response.text) == (202, "another")
    assert log == ["ended"] * 3


async def test_the_next_app_need_not_be_called() -> None:
    @middleware
    async def guard(request: NextRequest, next_call: NextCall) -> Any:
        raise HTTPException(401, content="who are you?")

    async def view(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] != "http"

    for app, prefix in everywhere(guard, view):
        async with AsyncTestClient(app, lifespan=False) as client:
            response = await client.get(f"{prefix}/")
            assert (response.status_code, response.text) == (401, "who are you?")


async def test_what_the_next_app_raises_before_its_response_is_raised_in_the_middleware() -> None:
    @middleware
    async def catch(request: NextRequest, next_call: NextCall) -> Any:
        try:
            return await next_call(request)
        except LookupError as error:
            return f"caught {error}", 500

    async def view(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raise LookupError("it is gone")

    for app, prefix in everywhere(catch, view)[:2]:
        async with AsyncTestClient(app) as client:
            assert (await client.get(f"{prefix}/")).text == "caught it is gone"


async def test_an_app_that_fails_half_way_cuts_the_connection_and_is_heard_of() -> None:
    async def view(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise LookupError("it broke")

    for app, prefix in everywhere(pass_on, view):
        with pytest.raises(LookupError, match="it broke"):
            async with AsyncTestClient(app) as client:
                await client.get(f"{prefix}/")


async def test_an_app_that_returns_too_early_is_an_error() -> None:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        return

    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})

    for view in (nothing, half):
        with pytest.raises(RuntimeError, match="the app has returned"):
            async with AsyncTestClient(pass_on(view)) as client:
                await client.get("/")


async def test_the_next_app_learns_that_the_client_has_left() -> None:
    ended: list[str] = []

    async def forever() -> AsyncIterator[bytes]:
        try:
            yield b"tick"
            await anyio.sleep_forever()
        finally:
            ended.append("generator")

    @request_response
    async def view(request: Any) -> Any:
        request.background_tasks.append(ended.append, "background")
        return StreamResponse(forever())

    for app, prefix in everywhere(pass_on, view):
        ended.clear()
        async with AsyncTestClient(app) as client:
            async with client.stream("GET", f"{prefix}/") as response:
                assert await client.read(response, 4) == b"tick"
                client.disconnect(response)
            await client.wait_idle()
        assert ended == ["generator", "background"]


@pytest.mark.parametrize("anyio_backend", [virtual_clock("asyncio"), virtual_clock("trio")])
@pytest.mark.parametrize("raises", [True, False], ids=["asgi-2.5", "asgi-2.3"])
async def test_an_app_that_never_receives_learns_it_from_its_next_send_or_after_a_while(
    raises: bool,
) -> None:
    seen: list[BaseException] = []
    ignored = 0

    async def view(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal ignored
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
                ignored += gone.is_set()
                await anyio.sleep(IGNORED / 10)
        except OSError as error:
            seen.append(error)
            raise

    gone = anyio.Event()
    app = pass_on(view)
    transport = ASGITransport(app, raise_after_leaving=raises)
    async with AsyncTestClient(app, transport=transport) as client:
        async with client.stream("GET", "/") as response:
            assert await client.read(response, 4) == b"tick"
            client.disconnect(response)
            gone.set()
        await client.wait_idle()
    assert len(seen) == 1
    assert (ignored > 2) is not raises


async def test_a_client_that_leaves_in_the_middle_of_its_upload_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def half(*_: Any) -> AsyncIterator[bytes]:
        yield b"half"
        client.disconnect()
        await anyio.sleep_forever()

    @request_response
    async def view(request: Any) -> Any:
        return str(len(await request.body))

    @request_response
    async def echo(request: Any) -> Any:
        return StreamResponse(request.stream())

    @middleware
    async def shout(request: NextRequest, next_call: NextCall) -> NextResponse:
        response = await next_call(request)
        chunks = response.iterable
        response.iterable = (chunk.upper() async for chunk in chunks)
        return response

    for decorate, served in ((pass_on, view), (pass_on, echo), (shout, view), (shout, echo)):
        for app, prefix in everywhere(decorate, served):
            async with AsyncTestClient(app) as client:
                with pytest.raises(httpx2.TransportError):
                    await client.post(f"{prefix}/", content=half())
                await client.wait_idle()
            assert not caplog.records, (decorate, served, prefix)


class Ticks(AsyncIterator[bytes]):
    """An endless body that is no generator, because Starlette does not close one."""

    async def __anext__(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        return b"tick"


async def test_background_tasks_of_an_app_of_another_framework_run_when_clients_leave() -> None:
    ran: list[int] = []

    async def endpoint(request: StarletteRequest) -> Any:
        number = int(request.query_params["number"])

        return StreamingResponse(Ticks(), background=BackgroundTask(ran.append, number))

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request: StarletteRequest, call_next: Any) -> Any:
            return await call_next(request)

    app = pass_on(Passing(Starlette(routes=[Route("/", endpoint)])))
    async with AsyncTestClient(app, lifespan=False) as client:
        for number in range(14):
            async with client.stream("GET", f"/?number={number}") as response:
                await client.read(response, 4)
                for _ in range(number):
                    await anyio.lowlevel.checkpoint()
                client.disconnect(response)
        await client.wait_idle()
    assert sorted(ran) == list(range(14))


async def test_trailers_pass_through() -> None:
    async def view(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        start = {"type": "http.response.start", "status": 200, "headers": [], "trailers": True}
        await send(start)
        await send({"type": "http.response.body", "body": b"body"})
        headers: list[Any] = [(b"x-sum", b"1")]
        await send({"type": "http.response.trailers", "headers": headers})

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    await pass_on(view)(http_scope(), receive, send)
    assert [message["type"] for message in sent] == [
        "http.response.start",
        "http.response.body",
        "http.response.trailers",
    ]


async def test_head_and_answers_without_a_body_pass_through() -> None:
    @middleware
    async def replace(request: NextRequest, next_call: NextCall) -> NextResponse:
        response = await next_call(request)
        response.iterable = [b"replaced"]
        return response

    @request_response
    async def view(request: Any) -> Any:
        return "", 204 if request.query_params else 200

    for decorate in (pass_on, replace):
        async with AsyncTestClient(decorate(view)) as client:
            assert (await client.head("/")).content == b""
            response = await client.get("/?204")
            assert (response.status_code, response.content) == (204, b"")


async def test_the_body_of_the_request_is_not_the_middleware_s() -> None:
    @middleware
    async def read(request: NextRequest, next_call: NextCall) -> NextResponse:
        for reading in (lambda: request.body, lambda: request.json, request.data):
            with pytest.raises(RuntimeError, match="the body is the next app's"):
                await reading()
        with pytest.raises(RuntimeError, match="the body is the next app's"):
            request.stream()
        return await next_call(request)

    @request_response
    async def view(request: Any) -> Any:
        return await request.json

    async with AsyncTestClient(read(view)) as client:
        assert (await client.post("/", json=[1])).json() == [1]


async def test_websockets_and_the_lifespan_go_to_the_app() -> None:
    log: list[str] = []
    inner = Kui(on_startup=[lambda app: log.append("up")])

    @inner.router.websocket("/ws")
    async def ws() -> None:
        await websocket.accept()
        await websocket.send_text("hello")

    async with AsyncTestClient(pass_on(inner)) as client:
        assert log == ["up"]
        async with client.websocket("/ws") as session:
            assert await session.receive() == "hello"


async def test_the_first_of_the_app_s_middlewares_is_the_outermost() -> None:
    def tagging(name: str) -> Any:
        @middleware
        async def tag(request: NextRequest, next_call: NextCall) -> NextResponse:
            response = await next_call(request)
            response.headers.append("x-tag", name)
            return response

        return tag

    app = Kui(asgi_middlewares=[tagging("outer"), tagging("inner")])
    async with AsyncTestClient(app) as client:
        response = await client.get("/nowhere")  # what is not found passes them too
    assert (response.status_code, response.headers["x-tag"]) == (404, "inner, outer")


async def test_middlewares_of_others_wrap_an_app_and_are_taken_by_it() -> None:
    from functools import partial

    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.middleware.gzip import GZipMiddleware

    class Tag(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            response = await call_next(request)
            response.headers["x-tag"] = "tagged"
            return response

    def app_of(**options: Any) -> Kui:
        app = Kui(**options)
        app.router.http.get("/")(lambda: "x" * 10_000)

        @app.router.http.post("/")
        async def post() -> Any:
            return str(len(await request.body))

        return app

    taken = app_of(asgi_middlewares=[Tag, partial(GZipMiddleware, minimum_size=100)])
    for each in (GZipMiddleware(Tag(app_of())), taken):
        async with AsyncTestClient(each) as client:
            response = await client.get("/")
            assert response.text == "x" * 10_000
            assert response.headers["x-tag"] == "tagged"
            assert response.headers["content-encoding"] == "gzip"
            assert (await client.post("/", content=b"x" * 200_000)).text == "200000"


async def test_files_pass_middlewares_that_do_not_know_zerocopysend(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc")
    from starlette.middleware.gzip import GZipMiddleware

    app = Kui(routes=[Mount("/files", Files(tmp_path))], asgi_middlewares=[GZipMiddleware])
    transport = ASGITransport(app, extensions=["http.response.zerocopysend"])
    async with AsyncTestClient(app, transport=transport) as client:
        assert (await client.get("/files/a.txt")).content == b"abc"


def test_what_is_no_middleware_is_refused() -> None:
    no_middleware: Any = "gzip"
    with pytest.raises(TypeError, match="'gzip' is no ASGI middleware"):
        Kui(asgi_middlewares=[no_middleware])
    one: Any = pass_on
    with pytest.raises(TypeError, match="asgi_middlewares are a list"):
        Kui(asgi_middlewares=one)
    returns_none: Any = lambda app: None  # noqa: E731  # a name for its error
    with pytest.raises(TypeError, match="returned None"):
        Kui(asgi_middlewares=[returns_none])
