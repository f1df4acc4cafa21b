"""The site in Kui."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.cases import CHUNK, EVENTS, LARGE, MESSAGE, ORIGIN, ROUTES, ROWS, SMALL
from benchmarks.files import file_of, templates
from kui.asgi import (
    FileResponse,
    HttpRoute,
    Jinja2Templates,
    Kui,
    PlainTextResponse,
    SendEventResponse,
    StreamResponse,
    TemplateResponse,
    convert_response,
    request,
    websocket,
)


class NoMoreTea(Exception):
    pass


async def plain() -> str:
    return MESSAGE


def build(site: str) -> Any:
    return {"main": main, "middlewares": middlewares, "routes": routes, "cors": cors}[site]()


def main() -> Kui:
    app = Kui(templates=Jinja2Templates(templates(), enable_async=False))
    get, post = app.router.http.get, app.router.http.post
    get("/plain")(plain)

    @get("/json")
    async def json_small() -> Any:
        return SMALL

    @get("/json/large")
    async def json_large() -> Any:
        return LARGE

    @get("/items/{id:int}")
    async def parameters() -> str:
        return (
            f"{request.path_params['id']} {request.query_params['color']}"
            f" {request.headers['x-token']}"
        )

    @post("/json")
    async def json_in() -> str:
        data = await request.json
        return str(data["id"])

    @post("/form")
    async def form() -> str:
        fields = await request.form
        return f"{fields['name']} {fields['year']}"

    @post("/upload")
    async def upload() -> str:
        fields = await request.form
        file = fields["file"]
        size = file.file.seek(0, 2)
        return f"{fields['title']} {file.filename} {size}"

    @get("/error")
    async def error() -> str:
        raise NoMoreTea("no more tea")

    @app.exception_handler(NoMoreTea)
    async def no_more_tea(exc: NoMoreTea) -> Any:
        return str(exc), 418

    @get("/template")
    async def template() -> Any:
        return TemplateResponse("rows.html", {"title": "Rows", "rows": ROWS})

    @get("/stream/{count:int}")
    async def stream() -> Any:
        async def chunks(count: int) -> Any:
            for _ in range(count):
                yield CHUNK

        return StreamResponse(chunks(request.path_params["count"]))

    @get("/events")
    async def events() -> Any:
        async def numbers() -> Any:
            for number in range(EVENTS):
                yield {"id": number, "data": f"event {number}"}

        return SendEventResponse(numbers())

    @get("/files/{name}")
    async def file() -> Any:
        return FileResponse(file_of(request.path_params["name"]))

    @get("/cookies")
    async def cookies() -> Any:
        response = PlainTextResponse(request.cookies["session"])
        response.set_cookie("seen", "yes")
        return response

    @app.router.websocket("/echo")
    async def echo() -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    return app


def adding(name: str) -> Any:
    """A middleware that adds a header of this name."""

    def middleware(endpoint: Any) -> Any:
        async def around() -> Any:
            response = convert_response(await endpoint())
            response.headers[name] = "1"
            return response

        return around

    return middleware


def middlewares() -> Kui:
    around = [adding("x-one"), adding("x-two"), adding("x-three")]
    return Kui(routes=[HttpRoute("/plain", plain)], http_middlewares=around)


def routes() -> Kui:
    def numbered(number: int) -> Any:
        async def handler() -> str:
            return f"{number} {request.path_params['id']}"

        return handler

    return Kui(
        routes=[
            HttpRoute(f"/r{number}/things/{{id:int}}", numbered(number), name=f"r{number}")
            for number in range(ROUTES)
        ]
    )


def cors() -> Kui:
    origins = re.compile(re.escape(ORIGIN.decode()))
    return Kui(routes=[HttpRoute("/plain", plain)], cors_config={"allow_origins": origins})
