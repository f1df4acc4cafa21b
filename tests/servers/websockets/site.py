"""An app for tests on real servers. Each handler prints how it has ended: a line for its path and what it got."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from kui.asgi import HTTPException, Kui, SocketView, WebSocketDisconnect, allow_origins, websocket

live = 0


def told(endpoint: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """A middleware that prints how a handler has ended."""

    async def around() -> Any:
        global live
        live += 1
        how = "returned"
        try:
            return await endpoint()
        except WebSocketDisconnect as gone:
            how = f"disconnect {gone.code} {gone.reason}".rstrip()
            raise
        except BaseException as error:
            how = type(error).__name__
            raise
        finally:
            live -= 1
            print(f"<{websocket['path']}: {how}; {live} left>", flush=True)

    return around


app = Kui(socket_middlewares=[told])


@app.router.websocket("/echo")
async def echo() -> None:
    await websocket.accept()
    while True:
        message = await websocket.receive()
        await websocket.send({**message, "type": "websocket.send"})


@app.router.websocket("/json/{mode}")
async def json() -> None:
    mode = websocket.path_params["mode"]
    await websocket.accept()
    async for value in websocket.iter_json(mode):
        await websocket.send_json({"you": value}, mode)


@app.router.websocket("/text")
async def text() -> None:
    await websocket.accept()
    await websocket.receive_text()


@app.router.websocket("/subprotocol")
async def subprotocol() -> None:
    offered = websocket.subprotocols
    await websocket.accept(offered[-1] if offered else None, {"X-Offered": ",".join(offered)})


@app.router.websocket("/deny/{how}")
async def deny() -> object:
    how = websocket.path_params["how"]
    if how == "exception":
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}, content="Who are you?")
    if how == "value":
        return {"full": True}, 503
    if how == "empty":
        return "", 204
    if how == "close":
        await websocket.close()
    if how == "crash":
        raise ZeroDivisionError("before accept")
    return None


@app.router.websocket("/crash")
async def crash() -> None:
    await websocket.accept()
    await websocket.receive_text()
    raise ZeroDivisionError("after accept")


@app.router.websocket("/group")
async def group() -> None:
    await websocket.accept()
    async with anyio.create_task_group():
        await websocket.receive_text()
        raise ZeroDivisionError("in a group")


@app.router.websocket("/return")
async def returning() -> None:
    await websocket.accept()
    await websocket.receive_text()


@app.router.websocket("/close/{code:int}")
async def close() -> None:
    await websocket.accept()
    await websocket.close(websocket.path_params["code"], "because")


@app.router.websocket("/push/{size:int}")
async def push() -> None:
    """Only sends: a message of this size 50 times a second."""
    data = "x" * websocket.path_params["size"]
    await websocket.accept()
    while True:
        await websocket.send_text(data)
        await anyio.sleep(0.02)


@app.router.websocket("/quiet")
async def quiet() -> None:
    """Only sends, once in a while."""
    await websocket.accept()
    while True:
        await websocket.send_text("tick")
        await anyio.sleep(0.5)


@app.router.websocket("/both")
async def both() -> None:
    """The documented pattern: one task receives, others send."""

    async def push(name: str) -> None:
        for number in range(200):
            await websocket.send_text(f"{name}{number} " + name * 20_000)

    await websocket.accept()
    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(push, name)
        async for text in websocket.iter_text():
            await websocket.send_text(text)
        tasks.cancel_scope.cancel()


@app.router.websocket("/deaf/{seconds:int}")
async def deaf() -> None:
    """Neither receives nor sends."""
    await websocket.accept()
    await anyio.sleep(websocket.path_params["seconds"])


@app.router.websocket("/slow-accept")
async def slow_accept() -> None:
    print("<connecting>", flush=True)
    await anyio.sleep(0.5)
    await websocket.accept()
    await websocket.receive()


@app.router.websocket("/echo-slowly")
async def echo_slowly() -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text * 100)


@app.router.websocket("/heartbeat")
async def heartbeat() -> None:
    await websocket.accept(heartbeat=1)
    await websocket.receive_text()


@app.router.websocket("/origin", middlewares=[allow_origins("https://friend.com")])
async def origin() -> None:
    await websocket.accept()


@app.router.websocket("/view")
class View(SocketView):
    async def on_receive(self, data: str | bytes) -> None:
        await websocket.send_text(f"got {data!r}")

    async def on_disconnect(self, close_code: int) -> None:
        print(f"<view disconnected {close_code}>", flush=True)


@app.router.http.get("/")
async def at_work() -> str:
    """Prints how many handlers are at work: all that has ended is printed before."""
    print(f"<{live} at work>", flush=True)
    return str(live)
