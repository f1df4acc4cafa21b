"""A typical app, as its author would write it: type checkers must find nothing wrong with it.

It is checked, and not run; what it does is of no importance.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any
from uuid import UUID

import anyio
from pydantic import BaseModel

import kui
from kui.asgi import (
    URL,
    WSGI,
    Address,
    ASGIApp,
    BaseTemplates,
    ClientDisconnect,
    Depends,
    Endpoint,
    FactoryClass,
    FileResponse,
    FileRoutes,
    Files,
    FormData,
    Header,
    Headers,
    Hosts,
    HTMLResponse,
    HTTPConnection,
    HTTPException,
    HttpRequest,
    HttpResponse,
    HttpRoute,
    HttpView,
    InvalidMessage,
    Jinja2Templates,
    JSONResponse,
    Kui,
    Limits,
    Middleware,
    Mount,
    MultimethodRoutes,
    NextRequest,
    NextResponse,
    PlainTextResponse,
    Query,
    QueryParams,
    Receive,
    RedirectResponse,
    Router,
    Routes,
    Scope,
    Send,
    SendEventResponse,
    ServerSentEvent,
    SocketRoute,
    SocketView,
    State,
    StreamResponse,
    Subpaths,
    TemplateResponse,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
    abort,
    allow_cors,
    allow_origins,
    cancel_on_disconnect,
    compress,
    convert_response,
    cross_origin_protection,
    http_connection,
    limit_concurrency,
    middleware,
    request,
    request_limits,
    request_response,
    required_method,
    timeout,
    websocket,
    websocket_session,
)
from kui.testing import AsyncTestClient, TestClient

# ---- handlers


async def text() -> str:
    return "text"


def in_a_thread() -> bytes:
    return b"bytes"


async def json() -> dict[str, Any]:
    return {"method": request.method, "id": request.path_params["id"]}


async def with_status() -> tuple[str, int]:
    return "made", 201


async def with_headers() -> tuple[list[int], int, dict[str, str]]:
    return [1, 2], 200, {"x-total": "2"}


async def either() -> str | tuple[dict[str, str], int]:
    if request.accepts("text/html"):
        return "<p>"
    return {"detail": "no"}, 406


async def response() -> HttpResponse:
    reply = JSONResponse({"a": [Decimal("1.5"), datetime.now(), UUID(int=0)]}, 201)
    reply.headers["x-a"] = "b"
    reply.set_cookie("name", "value", max_age=3600, httponly=True, samesite="lax")
    return reply


async def events() -> AsyncIterator[ServerSentEvent]:
    yield {"id": 7, "event": "news", "data": {"title": "news"}}
    yield {"comment": "still here"}
    yield {"retry": 3000}


def numbers() -> Iterator[str]:
    yield "1"


async def event_response() -> SendEventResponse:
    return SendEventResponse(events(), ping_interval=None, headers={"x-a": "b"})


async def feed(send: Callable[[str], Awaitable[None]]) -> None:
    await send("a")


async def pushed() -> StreamResponse:
    async def chunks(send: Callable[[bytes], Awaitable[None]]) -> None:
        async def later() -> None:
            await send(b"a")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(later)

    return StreamResponse(chunks, content_type="text/csv")


async def pushed_events() -> SendEventResponse:
    return SendEventResponse(feed)


async def page() -> HttpResponse:
    return TemplateResponse("item.html", {"item": 7}, status_code=200, headers={"x-a": "b"})


async def file() -> FilePath:
    return FilePath("file.txt")


async def download() -> FileResponse:
    return FileResponse("file.txt", download_name="file.txt")


async def redirect() -> URL | RedirectResponse:
    return RedirectResponse(request.url_for("item", {"id": 7}), 303)


async def upload() -> tuple[str, int]:
    form: FormData = await request.form
    title = form["title"]
    given = form.get("title")
    texts = [value for _, value in form.items() if not isinstance(value, UploadFile)]
    texts += [value for value in form.getlist("tag") if not isinstance(value, UploadFile)]
    texts.append(title.filename if isinstance(title, UploadFile) else title)
    texts.append("" if given is None or isinstance(given, UploadFile) else given.title())
    image = form["image"]
    if isinstance(image, UploadFile):
        content: bytes = await image.aread()
        return image.filename, len(content)
    abort(400)


async def body() -> int:
    length = 0
    async for chunk in request.stream():
        length += len(chunk)
    data: bytes = await request.body
    value: Any = await request.json
    async for part in request.parts():
        async for piece in part:
            length += len(piece)
    return length + len(data) + len(value)


async def facts() -> dict[str, Any]:
    headers: Headers = request.headers
    query: QueryParams = request.query_params
    client: Address = request.client
    url: URL = request.url
    cookies: dict[str, str] = request.cookies
    best: str | None = request.best_match("text/html", "application/json")
    weights: list[float] = [each.q for each in request.accepted_types]
    request.state.user = "ann"
    request.background_tasks.append(print, "done", sep="")
    app = request.app
    app.state.hits = 1
    return {
        "agent": headers.get("user-agent"),
        "q": query.getlist("q"),
        "client": client.host,
        "path": url.path,
        "cookies": cookies,
        "best": best,
        "weights": weights,
        "length": request.content_length,
        "type": str(request.content_type),
        "scheme": request["scheme"],
        "left": await request.is_disconnected(),
        "stopping": app.should_exit,
        "both": http_connection.url.path,
    }


async def work() -> str:
    try:
        async with cancel_on_disconnect():
            await anyio.sleep(1)
    except ClientDisconnect:
        raise
    request.app.task_group.start_soon(anyio.sleep, 1)
    return "done"


class User(BaseModel):
    name: str
    age: int = 0


async def pool() -> AsyncIterator[str]:
    yield "pool"


Pool = Annotated[str, Depends(pool)]


async def declared(
    connection: Pool,
    limit: Annotated[int, Query(ge=1)] = 10,
    agent: Annotated[str | None, Header()] = None,
) -> list[User]:
    return [User(name=agent or connection)][:limit]


class Item(HttpView):
    async def get(self) -> dict[str, int]:
        return {"id": request.path_params["id"]}

    def delete(self) -> tuple[str, int]:
        return "", 204

    @classmethod
    async def put(cls) -> str:
        return "put"

    @staticmethod
    async def post() -> str:
        return "post"


class Callable_:
    async def __call__(self) -> str:
        return "called"


# ---- WebSockets


async def chat() -> None:
    await websocket.accept("chat")
    async for message in websocket.iter_text():
        await websocket.send_text(message)
        await websocket.send_json({"text": message})
    try:
        data: bytes = await websocket.receive_bytes()
        await websocket.send_bytes(data)
        value: Any = await websocket.receive_json()
        await websocket.send_json(value)
    except (WebSocketDisconnect, InvalidMessage) as end:
        print(end)
    await websocket.close(1000, "bye")


class Chat(SocketView):
    encoding = "json"

    async def on_connect(self) -> None:
        await websocket.accept()

    async def on_receive(self, data: Any) -> None:
        await websocket.send_json(data)

    async def on_disconnect(self, close_code: int) -> None:
        print(close_code)


# ---- middlewares


def timed(endpoint: Endpoint) -> Endpoint:
    async def timed_endpoint() -> HttpResponse:
        start = time.perf_counter()
        made = convert_response(await endpoint())
        made.headers["server-timing"] = f"app;dur={time.perf_counter() - start}"
        return made

    return timed_endpoint


def login_required(role: str) -> Middleware:
    def middleware(endpoint: Endpoint) -> Endpoint:
        async def checked() -> Any:
            if request.cookies.get("role") != role:
                raise HTTPException(401, {"www-authenticate": "Basic"}, content="Log in.")
            return await endpoint()

        return checked

    return middleware


def as_asgi(app: ASGIApp) -> ASGIApp:
    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return inside


class OfStarlette:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@middleware
async def of_an_app(
    next_request: NextRequest, next_call: Callable[[NextRequest], Awaitable[NextResponse]]
) -> NextResponse:
    reply = await next_call(next_request)
    reply.headers["x-a"] = "b"
    return reply


def user(made: HttpRequest) -> str | None:
    return made.cookies.get("session")


AROUND: list[Middleware] = [timed, login_required("admin"), timeout(2), compress()]
MIXED = [
    timed,
    allow_cors(allow_origins=[re.compile("https://example.com")]),
    required_method("GET"),
    limit_concurrency(4, key=user, status=429),
    request_limits(body=100),
    cancel_on_disconnect,
    cross_origin_protection("https://example.com"),
]

# ---- errors, converters, templates


async def not_found(exc: HTTPException[Any]) -> tuple[str, int]:
    return "what do you want to do?", exc.status_code


def key_error(exc: KeyError) -> tuple[dict[str, str], int]:
    return {"missing": str(exc)}, 404


async def any_error(exc: Exception) -> str:
    return str(exc)


BY_STATUS = {404: not_found}
BY_CLASS = {KeyError: key_error}
BY_BASE = {OSError: any_error, LookupError: any_error}
EITHER = {404: not_found, KeyError: key_error, Exception: any_error}


@dataclass
class Money:
    amount: Decimal


def money(
    value: Money, status: int = 200, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    return PlainTextResponse(str(value.amount), status, headers)


def encode_money(value: Money) -> str:
    return str(value.amount)


CONVERTERS = {Money: money}
ENCODERS = {Money: encode_money}
DELTA_ENCODERS = {timedelta: timedelta.total_seconds, Money: encode_money}


class Format(BaseTemplates):
    def render(self, name: str, context: dict[str, Any]) -> str:
        return name.format_map(context)


# ---- the app's life


async def open_pool(app: Kui) -> None:
    app.state.pool = object()


def close_pool(app: Kui) -> None:
    del app.state.pool


async def lifespan(app: Kui) -> AsyncIterator[None]:
    app.state.started = True
    yield


@asynccontextmanager
async def managed(app: Kui) -> AsyncIterator[None]:
    yield


CALLBACKS = [open_pool, close_pool]

# ---- routes


class MyRequest(HttpRequest):
    @property
    def tenant(self) -> str:
        return self.headers["x-tenant"]


ROUTES = [
    HttpRoute("/text", text),
    HttpRoute("/item/{id:int}", Item, name="item", middlewares=AROUND),
    SocketRoute("/chat", chat, middlewares=[allow_origins("https://example.com")]),
    SocketRoute("/view", Chat),
]
GROUPED = [
    HttpRoute("/thread", in_a_thread, methods=["GET"]) @ timed,
    Routes(HttpRoute("/callable", Callable_()), namespace="x", http_middlewares=MIXED),
    "/admin" // Routes(HttpRoute("/", page)),
    Mount("/static", Files("static"), name="static"),
    FileRoutes("pages"),
    MultimethodRoutes(),
]
NESTED: Sequence[HttpRoute | SocketRoute] = [HttpRoute("/a", text), SocketRoute("/b", chat)]

app = Kui(
    templates=Jinja2Templates("templates"),
    on_startup=CALLBACKS,
    on_shutdown=[close_pool],
    lifespan=lifespan,
    routes=[ROUTES, GROUPED, NESTED, *ROUTES, HttpRoute("/json", json)],
    http_middlewares=AROUND,
    exception_handlers=BY_STATUS,
    cors_config={"allow_origins": [re.compile("https://example.com")]},
    factory_class=FactoryClass(http=MyRequest),
    response_converters=CONVERTERS,
    json_encoder=ENCODERS,
    limits=Limits(body=100),
    allowed_hosts=["example.com"],
    asgi_middlewares=[as_asgi, OfStarlette, of_an_app],
)
Kui(routes=ROUTES, exception_handlers=BY_CLASS, lifespan=managed, http_middlewares=MIXED)
Kui(routes=GROUPED, exception_handlers=BY_BASE, json_encoder=DELTA_ENCODERS, templates=Format())
Kui(routes=HttpRoute("/", text), exception_handlers=EITHER)
Kui(routes=Routes(ROUTES) + HttpRoute("/", text) + GROUPED)

added = app.router << ROUTES << HttpRoute("/y", text) << GROUPED
app.router.extend("/prefix" // (Routes() << ROUTES))


@app.get("/with-status")
async def short() -> tuple[str, int]:
    return await with_status()


@app.router.http("/either", middlewares=[timed])
@app.router.http.post("/either", name="either")
async def long() -> str:
    return "either"


@app.websocket("/socket")
async def socket() -> None:
    await websocket.accept()


@app.exception_handler(403)
async def forbidden(exc: HTTPException[Any]) -> str:
    return "no"


@app.exception_handler(ValueError)
def value_error(exc: ValueError) -> str:
    return str(exc)


@app.on_startup
async def connect(app: Kui) -> None:
    app.state.connected = True


@app.response_converter.register(State)
def state(value: State) -> HttpResponse:
    return HTMLResponse(repr(value))


# Decorators give back what they were given.
name_of_short: str = app.router.url_for("short", id=7)
back: Callable[[], Awaitable[tuple[str, int]]] = short

# ---- apps without Kui


@request_response
async def standalone(made: HttpRequest) -> HttpResponse:
    return PlainTextResponse(made.url.path)


@websocket_session
async def alone(socket: WebSocket) -> None:
    await socket.accept()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


apps: ASGIApp = Hosts(
    (r"static\.example\.com", Subpaths(("", Files("static")))),
    (r".*", Router(("/{path:any}", standalone), HttpRoute("/x", text))),
)
legacy: ASGIApp = WSGI(wsgi)


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    connection = HTTPConnection(scope)
    await PlainTextResponse(connection.url.path)(scope, receive, send)


# ---- tests


async def test_it() -> None:
    async with AsyncTestClient(app, headers={"x-a": "b"}) as client:
        reply = await client.post("/text", json={"a": 1})
        assert reply.status_code == 200 and reply.json()["a"]
        async with client.stream("GET", "/events") as stream:
            async for line in stream.aiter_lines():
                assert line
        async with client.websocket("/chat") as connection:
            await connection.send_text("a")
            assert await connection.receive_text() == "a"
    with app.overrides(state={"pool": 1}, handlers={text: json}):
        pass


async def test_the_lifespan_of_fixtures(kui_client: AsyncTestClient) -> None:
    assert (await kui_client.get("/text")).text == "text"


async def test_over_sockets() -> None:
    async with anyio.create_task_group() as tasks:
        (address,) = await tasks.start(partial(kui.serve, app, bind="127.0.0.1:0"))
        assert address.startswith("http")
        tasks.cancel_scope.cancel()


def main() -> None:
    kui.run(app, bind=["127.0.0.1:0"], backend="asyncio", workers=2)


def test_it_without_a_loop() -> None:
    with TestClient(app) as client:
        assert client.get("/text").text == "text"
