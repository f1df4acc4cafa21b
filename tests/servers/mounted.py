"""An app made of apps, for real servers: trees of files, Flask, Starlette, a Kui app, an echo of the scope."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import anyio
import flask
from baize.typing import Receive, Scope, Send
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kui.asgi import (
    WSGI,
    Files,
    Kui,
    Mount,
    Pages,
    SendEventResponse,
    Subpaths,
    compress,
    request,
    websocket,
)

tree = os.environ.get("TREE", "tests")

# ---- a Flask app, as it may have been for years

shop = flask.Flask("shop")
closed: list[str] = []


@shop.get("/")
def index() -> str:
    return f"{flask.request.script_root} {flask.url_for('item', number=7, _external=True)}"


@shop.route("/items/<int:number>", methods=["GET", "POST"])
def item(number: int) -> flask.Response:
    return flask.jsonify(number=number, form=flask.request.form, method=flask.request.method)


@shop.post("/upload")
def upload() -> str:
    size = 0
    while chunk := flask.request.stream.read(65_536):
        size += len(chunk)
    return str(size)


@shop.post("/echo")
def echo() -> flask.Response:
    def lines() -> Iterator[bytes]:
        while line := flask.request.stream.readline():
            yield line.upper()

    return flask.Response(flask.stream_with_context(lines()))


@shop.get("/endless")
def endless() -> flask.Response:
    def ticks() -> Iterator[bytes]:
        try:
            while True:
                yield b"tick" * 1000
        finally:
            print("app: closed", flush=True)

    return flask.Response(ticks())


@shop.get("/broken")
def broken() -> str:
    raise LookupError("a secret")


# ---- a Starlette app and a Kui app


async def user(request: Request) -> JSONResponse:
    return JSONResponse([str(request.url), str(request.url_for("user", id=8))])


starlette = Starlette(routes=[Route("/users/{id:int}", user, name="user")])

inner = Kui()


@inner.router.http.get("/users/{id:int}", name="user")
async def inner_user() -> list[str]:
    return [str(request.url), request.url_for("user", {"id": 8})]


@inner.router.http.get("/ticks")
async def ticks() -> SendEventResponse:
    async def events() -> object:
        for number in range(1000):
            yield {"data": str(number)}
            await anyio.sleep(0.01)

    return SendEventResponse(events())  # type: ignore[arg-type]  # what a generator function is annotated with


@inner.router.websocket("/echo")
async def socket() -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{websocket['root_path']} {text}")


@inner.on_startup
async def up(app: Kui) -> None:
    print("app: inner up", flush=True)


@inner.on_shutdown
async def down(app: Kui) -> None:
    print("app: inner down", flush=True)


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    told = {key: scope[key] for key in ("root_path", "path")}
    told["raw_path"] = scope["raw_path"].decode()
    body = json.dumps(told).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = Kui(
    routes=[
        Mount("/static", Files(tree), name="static"),
        Mount("/linked", Files(tree, follow_symlinks=True)),
        Mount("/pages", Pages(tree)),
        Mount("/old", WSGI(shop)),
        Mount("/starlette", starlette),
        Mount("/kui", inner),
        Mount("/tell", tell),
        Mount("/sub", Subpaths(("/tell", tell), ("/kui", inner))),
    ],
    http_middlewares=[compress()],
)
