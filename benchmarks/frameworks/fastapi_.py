"""The site in FastAPI."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Cookie, FastAPI, Form, Header, Request, UploadFile, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.templating import Jinja2Templates

from benchmarks.cases import CHUNK, EVENTS, LARGE, MESSAGE, ORIGIN, ROUTES, ROWS, SMALL
from benchmarks.files import file_of, templates
from benchmarks.frameworks.starlette_ import Adding

jinja = Jinja2Templates(templates())


class NoMoreTea(Exception):
    pass


def build(site: str) -> Any:
    return {"main": main, "middlewares": middlewares, "routes": routes, "cors": cors}[site]()


def bare_app() -> FastAPI:
    return FastAPI(openapi_url=None)


async def plain() -> Any:
    return PlainTextResponse(MESSAGE)


def main() -> Any:
    app = bare_app()
    app.get("/plain", response_class=PlainTextResponse)(plain)

    @app.get("/json")
    async def json_small() -> dict[str, Any]:
        return SMALL

    @app.get("/json/large")
    async def json_large() -> list[dict[str, Any]]:
        return LARGE

    @app.get("/items/{id}")
    async def parameters(id: int, color: str, x_token: Annotated[str, Header()]) -> Any:
        return PlainTextResponse(f"{id} {color} {x_token}")

    @app.post("/json")
    async def json_in(request: Request) -> Any:
        data = await request.json()
        return PlainTextResponse(str(data["id"]))

    @app.post("/form")
    async def form(name: Annotated[str, Form()], year: Annotated[str, Form()]) -> Any:
        return PlainTextResponse(f"{name} {year}")

    @app.post("/upload")
    async def upload(title: Annotated[str, Form()], file: UploadFile) -> Any:
        size = file.file.seek(0, 2)
        return PlainTextResponse(f"{title} {file.filename} {size}")

    @app.get("/error")
    async def error() -> Any:
        raise NoMoreTea("no more tea")

    @app.exception_handler(NoMoreTea)
    async def no_more_tea(request: Request, exc: Exception) -> Any:
        return PlainTextResponse(str(exc), 418)

    @app.get("/template")
    async def template(request: Request) -> Any:
        return jinja.TemplateResponse(request, "rows.html", {"title": "Rows", "rows": ROWS})

    @app.get("/stream/{count}")
    async def stream(count: int) -> Any:
        async def chunks() -> Any:
            for _ in range(count):
                yield CHUNK

        return StreamingResponse(chunks())

    @app.get("/events", response_class=EventSourceResponse)
    async def events() -> Any:
        for number in range(EVENTS):
            yield ServerSentEvent(raw_data=f"event {number}", id=str(number))

    @app.get("/files/{name}")
    async def file(name: str) -> Any:
        return FileResponse(file_of(name))

    @app.get("/cookies")
    async def cookies(session: Annotated[str, Cookie()]) -> Any:
        response = PlainTextResponse(session)
        response.set_cookie("seen", "yes")
        return response

    @app.websocket("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    return app


def middlewares() -> Any:
    app = bare_app()
    app.get("/plain")(plain)
    for name in (b"x-three", b"x-two", b"x-one"):
        app.add_middleware(Adding, name=name)
    return app


def routes() -> Any:
    app = bare_app()

    def numbered(number: int) -> Any:
        async def handler(id: int) -> Any:
            return PlainTextResponse(f"{number} {id}")

        return handler

    for number in range(ROUTES):
        app.get(f"/r{number}/things/{{id}}")(numbered(number))
    return app


def cors() -> Any:
    app = bare_app()
    app.get("/plain")(plain)
    app.add_middleware(CORSMiddleware, allow_origins=[ORIGIN.decode()])
    return app
