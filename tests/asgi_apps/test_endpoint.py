"""Functions as ASGI apps: `request_response`, `websocket_session`, `decorator`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from baize.typing import Receive, Scope, Send

from kui.asgi import (
    HTTPConnection,
    HTTPException,
    HttpRequest,
    HttpResponse,
    Kui,
    Mount,
    PlainTextResponse,
    Router,
    SmallResponse,
    StreamResponse,
    Subpaths,
    WebSocket,
    decorator,
    request_response,
    websocket_session,
)
from kui.asgi import request as current
from kui.testing import AsyncTestClient, WebSocketClosed, WebSocketDenied

pytestmark = pytest.mark.anyio

NextCall = Callable[[HttpRequest], Awaitable[HttpResponse]]


def both(app: Any) -> list[tuple[Any, str]]:
    """An app on its own, and in a Kui app; with the prefix that it has there."""
    return [(app, ""), (Kui(routes=[Mount("/m", app)]), "/m")]


async def test_a_function_of_the_request_is_an_app() -> None:
    @request_response
    async def hello(request: HttpRequest) -> HttpResponse:
        """Says hello."""
        body = await request.body
        return PlainTextResponse(f"{request.method} {request.url.path} {body.decode()}", 201)

    assert (hello.__name__, hello.__doc__) == ("hello", "Says hello.")  # type: ignore[attr-defined]  # of the function
    for app, prefix in both(hello):
        async with AsyncTestClient(app) as client:
            response = await client.post(f"{prefix}/x", content=b"body")
            assert (response.status_code, response.text) == (201, f"POST {prefix}/x body")


async def test_it_may_return_whatever_a_handler_may_return_and_may_be_no_coroutine() -> None:
    @request_response
    def plain(request: HttpRequest) -> Any:
        return {"same": current.url == request.url}, 202, {"x-a": "b"}

    for app, prefix in both(plain):
        async with AsyncTestClient(app) as client:
            response = await client.get(f"{prefix}/")
            assert response.json() == {"same": True}
            assert (response.status_code, response.headers["x-a"]) == (202, "b")


async def test_the_whole_request_is_there() -> None:
    @request_response
    async def form(request: HttpRequest) -> Any:
        request.background_tasks.append(done.append, "background")
        request.exit_stack.callback(done.append, "exit stack")
        file: Any = (await request.form)["file"]
        return await file.aread()

    for app, prefix in both(form):
        done: list[str] = []
        async with AsyncTestClient(app) as client:
            response = await client.post(f"{prefix}/", files={"file": b"content"})
            assert response.content == b"content"
        assert done == ["exit stack", "background"]


async def test_an_http_exception_is_an_answer() -> None:
    @request_response
    async def teapot(request: HttpRequest) -> Any:
        raise HTTPException(418, {"x-pot": "tea"}, "I am a teapot.")

    for app, prefix in both(teapot):
        async with AsyncTestClient(app) as client:
            response = await client.get(f"{prefix}/")
            assert (response.status_code, response.text) == (418, "I am a teapot.")
            assert response.headers["x-pot"] == "tea"


async def test_in_a_kui_app_its_exception_handlers_and_converters_are_asked() -> None:
    class Money(int):
        pass

    @request_response
    async def pay(request: HttpRequest) -> Any:
        if request.query_params:
            raise LookupError("no money")
        return Money(7)

    app = Kui(
        routes=[Mount("/m", pay)],
        exception_handlers={LookupError: lambda exc: (str(exc), 402)},
        response_converters={Money: lambda value: PlainTextResponse(f"{int(value)} coins")},
    )
    async with AsyncTestClient(app) as client:
        assert (await client.get("/m")).text == "7 coins"
        response = await client.get("/m?x")
        assert (response.status_code, response.text) == (402, "no money")


async def test_an_exception_without_an_answer_is_a_bare_500_and_raised() -> None:
    @request_response
    async def broken(request: HttpRequest) -> Any:
        raise LookupError("a secret")

    for app, prefix in both(broken):
        async with AsyncTestClient(app, raise_app_exceptions=False) as client:
            response = await client.get(f"{prefix}/")
            assert response.status_code == 500
            assert "secret" not in response.text
        with pytest.raises(LookupError, match="a secret"):
            async with AsyncTestClient(app) as client:
                await client.get(f"{prefix}/")


async def test_a_stream_ends_when_the_client_leaves() -> None:
    ended: list[str] = []

    async def forever() -> AsyncIterator[bytes]:
        try:
            yield b"tick"
            await anyio.sleep_forever()
        finally:
            ended.append("ended")

    @request_response
    async def stream(request: HttpRequest) -> Any:
        return StreamResponse(forever())

    for app, prefix in both(stream):
        ended.clear()
        async with AsyncTestClient(app) as client:
            async with client.stream("GET", f"{prefix}/") as response:
                assert await client.read(response, 4) == b"tick"
                client.disconnect(response)
            await client.wait_idle()
        assert ended == ["ended"]


async def test_a_function_of_the_request_refuses_websockets_and_one_of_the_websocket_requests() -> (
    None
):
    @request_response
    async def page(request: HttpRequest) -> Any:
        return "page"

    @websocket_session
    async def session(websocket: WebSocket) -> None:
        await websocket.accept()

    for app, prefix in both(page):
        async with AsyncTestClient(app) as client:
            with pytest.raises(WebSocketDenied) as denied:
                async with client.websocket(f"{prefix}/"):
                    pass
            assert denied.value.response.status_code == 404
    for app, prefix in both(session):
        async with AsyncTestClient(app) as client:
            assert (await client.get(f"{prefix}/")).status_code == 404


async def test_a_function_of_the_websocket_is_an_app() -> None:
    @websocket_session
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(f"{websocket['path']} {text}")
            return

    for app, prefix in both(echo):
        async with AsyncTestClient(app) as client, client.websocket(f"{prefix}/x") as ws:
            await ws.send("hi")
            assert await ws.receive() == f"{prefix}/x hi"
            with pytest.raises(WebSocketClosed) as closed:
                await ws.receive()
            assert closed.value.code == 1000


async def test_an_http_exception_refuses_a_websocket() -> None:
    @websocket_session
    async def refuse(websocket: WebSocket) -> None:
        raise HTTPException(401)

    for app, prefix in both(refuse):
        async with AsyncTestClient(app) as client:
            with pytest.raises(WebSocketDenied) as denied:
                async with client.websocket(f"{prefix}/"):
                    pass
            assert denied.value.response.status_code == 401


async def test_a_decorator_stands_around_a_function_and_may_change_its_response() -> None:
    @decorator
    async def tag(request: HttpRequest, next_call: NextCall) -> HttpResponse:
        response = await next_call(request)
        response.headers.append("x-tag", "inner")
        return response

    @decorator
    async def outer(request: HttpRequest, next_call: NextCall) -> HttpResponse:
        response = await next_call(request)
        response.headers.append("x-tag", "outer")
        return response

    @request_response
    @outer
    @tag
    async def view(request: HttpRequest) -> Any:
        return {"raw": "value"}

    for app, prefix in both(view):
        async with AsyncTestClient(app) as client:
            response = await client.get(f"{prefix}/")
            assert response.headers["x-tag"] == "inner, outer"
            assert response.json() == {"raw": "value"}


async def test_a_decorator_may_answer_itself_and_sees_what_is_raised() -> None:
    called: list[str] = []

    @decorator
    async def guard(request: HttpRequest, next_call: NextCall) -> Any:
        if "token" not in request.query_params:
            return "who are you?", 401
        try:
            return await next_call(request)
        except LookupError as error:
            return str(error), 410

    @request_response
    @guard
    def view(request: HttpRequest) -> Any:
        called.append("view")
        raise LookupError("it is gone")

    async with AsyncTestClient(view) as client:
        assert (await client.get("/")).status_code == 401
        assert called == []
        response = await client.get("/?token")
        assert (response.status_code, response.text) == (410, "it is gone")


async def test_connections_and_responses_work_in_an_app_of_nothing_else() -> None:
    class CSV(SmallResponse[list[list[str]]]):
        media_type = "text/csv"

        def render(self, content: list[list[str]]) -> bytes:
            return "\r\n".join(map(",".join, content)).encode(self.charset)

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("HTTP only")
        connection = HTTPConnection(scope, receive, send)
        assert connection["path"] == scope["path"] and len(connection) == len(scope)
        await CSV([["a", connection.headers["x-b"]]], 203)(scope, receive, send)

    async with AsyncTestClient(bare) as client:
        response = await client.get("/", headers={"x-b": "c"})
    assert (response.status_code, response.text) == (203, "a,c")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"


async def test_an_app_of_another_framework_may_be_around_it() -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount as StarletteMount

    @request_response
    async def view(request: HttpRequest) -> Any:
        if request.query_params:
            raise HTTPException(404)
        return {"root": request["root_path"], "length": len(await request.body)}

    outer = Starlette(routes=[StarletteMount("/s", app=view)])
    for app in (outer, Subpaths(("/t", outer))):
        prefix = "/t/s" if app is not outer else "/s"
        async with AsyncTestClient(app) as client:
            response = await client.post(f"{prefix}/x", content=b"abc")
            assert response.json() == {"root": prefix, "length": 3}
            assert (await client.get(f"{prefix}/x?q")).status_code == 404


async def test_a_mounted_app_of_another_framework_works() -> None:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket as StarletteSocket

    async def user(request: Request) -> JSONResponse:
        return JSONResponse(
            [request.path_params["id"], str(request.url), str(request.url_for("user", id=8))]
        )

    async def numbers(request: Request) -> StreamingResponse:
        whole = await request.body()

        async def body() -> AsyncIterator[bytes]:
            for start in range(0, len(whole), 1000):
                yield whole[start : start + 1000]

        return StreamingResponse(body())

    async def echo(websocket: StarletteSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    inner = Starlette(
        routes=[
            Route("/users/{id:int}", user, name="user"),
            Route("/echo", numbers, methods=["POST"]),
            WebSocketRoute("/ws", echo),
        ]
    )
    for app in (Kui(routes=[Mount("/m", inner)]), Router(Mount("/m", inner))):
        async with AsyncTestClient(app) as client:
            assert (await client.get("/m/users/7")).json() == [
                7,
                "http://testserver/m/users/7",
                "http://testserver/m/users/8",
            ]
            assert (await client.post("/m/echo", content=b"x" * 300_000)).content == b"x" * 300_000
            assert (await client.get("/m/nowhere")).status_code == 404
            async with client.websocket("/m/ws") as ws:
                await ws.send("hi")
                assert await ws.receive() == "hi"
