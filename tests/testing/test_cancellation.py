"""The kit itself may be cancelled anywhere: what the app has opened is closed, and no task is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
from anyio.lowlevel import checkpoint
from baize.typing import Receive, Scope, Send

from kui.testing import AsyncTestClient, RequestBody, every_checkpoint

pytestmark = pytest.mark.anyio

Conversation: TypeAlias = Callable[[AsyncTestClient], Awaitable[None]]


class App:
    """Counts what is open: its lifespan, its requests, its WebSockets."""

    def __init__(self) -> None:
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.open += 1
        try:
            await getattr(self, scope["type"])(receive, send)
        finally:
            self.open -= 1

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def http(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        while (message := await receive())["type"] == "http.request":
            await send({**message, "type": "http.response.body"})
            if not message["more_body"]:
                return

    async def websocket(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})


async def plain(client: AsyncTestClient) -> None:
    assert (await client.post("/", content=b"a")).content == b"a"


async def streaming(client: AsyncTestClient) -> None:
    body = RequestBody()
    async with client.stream("POST", "/", content=body) as response:
        await body.send(b"a")
        assert await client.read(response, 1) == b"a"
        await body.end()
        assert await response.aread() == b""


async def leaving(client: AsyncTestClient) -> None:
    async with client.stream("POST", "/", content=RequestBody()):
        await checkpoint()


async def talking(client: AsyncTestClient) -> None:
    async with client.websocket("/") as ws:
        await ws.send("a")
        assert await ws.receive() == "a"


def scenario_of(
    conversation: Conversation,
) -> Callable[[SimpleNamespace], Coroutine[Any, Any, None]]:
    async def scenario(state: SimpleNamespace) -> None:
        state.app = App()
        async with AsyncTestClient(state.app) as client:
            await conversation(client)

    return scenario


def check(state: SimpleNamespace) -> None:
    assert state.app.open == 0


CONVERSATIONS = [plain, streaming, leaving, talking]


@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_a_client_that_is_cancelled_leaves_nothing_behind(conversation: Conversation) -> None:
    assert await every_checkpoint(scenario_of(conversation), check) >= 5


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_nor_does_one_whose_task_is_cancelled(conversation: Conversation) -> None:
    assert await every_checkpoint(scenario_of(conversation), check, how="native") >= 5
