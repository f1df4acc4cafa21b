"""A body that one has read is there for the next; one that was streamed away is an error, never a wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import flask
import pytest
import starlette.applications
import starlette.requests
import starlette.responses
import starlette.routing

from kui.asgi import WSGI, HttpRequest, Kui, Limits, Mount, PlainTextResponse, middleware, request
from kui.testing import AsyncTestClient, RequestBody

pytestmark = pytest.mark.anyio

BODY = b'{"text": "' + b"y" * 100_000 + b'"}'
JSON = {"content-type": "application/json"}

Read = Callable[[], Awaitable[Any]]


def kui_app() -> Any:
    app = Kui()

    @app.router.http.post("/{rest:any}")
    async def length() -> str:
        body = await request.body
        return f"{len(body)} {len((await request.json)['text'])}"

    return app


def kui_stream() -> Any:
    app = Kui()

    @app.router.http.post("/{rest:any}")
    async def length() -> str:
        body = b"".join([chunk async for chunk in request.stream()])
        return f"{len(body)} {body.count(b'y')}"

    return app


def starlette_app() -> Any:
    async def length(request: starlette.requests.Request) -> starlette.responses.Response:
        body = await request.body()
        return starlette.responses.PlainTextResponse(f"{len(body)} {body.count(b'y')}")

    route = starlette.routing.Route("/{rest:path}", length, methods=["POST"])
    return starlette.applications.Starlette(routes=[route])


def flask_app() -> Any:
    app = flask.Flask("next")

    @app.post("/<path:rest>")
    def length(rest: str) -> str:
        body = flask.request.get_data()
        return f"{len(body)} {body.count(b'y')}"

    return WSGI(app)


async def bare_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        more = message["more_body"]
    with anyio.move_on_after(0.01) as scope_:
        await receive()  # the next message is the disconnect, which does not come
    assert scope_.cancelled_caught
    await PlainTextResponse(f"{len(body)} {body.count(b'y')}")(scope, receive, send)


@middleware
async def between(request: HttpRequest, next_call: Any) -> Any:
    return await next_call(request)


def wrapping(app: Any) -> Any:
    """An ASGI middleware whose `receive` is its own."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def own_receive() -> Any:
            return await receive()

        await app(scope, own_receive, send)

    return wrapped


NEXT: dict[str, Callable[[], Any]] = {
    "Kui": kui_app,
    "Kui that streams": kui_stream,
    "Starlette": starlette_app,
    "Flask": flask_app,
    "bare": lambda: bare_app,
    "Kui behind @middleware": lambda: between(kui_app()),
    "Starlette behind @middleware": lambda: between(starlette_app()),
    "bare behind @middleware": lambda: between(bare_app),
    "Kui behind an ASGI middleware": lambda: wrapping(kui_app()),
    "Kui in Kui": lambda: Kui(routes=[Mount("/", kui_app())]),
    "Kui in Starlette": lambda: starlette.applications.Starlette(
        routes=[starlette.routing.Mount("/", kui_app())]
    ),
}


def reading(read: Read) -> Any:
    """A middleware that reads the body before the endpoint."""

    def decorate(endpoint: Any) -> Any:
        async def endpoint_after() -> Any:
            await read()
            return await endpoint()

        return endpoint_after

    return decorate


async def read_body() -> None:
    assert await request.body == BODY


async def read_json() -> None:
    assert await request.json


async def read_data() -> None:
    assert await request.data()


async def read_and_stream() -> None:
    assert await request.body == BODY
    assert b"".join([chunk async for chunk in request.stream()]) == BODY


@pytest.mark.parametrize("read", [read_body, read_json, read_data, read_and_stream])
@pytest.mark.parametrize("name", NEXT)
async def test_what_was_kept_is_there_for_the_next_app(name: str, read: Read) -> None:
    app = Kui(routes=[Mount("/in", NEXT[name](), http_middlewares=[reading(read)])])
    async with AsyncTestClient(app) as client:
        response = await client.post("/in/x", content=BODY, headers=JSON)
    assert (response.status_code, response.text) == (200, f"{len(BODY)} 100000")


@pytest.mark.parametrize("name", NEXT)
async def test_and_what_was_read_when_the_reading_was_given_up(name: str) -> None:
    body = RequestBody()

    async def read_half() -> None:
        async def read() -> None:
            await request.body

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        rest.set()

    async def send() -> None:
        await body.send(BODY[:half])
        await rest.wait()
        await body.send(BODY[half:])
        await body.end()

    rest = anyio.Event()
    half = len(BODY) // 2
    app = Kui(routes=[Mount("/in", NEXT[name](), http_middlewares=[reading(read_half)])])
    async with AsyncTestClient(app) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        response = await client.post("/in/x", content=body, headers=JSON)
    assert (response.status_code, response.text) == (200, f"{len(BODY)} 100000")


async def test_and_what_was_too_large_for_another_s_limits() -> None:
    async def read_little() -> None:
        request.limits = Limits(body=10)
        with pytest.raises(Exception, match="413"):
            await request.body

    inner = kui_app()
    app = Kui(routes=[Mount("/in", inner, http_middlewares=[reading(read_little)])])
    async with AsyncTestClient(app) as client:
        assert (await client.post("/in/x", content=BODY, headers=JSON)).text.startswith(
            f"{len(BODY)} "
        )


async def stream_all() -> None:
    async for _ in request.stream():
        pass


async def stream_some() -> None:
    async for _ in request.stream():
        break


async def read_form() -> None:
    await request.form


async def read_parts() -> None:
    async for part in request.parts():
        await part.read()


@pytest.mark.parametrize("read", [stream_all, stream_some, read_form, read_parts])
@pytest.mark.parametrize("name", NEXT)
async def test_what_was_streamed_away_is_an_error_at_once(name: str, read: Read) -> None:
    app = Kui(routes=[Mount("/in", NEXT[name](), http_middlewares=[reading(read)])])
    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        response = await client.post("/in/x", files={"file": ("a.txt", BODY)})
        assert response.status_code == 500
    if name == "Flask":  # which logs it itself
        return
    with pytest.raises(RuntimeError, match=r"the body was given away by request\.\w+"):
        async with AsyncTestClient(app) as client:
            await client.post("/in/x", files={"file": ("a.txt", BODY)})


async def test_a_body_that_the_next_app_has_read_is_no_empty_one() -> None:
    seen: list[str] = []

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        raise ValueError("failed")

    app = Kui(routes=[Mount("/in", failing)])

    @app.exception_handler(ValueError)
    async def handle(exc: ValueError) -> tuple[str, int]:
        try:
            await request.body
        except RuntimeError as error:
            seen.append(str(error))
        return "failed", 500

    async with AsyncTestClient(app) as client:
        assert (await client.post("/in/x", content=BODY)).status_code == 500
    assert seen == [
        "the body was given to the next app; it can be read once, or again and again where"
        " request.body is read first"
    ]


@pytest.mark.parametrize("name", ["Starlette", "bare", "Flask"])
async def test_an_empty_body_that_was_streamed_is_still_empty(name: str) -> None:
    app = Kui(routes=[Mount("/in", NEXT[name](), http_middlewares=[reading(stream_all)])])
    async with AsyncTestClient(app) as client:
        assert (await client.post("/in/x")).text == "0 0"


async def test_a_multipart_body_that_was_read_is_a_form_parts_and_data_too() -> None:
    app = Kui()

    @app.router.http.post("/")
    async def handler() -> list[Any]:
        body = await request.body
        for _ in range(2):
            parts = [(part.name, await part.read()) async for part in request.parts()]
            assert parts == [("field", b"text"), ("file", b"1" * 70_000)]
        form = await request.form
        assert await request.data() is form
        assert await request.body == body
        assert b"".join([chunk async for chunk in request.stream()]) == body
        return [form["field"], form["file"].filename, len(await form["file"].aread())]

    async with AsyncTestClient(app) as client:
        response = await client.post(
            "/", data={"field": "text"}, files={"file": ("a.txt", b"1" * 70_000)}
        )
    assert response.json() == ["text", "a.txt", 70_000]


async def test_an_asgi_function_may_read_the_body_and_pass_it_on() -> None:
    async def reads(scope: Any, receive: Any, send: Any) -> None:
        request = HttpRequest(scope, receive, send)
        assert await request.body == BODY
        await bare_app(scope, request.exchange.receive, request.exchange.send)
        await request.settle()

    async with AsyncTestClient(reads, lifespan=False) as client:
        assert (await client.post("/", content=BODY)).text == f"{len(BODY)} 100000"
