"""The site in Starlette, with sse-starlette for the events."""

from __future__ import annotations

from typing import Any

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute
from starlette.templating import Jinja2Templates
from starlette.websockets import WebSocket

from benchmarks.cases import CHUNK, EVENTS, LARGE, MESSAGE, ORIGIN, ROUTES, ROWS, SMALL
from benchmarks.files import file_of, templates
from benchmarks.frameworks.bare_ import adding

jinja = Jinja2Templates(templates())


class NoMoreTea(Exception):
    pass


class Adding:
    """A middleware as an ASGI app, which is the fast kind of Starlette's two."""

    def __init__(self, app: Any, name: bytes) -> None:
        self.app = adding(name, app)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


async def plain(request: Request) -> Any:
    return PlainTextResponse(MESSAGE)


async def json_small(request: Request) -> Any:
    return JSONResponse(SMALL)


async def json_large(request: Request) -> Any:
    return JSONResponse(LARGE)


async def parameters(request: Request) -> Any:
    return PlainTextResponse(
        f"{request.path_params['id']} {request.query_params['color']} {request.headers['x-token']}"
    )


async def json_in(request: Request) -> Any:
    data = await request.json()
    return PlainTextResponse(str(data["id"]))


async def form(request: Request) -> Any:
    async with request.form() as fields:
        return PlainTextResponse(f"{fields['name']} {fields['year']}")


async def upload(request: Request) -> Any:
    async with request.form() as fields:
        file: Any = fields["file"]
        size = file.file.seek(0, 2)
        return PlainTextResponse(f"{fields['title']} {file.filename} {size}")


async def error(request: Request) -> Any:
    raise NoMoreTea("no more tea")


async def no_more_tea(request: Request, exc: Exception) -> Any:
    return PlainTextResponse(str(exc), 418)


async def template(request: Request) -> Any:
    return jinja.TemplateResponse(request, "rows.html", {"title": "Rows", "rows": ROWS})


async def stream(request: Request) -> Any:
    async def chunks(count: int) -> Any:
        for _ in range(count):
            yield CHUNK

    return StreamingResponse(chunks(request.path_params["count"]))


async def events(request: Request) -> Any:
    async def numbers() -> Any:
        for number in range(EVENTS):
            yield {"id": str(number), "data": f"event {number}"}

    return EventSourceResponse(numbers())


async def file(request: Request) -> Any:
    return FileResponse(file_of(request.path_params["name"]))


async def cookies(request: Request) -> Any:
    response = PlainTextResponse(request.cookies["session"])
    response.set_cookie("seen", "yes")
    return response


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


def build(site: str) -> Any:
    return {"main": main, "middlewares": middlewares, "routes": routes, "cors": cors}[site]()


def main() -> Any:
    return Starlette(
        routes=[
            Route("/plain", plain),
            Route("/json", json_small),
            Route("/json/large", json_large),
            Route("/items/{id:int}", parameters),
            Route("/json", json_in, methods=["POST"]),
            Route("/form", form, methods=["POST"]),
            Route("/upload", upload, methods=["POST"]),
            Route("/error", error),
            Route("/template", template),
            Route("/stream/{count:int}", stream),
            Route("/events", events),
            Route("/files/{name}", file),
            Route("/cookies", cookies),
            WebSocketRoute("/echo", echo),
        ],
        exception_handlers={NoMoreTea: no_more_tea},
    )


def middlewares() -> Any:
    around = [Middleware(Adding, name=name) for name in (b"x-one", b"x-two", b"x-three")]
    return Starlette(routes=[Route("/plain", plain)], middleware=around)


def routes() -> Any:
    def numbered(number: int) -> Any:
        async def handler(request: Request) -> Any:
            return PlainTextResponse(f"{number} {request.path_params['id']}")

        return handler

    return Starlette(
        routes=[
            Route(f"/r{number}/things/{{id:int}}", numbered(number)) for number in range(ROUTES)
        ]
    )


def cors() -> Any:
    policy = Middleware(CORSMiddleware, allow_origins=[ORIGIN.decode()])
    return Starlette(routes=[Route("/plain", plain)], middleware=[policy])
