"""The site in Quart, and in Quart-Trio on the other loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quart import Quart, Response, jsonify, make_response, render_template, request, send_file
from quart import websocket as socket

from benchmarks.cases import CHUNK, EVENTS, LARGE, MESSAGE, ROUTES, ROWS, SMALL
from benchmarks.files import file_of, templates

TEXT = {"content-type": "text/plain; charset=utf-8"}


ABSENT = {"cors": "that is another package's"}


class NoMoreTea(Exception):
    pass


@dataclass
class ServerSentEvent:
    """What an application writes for itself, as the documentation shows it."""

    data: str
    event: str | None = None
    id: int | None = None
    retry: int | None = None

    def encode(self) -> bytes:
        lines = [f"data: {self.data}"]
        for name in ("event", "id", "retry"):
            value = getattr(self, name)
            if value is not None:
                lines.append(f"{name}: {value}")
        return ("\n".join(lines) + "\n\n").encode()


def build(site: str) -> Any:
    return {"main": main, "middlewares": middlewares, "routes": routes}[site]()


def quart() -> Quart:
    import sniffio

    if sniffio.current_async_library() == "trio":
        from quart_trio import QuartTrio

        app: Quart = QuartTrio(__name__, template_folder=templates())
    else:
        app = Quart(__name__, template_folder=templates())
    app.config["MAX_CONTENT_LENGTH"] = None
    app.config["BODY_TIMEOUT"] = None
    return app


async def plain() -> Any:
    return MESSAGE, TEXT


def main() -> Any:
    app = quart()
    get, post = app.get, app.post
    get("/plain")(plain)

    @get("/json")
    async def json_small() -> Any:
        return jsonify(SMALL)

    @get("/json/large")
    async def json_large() -> Any:
        return jsonify(LARGE)

    @get("/items/<int:id>")
    async def parameters(id: int) -> Any:
        return f"{id} {request.args['color']} {request.headers['x-token']}", TEXT

    @post("/json")
    async def json_in() -> Any:
        data = await request.get_json()
        return str(data["id"]), TEXT

    @post("/form")
    async def form() -> Any:
        fields = await request.form
        return f"{fields['name']} {fields['year']}", TEXT

    @post("/upload")
    async def upload() -> Any:
        fields, files = await request.form, await request.files
        file = files["file"]
        size = file.stream.seek(0, 2)
        return f"{fields['title']} {file.filename} {size}", TEXT

    @get("/error")
    async def error() -> Any:
        raise NoMoreTea("no more tea")

    @app.errorhandler(NoMoreTea)
    async def no_more_tea(exc: NoMoreTea) -> Any:
        return str(exc), 418, TEXT

    @get("/template")
    async def template() -> Any:
        return await render_template("rows.html", title="Rows", rows=ROWS)

    @get("/stream/<int:count>")
    async def stream(count: int) -> Any:
        async def chunks() -> Any:
            for _ in range(count):
                yield CHUNK

        return chunks(), TEXT

    @get("/events")
    async def events() -> Any:
        async def numbers() -> Any:
            for number in range(EVENTS):
                yield ServerSentEvent(f"event {number}", id=number).encode()

        response: Any = await make_response(numbers(), {"content-type": "text/event-stream"})
        response.timeout = None
        return response

    @get("/files/<name>")
    async def file(name: str) -> Any:
        return await send_file(file_of(name), conditional=True)

    @get("/cookies")
    async def cookies() -> Any:
        response = Response(request.cookies["session"], headers=TEXT)
        response.set_cookie("seen", "yes")
        return response

    @app.websocket("/echo")
    async def echo() -> None:
        while True:
            await socket.send(await socket.receive())

    return app


def middlewares() -> Any:
    app = quart()
    app.get("/plain")(plain)

    def adding(name: str) -> Any:
        async def after(response: Any) -> Any:
            response.headers[name] = "1"
            return response

        return after

    for name in ("x-three", "x-two", "x-one"):
        app.after_request(adding(name))
    return app


def routes() -> Any:
    app = quart()

    def numbered(number: int) -> Any:
        async def handler(id: int) -> Any:
            return f"{number} {id}", TEXT

        return handler

    for number in range(ROUTES):
        app.add_url_rule(f"/r{number}/things/<int:id>", f"r{number}", numbered(number))
    return app
