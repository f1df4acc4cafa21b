"""What `kui.asgi` offers works in an ASGI app of no framework, and in one of another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from kui.asgi import (
    WSGI,
    BaseTemplates,
    FileResponse,
    Files,
    Hosts,
    HTMLResponse,
    HTTPConnection,
    HTTPException,
    HttpRequest,
    HttpResponse,
    Jinja2Templates,
    JSONResponse,
    Limits,
    Pages,
    PlainTextResponse,
    RedirectResponse,
    Router,
    SendEventResponse,
    ServerSentEvent,
    SmallResponse,
    StreamResponse,
    Subpaths,
    TemplateResponse,
    WebSocket,
    WebSocketDisconnect,
    convert_response,
    middleware,
    request_response,
    websocket_session,
)
from kui.testing import AsyncTestClient, WebSocketClosed

pytestmark = pytest.mark.anyio

ASGI = Callable[[Any, Any, Any], Awaitable[None]]


@pytest.fixture(params=["no framework", "another framework"])
def bare(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """A client of an ASGI app which no Kui app is around; another framework puts its app into the scope."""

    def client(app: ASGI) -> AsyncTestClient:
        async def served(scope: Any, receive: Any, send: Any) -> None:
            assert "app" not in scope
            if request.param == "another framework":
                scope["app"] = object()
            await app(scope, receive, send)

        return AsyncTestClient(served, lifespan=False)

    return client


async def numbers() -> AsyncIterator[str]:
    for number in "1", "2":
        yield number


async def feed(send: Any) -> None:
    await send("fed")


class Upper(SmallResponse[str]):
    media_type = "text/plain"

    async def render(self, content: str) -> bytes:
        return content.upper().encode()


class Plain(BaseTemplates):
    def render(self, name: str, context: dict[str, Any]) -> str:
        return f"{name} {context}"


@dataclass
class Item:
    name: str


RESPONSES: dict[str, tuple[Callable[[Path], Any], int, str]] = {
    "HttpResponse": (lambda _: HttpResponse(204), 204, ""),
    "PlainTextResponse": (lambda _: PlainTextResponse("text"), 200, "text"),
    "HTMLResponse": (lambda _: HTMLResponse("<p>"), 200, "<p>"),
    "JSONResponse": (lambda _: JSONResponse([Item("a"), {"b"}]), 200, '[{"name":"a"},["b"]]'),
    "RedirectResponse": (lambda _: RedirectResponse("/x"), 307, ""),
    "FileResponse": (lambda at: FileResponse(at / "a.txt"), 200, "file"),
    "StreamResponse": (lambda _: StreamResponse(numbers()), 200, "12"),
    "StreamResponse of a function": (lambda _: StreamResponse(feed), 200, "fed"),
    "SendEventResponse": (
        lambda _: SendEventResponse(iter([ServerSentEvent(data="a")])),
        200,
        "data: a\n\n",
    ),
    "SmallResponse": (lambda _: Upper("text"), 200, "TEXT"),
    "convert_response": (lambda _: convert_response(({"a": 1}, 201)), 201, '{"a":1}'),
    "BaseTemplates": (lambda _: Plain().TemplateResponse("a", {"b": 1}), 200, "a {'b': 1}"),
    "Jinja2Templates": (
        lambda at: Jinja2Templates(at).TemplateResponse("a.html", {"b": 1}),
        200,
        "1 none",
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
async def test_each_response_is_an_asgi_app(name: str, bare: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("file")
    (tmp_path / "a.html").write_text("{{ b }} {{ 'some' if request else 'none' }}")
    make, status, text = RESPONSES[name]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await make(tmp_path)(scope, receive, send)

    async with bare(app) as client:
        response = await client.get("/", follow_redirects=False)
    assert (response.status_code, response.text) == (status, text)


async def test_template_response_says_what_it_needs(bare: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(RuntimeError, match="use the engine itself"):
            TemplateResponse("a.html")
        await HttpResponse()(scope, receive, send)

    async with bare(app) as client:
        assert (await client.get("/")).status_code == 200


def with_request(read: Callable[[HttpRequest], Awaitable[Any]]) -> ASGI:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = HttpRequest(scope, receive, send)
        try:
            try:
                response = convert_response(await read(request))
            except HTTPException as exc:
                response = convert_response((exc.content, exc.status_code, exc.headers))
            await response(scope, request.exchange.receive, request.exchange.send)
        finally:
            await request.close()
            await request.settle()

    return app


async def from_json(request: HttpRequest) -> Any:
    return await request.json


async def from_form(request: HttpRequest) -> Any:
    form = await request.form
    return [form["a"], (await form["f"].aread()).decode()]


async def from_parts(request: HttpRequest) -> Any:
    return [[part.name, (await part.read()).decode()] async for part in request.parts()]


async def from_stream(request: HttpRequest) -> Any:
    return b"".join([chunk async for chunk in request.stream()])


async def from_body(request: HttpRequest) -> Any:
    assert not await request.is_disconnected()
    return await request.body


async def from_data(request: HttpRequest) -> Any:
    return await request.data()


async def from_json_as(request: HttpRequest) -> Any:
    return await request.json_as(Item)


FORM = {"data": {"a": "1"}, "files": {"f": ("f.txt", b"2")}}


@pytest.mark.parametrize(
    ("read", "sent", "text"),
    [
        (from_json, {"json": {"name": "a"}}, '{"name":"a"}'),
        (from_data, {"json": {"name": "a"}}, '{"name":"a"}'),
        (from_json_as, {"json": {"name": "a"}}, '{"name":"a"}'),
        (from_body, {"content": b"body"}, "body"),
        (from_stream, {"content": b"body"}, "body"),
        (from_form, FORM, '["1","2"]'),
        (from_parts, FORM, '[["a","1"],["f","2"]]'),
    ],
)
async def test_a_request_is_read_in_every_way(read: Any, sent: Any, text: str, bare: Any) -> None:
    async with bare(with_request(read)) as client:
        response = await client.post("/", **sent)
    assert (response.status_code, response.text) == (200, text)


async def test_the_default_limits_hold_and_others_can_be_set(bare: Any) -> None:
    async def little(request: HttpRequest) -> Any:
        assert request.limits == Limits()
        request.limits = Limits(body=3)
        return await request.body

    async with bare(with_request(little)) as client:
        assert (await client.post("/", content=b"body")).status_code == 413


async def test_a_connection_is_read_and_says_what_it_has_not(bare: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope.pop("app", None)
        connection = HTTPConnection(scope)
        connection.state.user = "ada"
        assert connection.path_params == {}
        with pytest.raises(RuntimeError, match="no Kui app answers this connection"):
            connection.url_for("home")
        with pytest.raises(RuntimeError, match="no Kui app answers this connection"):
            _ = connection.app
        answer = [connection.url.path, connection.query_params["q"], connection.state.user]
        await JSONResponse(answer)(scope, receive, send)

    async with bare(app) as client:
        assert (await client.get("/a?q=1")).json() == ["/a", "1", "ada"]


async def test_a_websocket_is_served(bare: Any) -> None:
    ended = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        await websocket.send_json({"text": await websocket.receive_text()})
        async for data in websocket.iter_bytes():
            await websocket.send_bytes(data)
        with pytest.raises(WebSocketDisconnect):
            await websocket.receive()
        ended.set()

    async with bare(app) as client, client.websocket("/") as ws:
        await ws.send_text("a")
        assert await ws.receive() == '{"text":"a"}'
        await ws.send_bytes(b"b")
        assert await ws.receive() == b"b"
        await ws.close()
        with anyio.fail_after(5):
            await ended.wait()


async def test_a_websocket_is_closed(bare: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        await websocket.close(4000, "bye")

    async with bare(app) as client, client.websocket("/") as ws:
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
        assert (closed.value.code, closed.value.reason) == (4000, "bye")


@request_response
async def hello(request: HttpRequest) -> Any:
    return {"body": len(await request.body), "path": request.url.path}


@websocket_session
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


@middleware
async def stamped(request: Any, next_call: Any) -> Any:
    response = await next_call(request)
    response.headers["x-stamp"] = "1"
    return response


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"%d %s" % (len(body), environ["PATH_INFO"].encode())]


JSON_HELLO = '{"body":4,"path":"/a"}'
APPS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "request_response": (lambda _: hello, "/a", JSON_HELLO),
    "middleware": (lambda _: stamped(hello), "/a", JSON_HELLO),
    "Router": (lambda _: Router(("/{rest:any}", hello)), "/a", JSON_HELLO),
    "Subpaths": (lambda _: Subpaths(("/a", hello)), "/a", JSON_HELLO),
    "Hosts": (lambda _: Hosts((".*", hello)), "/a", JSON_HELLO),
    "WSGI": (lambda _: WSGI(wsgi), "/a", "4 /a"),
}


@pytest.mark.parametrize("name", APPS)
async def test_each_app_stands_alone(name: str, bare: Any, tmp_path: Path) -> None:
    make, path, text = APPS[name]
    async with bare(make(tmp_path)) as client:
        response = await client.post(path, content=b"body")
        assert (response.status_code, response.text) == (200, text)


@pytest.mark.parametrize("kind", [Files, Pages])
async def test_files_and_pages_stand_alone(kind: Any, bare: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("file")
    async with bare(kind(tmp_path)) as client:
        assert (await client.get("/a.txt")).text == "file"
        assert (await client.get("/b.txt")).status_code == 404


async def test_a_websocket_session_stands_alone(bare: Any) -> None:
    async with bare(echo) as client, client.websocket("/") as ws:
        await ws.send_text("a")
        assert await ws.receive() == "a"
