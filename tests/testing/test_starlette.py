"""The kit knows nothing of the framework under test: here it is Starlette."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from kui.testing import (
    ASGITransport,
    AsyncTestClient,
    RequestBody,
    TestClient,
    WebSocketDenied,
    virtual_clock,
)

pytestmark = pytest.mark.anyio


class Shop:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.app = Starlette(
            routes=[
                Route("/items/{number:int}", self.item),
                Route("/upload", self.upload, methods=["POST"]),
                Route("/echo", self.echo, methods=["POST"]),
                Route("/ticks", self.ticks),
                Route("/background", self.background),
                Route("/fails", self.fails),
                WebSocketRoute("/chat", self.chat),
                WebSocketRoute("/denied", self.denied),
            ],
            lifespan=self.lifespan,
        )

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[dict[str, str]]:
        self.log.append("up")
        yield {"db": "open"}
        self.log.append("down")

    async def item(self, request: Request) -> Response:
        return JSONResponse({"item": request.path_params["number"], "db": request.state.db})

    async def upload(self, request: Request) -> Response:
        return JSONResponse({"size": len(await request.body())})

    async def echo(self, request: Request) -> Response:
        return StreamingResponse(request.stream())

    async def ticks(self, request: Request) -> Response:
        async def ticks() -> AsyncIterator[str]:
            try:
                number = 0
                while True:
                    yield f"id: {number}\ndata: tick\n\n"
                    number += 1
                    await anyio.sleep(60)
            finally:
                self.log.append("ticks ended")

        return StreamingResponse(ticks(), media_type="text/event-stream")

    async def background(self, request: Request) -> Response:
        async def work() -> None:
            self.log.append("background")

        return Response(background=BackgroundTask(work))

    async def fails(self, request: Request) -> Response:
        raise KeyError("a")

    async def chat(self, websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="chat")
        async for text in websocket.iter_text():
            await websocket.send_text(f"you said {text}")
        self.log.append("chat ended")

    async def denied(self, websocket: WebSocket) -> None:
        await websocket.send_denial_response(Response("members only", 401))


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_requests_and_the_lifespan(shop: Shop) -> None:
    async with AsyncTestClient(shop.app) as client:
        assert (await client.get("/items/7")).json() == {"item": 7, "db": "open"}
        assert (await client.post("/upload", content=b"x" * 100_000)).json() == {"size": 100_000}
        assert (await client.get("/nothing")).status_code == 404
        await client.get("/background")
    assert shop.log == ["up", "background", "down"]


async def test_an_exception_of_a_handler(shop: Shop) -> None:
    async with AsyncTestClient(shop.app) as client:
        with pytest.raises(KeyError):
            await client.get("/fails")
    async with AsyncTestClient(shop.app, raise_app_exceptions=False) as client:
        assert (await client.get("/fails")).status_code == 500


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_stream_that_is_left(shop: Shop) -> None:
    async with AsyncTestClient(shop.app) as client:
        async with client.events("/ticks") as events:
            assert (await events.receive()).data == "tick"
            client.disconnect()
            await client.wait_idle()
        assert shop.log[-1] == "ticks ended"


@pytest.mark.parametrize(
    "anyio_backend", [virtual_clock("asyncio"), virtual_clock("trio")], ids=["asyncio", "trio"]
)
async def test_an_hour_of_ticks_takes_no_time(shop: Shop) -> None:
    async with AsyncTestClient(shop.app) as client, client.events("/ticks") as events:
        async for event in events:
            if event.id == "60":
                break


async def test_an_echo_while_it_is_sent(shop: Shop) -> None:
    # Where send does not tell that the client has left, Starlette listens for it, and takes from the
    # body what it does not pass on: so here it is told.
    transport = ASGITransport(shop.app, raise_after_leaving=True)
    body = RequestBody()
    async with AsyncTestClient(shop.app, transport=transport) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(body.send, b"first")
            async with client.stream("POST", "/echo", content=body) as response:
                assert await client.read(response, 5) == b"first"
                await body.end()
                assert await response.aread() == b""


async def test_a_websocket(shop: Shop) -> None:
    async with AsyncTestClient(shop.app) as client:
        async with client.websocket("/chat", subprotocols=["chat"]) as ws:
            await ws.send("hello")
            assert await ws.receive() == "you said hello"
        assert shop.log[-1] == "chat ended"
        with pytest.raises(WebSocketDenied) as raised:
            async with client.websocket("/denied"):
                pytest.fail("the block is not entered")
    assert (raised.value.response.status_code, raised.value.response.text) == (401, "members only")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_without_async(shop: Shop, backend: str) -> None:
    with TestClient(shop.app, backend=backend) as client:
        assert client.get("/items/7").json() == {"item": 7, "db": "open"}
        with client.websocket("/chat", subprotocols=["chat"]) as ws:
            ws.send("hello")
            assert ws.receive() == "you said hello"
