"""The site in Litestar."""

from __future__ import annotations

from typing import Annotated, Any

from jinja2 import Environment
from litestar import Litestar, MediaType, Request, Response, WebSocket, get, post, websocket
from litestar.config.cors import CORSConfig
from litestar.contrib.jinja import JinjaTemplateEngine
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import WebSocketDisconnect
from litestar.params import Body, Parameter
from litestar.response import File, ServerSentEvent, ServerSentEventMessage, Stream, Template
from litestar.template import TemplateConfig

from benchmarks.cases import CHUNK, EVENTS, LARGE, MESSAGE, ORIGIN, ROUTES, ROWS, SMALL
from benchmarks.files import file_of, templates
from benchmarks.frameworks.bare_ import adding

ABSENT = {"range": "its file responses know no ranges"}


class NoMoreTea(Exception):
    pass


def build(site: str) -> Any:
    return {"main": main, "middlewares": middlewares, "routes": routes, "cors": cors}[site]()


@get("/plain", media_type=MediaType.TEXT)
async def plain() -> str:
    return MESSAGE


@get("/json")
async def json_small() -> dict[str, Any]:
    return SMALL


@get("/json/large")
async def json_large() -> list[dict[str, Any]]:
    return LARGE


@get("/items/{id:int}", media_type=MediaType.TEXT)
async def parameters(
    id: int, color: str, token: Annotated[str, Parameter(header="X-Token")]
) -> str:
    return f"{id} {color} {token}"


@post("/json", media_type=MediaType.TEXT, status_code=200)
async def json_in(request: Request[Any, Any, Any]) -> str:
    data = await request.json()
    return str(data["id"])


@post("/form", media_type=MediaType.TEXT, status_code=200)
async def form(
    data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> str:
    return f"{data['name']} {data['year']}"


@post("/upload", media_type=MediaType.TEXT, status_code=200, request_max_body_size=None)
async def upload(request: Request[Any, Any, Any]) -> str:
    fields = await request.form()
    file: UploadFile = fields["file"]
    size = file.file.seek(0, 2)
    return f"{fields['title']} {file.filename} {size}"


@get("/error", media_type=MediaType.TEXT)
async def error() -> str:
    raise NoMoreTea("no more tea")


def no_more_tea(request: Any, exc: NoMoreTea) -> Response[str]:
    return Response(str(exc), status_code=418, media_type=MediaType.TEXT)


@get("/template")
async def template() -> Template:
    return Template("rows.html", context={"title": "Rows", "rows": ROWS})


@get("/stream/{count:int}")
async def stream(count: int) -> Stream:
    async def chunks() -> Any:
        for _ in range(count):
            yield CHUNK

    return Stream(chunks())


@get("/events")
async def events() -> ServerSentEvent:
    async def numbers() -> Any:
        for number in range(EVENTS):
            yield ServerSentEventMessage(id=number, data=f"event {number}")

    return ServerSentEvent(numbers())


@get("/files/{name:str}")
async def file(name: str) -> File:
    return File(file_of(name))


@get("/cookies", media_type=MediaType.TEXT)
async def cookies(request: Request[Any, Any, Any]) -> Response[str]:
    response = Response(request.cookies["session"], media_type=MediaType.TEXT)
    response.set_cookie("seen", "yes")
    return response


@websocket("/echo")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


def app(handlers: list[Any], **more: Any) -> Any:
    return Litestar(route_handlers=handlers, openapi_config=None, logging_config=None, **more)


def main() -> Any:
    engine = JinjaTemplateEngine.from_environment(_environment())
    return app(
        [
            plain,
            json_small,
            json_large,
            parameters,
            json_in,
            form,
            upload,
            error,
            template,
            stream,
            events,
            file,
            cookies,
            echo,
        ],
        exception_handlers={NoMoreTea: no_more_tea},
        template_config=TemplateConfig(instance=engine),
    )


def _environment() -> Environment:
    from jinja2 import FileSystemLoader

    return Environment(loader=FileSystemLoader(templates()), autoescape=True)


def middlewares() -> Any:
    def named(name: bytes) -> Any:
        return lambda app: adding(name, app)

    return app([plain], middleware=[named(b"x-one"), named(b"x-two"), named(b"x-three")])


def routes() -> Any:
    def numbered(number: int) -> Any:
        @get(f"/r{number}/things/{{id:int}}", media_type=MediaType.TEXT)
        async def handler(id: int) -> str:
            return f"{number} {id}"

        return handler

    return app([numbered(number) for number in range(ROUTES)])


def cors() -> Any:
    return app([plain], cors_config=CORSConfig(allow_origins=[ORIGIN.decode()]))
