"""Whatever stands between a server and an app may be cut anywhere, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from baize.typing import ASGIApp, Message, Receive, Scope, Send

from kui.asgi import Kui, Mount, StreamResponse, Subpaths, middleware, request_response
from kui.concurrency.lifespans import lifespans
from kui.testing import AsyncTestClient, every_checkpoint
from tests.support.scopes import http_scope

pytestmark = pytest.mark.anyio


@pytest.fixture
def hows(anyio_backend: str) -> list[Any]:
    """The ways in which a task is cancelled on this loop."""
    return ["scope", "native"] if anyio_backend == "asyncio" else ["scope"]


@middleware
async def pass_on(request: Any, next_call: Any) -> Any:
    return await next_call(request)


@middleware
async def shout(request: Any, next_call: Any) -> Any:
    response = await next_call(request)
    chunks = response.iterable
    response.iterable = (chunk.upper() async for chunk in chunks)
    return response


def stack(kind: str, state: SimpleNamespace) -> ASGIApp:
    """An app in layers, whose innermost handler and generator are noted in `state`."""

    async def chunks() -> AsyncIterator[bytes]:
        state.open += 1
        try:
            for _ in range(3):
                yield b"x"
                await anyio.lowlevel.checkpoint()
        finally:
            state.open -= 1

    @request_response
    async def view(request: Any) -> Any:
        state.open += 1
        try:
            await request.body
        finally:
            state.open -= 1
        request.exit_stack.callback(state.left.append, 1)
        return StreamResponse(chunks())

    return {
        "plain": lambda: view,
        "mounted": lambda: Kui(routes=[Mount("/", view)]),
        "in a middleware": lambda: pass_on(view),
        "replaced": lambda: shout(Subpaths(("", view))),
        "all": lambda: Kui(
            routes=[Mount("/", pass_on(Kui(routes=[Mount("/", shout(view))])))],
            asgi_middlewares=[pass_on],
        ),
    }[kind]()


@pytest.mark.parametrize("kind", ["plain", "mounted", "in a middleware", "replaced", "all"])
async def test_a_request_is_cut_at_every_checkpoint(kind: str, hows: list[Any]) -> None:
    async def scenario(state: SimpleNamespace) -> None:
        state.open = 0
        state.left = []
        state.sent = []
        parts = iter([b"a", b"b", b""])

        async def receive() -> Message:
            await anyio.lowlevel.checkpoint()
            body = next(parts, None)
            if body is None:
                await anyio.sleep_forever()
            return {"type": "http.request", "body": body, "more_body": body != b""}

        async def send(message: Message) -> None:
            await anyio.lowlevel.checkpoint()
            state.sent.append(message)

        headers = [(b"host", b"h"), (b"transfer-encoding", b"chunked")]
        await stack(kind, state)(http_scope(method="POST", headers=headers), receive, send)
        state.complete = True

    def check(state: SimpleNamespace) -> None:
        assert state.open == 0
        if hasattr(state, "complete"):
            body = b"".join(message.get("body", b"") for message in state.sent)
            assert body.lower() == b"xxx" and state.left == [1]

    for how in hows:
        assert await every_checkpoint(scenario, check, how=how) > 5


async def test_lifespans_are_cut_at_every_checkpoint(hows: list[Any]) -> None:
    class Living:
        def __init__(self, state: SimpleNamespace) -> None:
            self.state = state

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            self.state.up += 1
            try:
                await receive()
                await anyio.lowlevel.checkpoint()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await anyio.lowlevel.checkpoint()
                await send({"type": "lifespan.shutdown.complete"})
            finally:
                self.state.up -= 1

    async def scenario(state: SimpleNamespace) -> None:
        state.up = 0
        async with lifespans([(Living(state), {}), (Living(state), {})]):
            assert state.up == 2
            await anyio.lowlevel.checkpoint()

    def check(state: SimpleNamespace) -> None:
        assert state.up == 0

    for how in hows:
        assert await every_checkpoint(scenario, check, how=how) > 3


async def test_streams_end_properly_through_middlewares_when_the_server_stops() -> None:
    app = Kui(asgi_middlewares=[pass_on, shout])

    async def ticks() -> AsyncIterator[bytes]:
        yield b"tick"
        await anyio.sleep_forever()

    app.router.http.get("/")(lambda: StreamResponse(ticks()))
    async with AsyncTestClient(app) as client, client.stream("GET", "/") as response:
        assert await client.read(response, 4) == b"TICK"
        client.begin_shutdown()
        assert await response.aread() == b""
