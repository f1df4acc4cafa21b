"""A Kui application with everything that flows, and a path to ask how far it has come: for tests of HTTP/2."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from kui.asgi import (
    FileResponse,
    Kui,
    PlainTextResponse,
    SendEventResponse,
    StreamResponse,
    request,
)

from .apps import say

CHUNK = b"x" * 8192

app = Kui()
http = app.router.http
produced: Counter[str] = Counter()
told: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)


@contextmanager
def work() -> Iterator[str]:
    """Says what has ended: the work of a request, by its name."""
    name = request.path_params["name"]
    try:
        yield name
    finally:
        say(name, "ended")


@http.get("/plain")
async def plain() -> str:
    return "hello"


@http.get("/produced/{name}")
async def how_many() -> str:
    return str(produced[request.path_params["name"]])


@http.get("/endless/async/{name}")
async def from_async_generator() -> StreamResponse:
    async def chunks() -> AsyncIterator[bytes]:
        with work() as name:
            while True:
                produced[name] += 1
                yield CHUNK

    return StreamResponse(chunks())


@http.get("/endless/sync/{name}")
async def from_sync_generator() -> StreamResponse:
    def chunks() -> Iterator[bytes]:
        with work() as name:
            while True:
                produced[name] += 1
                yield CHUNK

    return StreamResponse(chunks())


@http.get("/endless/feed/{name}")
async def from_feed() -> StreamResponse:
    async def feed(send: Callable[[bytes], Awaitable[None]]) -> None:
        with work() as name:
            while True:
                produced[name] += 1
                await send(CHUNK)

    return StreamResponse(feed)


@http.get("/endless/events/{name}")
async def endless_events() -> SendEventResponse:
    async def events() -> AsyncIterator[dict[str, Any]]:
        with work() as name:
            while True:
                produced[name] += 1
                yield {"id": produced[name], "data": CHUNK.decode()}

    return SendEventResponse(events())  # type: ignore[arg-type] # what a generator function is annotated with


@http.get("/quiet/{name}")
async def quiet() -> SendEventResponse:
    async def events() -> AsyncIterator[dict[str, Any]]:
        with work():
            yield {"data": "the only one"}
            await anyio.sleep_forever()

    return SendEventResponse(events(), ping_interval=0.25)  # type: ignore[arg-type] # as before


@http.get("/counted/{name}")
async def counted() -> SendEventResponse:
    async def events() -> AsyncIterator[dict[str, Any]]:
        with work():
            for number in range(1, 101):
                yield {"id": number, "data": str(number)}

    return SendEventResponse(events())  # type: ignore[arg-type] # as before


@http.get("/file")
async def file() -> FileResponse:
    return FileResponse(os.environ["SERVED"])


@http.get("/big/{name}")
async def big() -> bytes:
    request.background_tasks.append(say, request.path_params["name"], "ended")
    return bytes(1 << 20)


@http.get("/half-way/{name}")
async def half_way() -> StreamResponse:
    async def chunks() -> AsyncIterator[bytes]:
        with work():
            yield b"the beginning"
            raise LookupError("there is no more")

    return StreamResponse(chunks())


@http.get("/of-http-1")
async def of_http_1() -> PlainTextResponse:
    return PlainTextResponse("hello", headers={"Connection": "keep-alive", "Keep-Alive": "9"})


@http.post("/echo/{name}")
async def echo() -> StreamResponse:
    async def chunks() -> AsyncIterator[bytes]:
        with work():
            async for chunk in request.stream():
                yield chunk

    return StreamResponse(chunks())


@http.post("/later/{name}")
async def later() -> str:
    """Reads its body once it is told to."""
    await told[request.path_params["name"]].wait()
    return str(len(await request.body))


@http.get("/tell/{name}")
async def tell() -> str:
    told[request.path_params["name"]].set()
    return "told"
