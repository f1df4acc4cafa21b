"""The app of `soak.py`: something to be cut in, in every state that a connection can be in."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator

import anyio
import sniffio

from kui.asgi import Kui, StreamResponse, cancel_on_disconnect, request, websocket

app = Kui()


@app.get("/")
async def hello() -> str:
    return "hello"


@app.post("/read")
async def read() -> str:
    return str(len(await request.body))


@app.get("/wait", middlewares=[cancel_on_disconnect])
async def wait() -> None:
    await anyio.sleep_forever()


@app.get("/stream")
async def stream() -> StreamResponse:
    return StreamResponse(chunks())


async def chunks() -> AsyncIterator[bytes]:
    while True:
        yield b"hello" * 200
        await anyio.sleep(0.01)


@app.websocket("/echo")
async def echo() -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@app.get("/figures")
async def figures() -> dict[str, int]:
    """What is left of the requests before this one."""
    gc.collect()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,  # that of the listing itself
        "requests": app.in_flight - 1,
        "tasks": tasks(),
        "memory": memory(),
    }


def tasks() -> int:
    if sniffio.current_async_library() == "asyncio":
        return len(asyncio.all_tasks())
    import trio

    return trio.lowlevel.current_statistics().tasks_living


def memory() -> int:
    """The bytes that this process has for itself."""
    private = 0
    with open("/proc/self/smaps_rollup") as lines:
        for line in lines:
            if line.startswith("Private_"):
                private += int(line.split()[1])
    return private * 1024
