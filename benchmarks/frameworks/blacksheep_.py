"""The site in BlackSheep, which is compiled, and for asyncio."""

from __future__ import annotations

from typing import Any

from blacksheep import Application, Cookie, Request, Response, StreamedContent, WebSocket
from blacksheep.server.responses import json, text, view
from blacksheep.server.routing import Router
from blacksheep.server.sse import ServerSentEventsResponse, TextServerSentEvent
from blacksheep.server.websocket import WebSocketDisconnectError
from blacksheep.settings.html import html_settings
from jinja2 import FileSystemLoader

from benchmarks.cases import CHUNK, EVENTS, LARGE, MESSAGE, ORIGIN, ROUTES, ROWS, SMALL
from benchmarks.files import directory, templates


class NoMoreTea(Exception):
    pass


def build(site: str) -> Any:
    return {"main": main, "middlewares": middlewares, "routes": routes, "cors": cors}[site]()


async def plain() -> Any:
    return text(MESSAGE)


def main() -> Any:
    from blacksheep.server.rendering.jinja2 import JinjaRenderer

    html_settings.use(JinjaRenderer(FileSystemLoader(templates())))
    app = Application(router=Router())
    get, post = app.router.get, app.router.post
    get("/plain")(plain)

    @get("/json")
    async def json_small() -> Any:
        return json(SMALL)

    @get("/json/large")
    async def json_large() -> Any:
        return json(LARGE)

    @get("/items/{int:id}")
    async def parameters(request: Request) -> Any:
        token = request.get_first_header(b"x-token") or b""
        number = int(request.route_values["id"])
        return text(f"{number} {request.query['color'][0]} {token.decode()}")

    @post("/json")
    async def json_in(request: Request) -> Any:
        data = await request.json()
        return text(str(data["id"]))

    @post("/form")
    async def form(request: Request) -> Any:
        fields: Any = await request.form()
        return text(f"{fields['name']} {fields['year']}")

    @post("/upload")
    async def upload(request: Request) -> Any:
        title, name, size = "", "", 0
        for part in await request.multipart() or ():
            if part.file_name:
                name = part.file_name.decode()
                size = part.size if hasattr(part, "size") else len(part.data)
            else:
                title = part.data.decode()
        return text(f"{title} {name} {size}")

    @get("/error")
    async def error() -> Any:
        raise NoMoreTea("no more tea")

    async def no_more_tea(self: Any, request: Request, exc: NoMoreTea) -> Any:
        return text(str(exc), 418)

    app.exceptions_handlers[NoMoreTea] = no_more_tea

    @get("/template")
    async def template() -> Any:
        return view("rows", {"title": "Rows", "rows": ROWS})

    @get("/stream/{int:count}")
    async def stream(request: Request) -> Any:
        count = int(request.route_values["count"])

        async def chunks() -> Any:
            for _ in range(count):
                yield CHUNK

        return Response(200, content=StreamedContent(b"text/plain", chunks))

    @get("/events")
    async def events() -> Any:
        async def numbers() -> Any:
            for number in range(EVENTS):
                yield TextServerSentEvent(f"event {number}", id=str(number))

        return ServerSentEventsResponse(numbers)

    app.serve_files(directory(), root_path="files", extensions={".bin"})

    @get("/cookies")
    async def cookies(request: Request) -> Any:
        response = text(request.cookies["session"])
        response.set_cookie(Cookie("seen", "yes", path="/"))
        return response

    @app.router.ws("/echo")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except WebSocketDisconnectError:
            pass

    return app


def middlewares() -> Any:
    app = Application(router=Router())
    app.router.get("/plain")(plain)

    def adding(name: bytes) -> Any:
        async def middleware(request: Request, handler: Any) -> Any:
            response = await handler(request)
            response.add_header(name, b"1")
            return response

        return middleware

    for name in (b"x-one", b"x-two", b"x-three"):
        app.middlewares.append(adding(name))
    return app


def routes() -> Any:
    app = Application(router=Router())

    def numbered(number: int) -> Any:
        async def handler(request: Request) -> Any:
            return text(f"{number} {int(request.route_values['id'])}")

        return handler

    for number in range(ROUTES):
        app.router.get(f"/r{number}/things/{{int:id}}")(numbered(number))
    return app


def cors() -> Any:
    app = Application(router=Router())
    app.use_cors(allow_methods="*", allow_origins=ORIGIN.decode())
    app.router.get("/plain")(plain)
    return app
