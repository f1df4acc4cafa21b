"""One worker of `benchmarks.scale`: an app of a framework under a server, on a socket that it inherits.

`python -m benchmarks.scale_server SERVER FRAMEWORK FD PING` serves until it is killed. All apps do the same: an event
stream that says one thing and is silent then, but for pings; a WebSocket that echoes; and small answers. SIGUSR1 makes
it print, as JSON, how many tasks live and whose code has allocated how many bytes since it first did so.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio

EVENT = "ready"


async def one_event() -> AsyncIterator[dict[str, str]]:
    yield {"data": EVENT}
    await anyio.sleep_forever()


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"a piece"


def kui_app(ping: float) -> Any:
    from kui.asgi import Kui, SendEventResponse, StreamResponse, request, websocket
    from kui.channels import Channels

    channels = Channels()
    app = Kui(resources=[channels])

    @app.router.http.get("/news")
    async def news() -> SendEventResponse:
        return SendEventResponse(channels.events("news"), ping_interval=ping)

    @app.router.http.get("/events")
    async def events() -> SendEventResponse:
        return SendEventResponse(one_event(), ping_interval=ping)

    @app.router.websocket("/socket")
    async def echo() -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    @app.router.http.get("/text")
    async def text() -> str:
        return "hello"

    @app.router.http.get("/items/{id:int}")
    async def item() -> dict[str, object]:
        return {"id": request.path_params["id"], "of": request.query_params.get("of")}

    @app.router.http.post("/body")
    async def body() -> str:
        return str(len(await request.body))

    @app.router.http.get("/stream")
    async def stream() -> StreamResponse:
        return StreamResponse(chunks())

    return app


def starlette_app(ping: float) -> Any:
    from sse_starlette import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket

    async def events(request: Request) -> Any:
        return EventSourceResponse(one_event(), ping=ping)  # type: ignore[arg-type] # a float works

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async def text(request: Request) -> Any:
        return PlainTextResponse("hello")

    async def item(request: Request) -> Any:
        return JSONResponse({"id": request.path_params["id"], "of": request.query_params.get("of")})

    async def body(request: Request) -> Any:
        return PlainTextResponse(str(len(await request.body())))

    async def stream(request: Request) -> Any:
        return StreamingResponse(chunks())

    return Starlette(
        routes=[
            Route("/events", events),
            WebSocketRoute("/socket", echo),
            Route("/text", text),
            Route("/items/{id:int}", item),
            Route("/body", body, methods=["POST"]),
            Route("/stream", stream),
        ]
    )


def bare_app(ping: float) -> Any:
    """The floor: no framework, one task a connection."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
        elif scope["path"] == "/events":
            await events(receive, send)
        else:
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"hello"})

    async def events(receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = f"data: {EVENT}\n\n".encode()
        message = {"type": "http.request"}
        while message["type"] != "http.disconnect":
            await send({"type": "http.response.body", "body": body, "more_body": True})
            body = b": ping\n\n"
            with anyio.move_on_after(ping):
                while message["type"] != "http.disconnect":
                    message = await receive()

    return app


APPS = {"bare": bare_app, "kui": kui_app, "starlette": starlette_app}


def report() -> dict[str, object]:
    """How many tasks there are, and whose lines have allocated what is in use, from the first report on."""
    if "trio" in sys.argv[1]:
        import trio

        tasks = trio.lowlevel.current_statistics().tasks_living
    else:
        import asyncio

        tasks = len(asyncio.all_tasks())
    sizes: Counter[str] = Counter()
    if tracemalloc.is_tracing():
        for each in tracemalloc.take_snapshot().statistics("filename"):
            sizes[owner(each.traceback[0].filename)] += each.size
    else:
        tracemalloc.start()
    return {"tasks": tasks, "bytes": sizes}


def owner(filename: str) -> str:
    """The package that a file belongs to."""
    _, found, rest = filename.rpartition("site-packages" + os.sep)
    if found:
        return rest.split(os.sep)[0].removesuffix(".py")
    if f"{os.sep}kui{os.sep}" in filename:
        return "kui"
    return "the app" if filename == __file__ else "the standard library"


def serve(kind: str, app: Any, descriptor: int) -> None:
    if kind == "uvicorn":
        import uvicorn

        config = uvicorn.Config(
            app,
            log_level="warning",
            loop="asyncio",
            http="h11",
            ws="wsproto",
            ws_ping_timeout=300,  # pongs wait while thousands of connections are opened
        )
        uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])
        return
    if kind.startswith("kui-"):
        from kui.serving.server import serve as serve_kui

        listening = partial(serve_kui, app, bind=f"fd://{descriptor}", keep_alive_timeout=60)
        anyio.run(listening, backend=kind.removeprefix("kui-"))
        return
    from hypercorn.config import Config

    hypercorn = Config()
    hypercorn.bind = [f"fd://{descriptor}"]
    hypercorn.backlog = 4096
    hypercorn.loglevel = "WARNING"
    hypercorn.keep_alive_timeout = 60  # for requests that come late, because the machine is busy
    if kind == "hypercorn-trio":
        import hypercorn.trio as runner
    else:
        import hypercorn.asyncio as runner  # type: ignore[no-redef] # one of both
    anyio.run(partial(runner.serve, app, hypercorn), backend=kind.removeprefix("hypercorn-"))


def main(kind: str, framework: str, descriptor: str, ping: str) -> None:
    signal.signal(signal.SIGUSR1, lambda *_: print(json.dumps(report()), flush=True))
    serve(kind, APPS[framework](float(ping)), int(descriptor))


if __name__ == "__main__":
    main(*sys.argv[1:])
