"""A Kui application with everything that lives as long as it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio

from kui.asgi import Kui, SendEventResponse, StreamResponse, websocket

from .apps import say


async def lifespan(app: Kui) -> AsyncIterator[None]:
    say("opened")
    app.task_group.start_soon(service)
    yield
    say("closed")


async def service() -> None:
    try:
        await anyio.sleep_forever()
    finally:
        say("service ends")


app = Kui(
    lifespan=lifespan,
    on_startup=[lambda app: say("up")],
    on_shutdown=[lambda app: say("down")],
)


@app.router.http.get("/")
async def index() -> str:
    return "hello"


@app.router.http.get("/events")
async def events() -> SendEventResponse:
    async def forever() -> AsyncIterator[dict[str, Any]]:
        yield {"data": "1"}
        await anyio.sleep_forever()

    return SendEventResponse(forever())


@app.router.http.get("/stream")
async def stream() -> StreamResponse:
    async def forever() -> AsyncIterator[bytes]:
        yield b"first"
        await anyio.sleep_forever()

    return StreamResponse(forever())


@app.router.http.get("/crash")
async def crash() -> str:
    async def fails() -> None:
        raise LookupError("the feed is gone")

    app.task_group.start_soon(fails)
    return "started"


@app.router.websocket("/chat")
async def chat() -> None:
    await websocket.accept()
    await anyio.sleep_forever()
