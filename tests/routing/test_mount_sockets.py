"""WebSockets of mounted apps: the messages, the ends, and who learns of them."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from baize.typing import Message, Receive, Scope, Send

from kui.asgi import Kui, Mount, websocket
from kui.testing import AsyncTestClient, WebSocketClosed, WebSocketDenied
from tests.support.telling_apps import tell

pytestmark = pytest.mark.anyio


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise RuntimeError("WebSockets only")
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "chat"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") == "bye":
            await send({"type": "websocket.close", "code": 4000, "reason": "bye"})
            return
        await send({**message, "type": "websocket.send"})


async def test_text_and_bytes_go_both_ways() -> None:
    app = Kui(routes=[Mount("/m", echo)])
    async with (
        AsyncTestClient(app) as client,
        client.websocket("/m/x", subprotocols=["chat"]) as ws,
    ):
        assert ws.subprotocol == "chat"
        await ws.send("é")
        assert await ws.receive() == "é"
        await ws.send(b"\x00\xff")
        assert await ws.receive() == b"\x00\xff"


async def test_the_close_code_and_reason_of_the_app_reach_the_client() -> None:
    app = Kui(routes=[Mount("/m", echo)])
    async with (
        AsyncTestClient(app) as client,
        client.websocket("/m", subprotocols=["chat"]) as ws,
    ):
        await ws.send("bye")
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
    assert (closed.value.code, closed.value.reason) == (4000, "bye")


async def test_the_app_sees_its_prefix() -> None:
    app = Kui(routes=["/{tenant}" // Mount("/m", tell)])
    async with AsyncTestClient(app) as client, client.websocket("/t/m/x") as ws:
        seen = json.loads(await ws.receive())
    assert (seen["root_path"], seen["route_path"]) == ("/t/m", "/x")
    assert seen["path_params"] == {"tenant": "t"}


async def test_the_app_is_told_with_which_code_the_client_left() -> None:
    seen: list[Message] = []

    async def listen(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        seen.append(await receive())
        seen.append(await receive())  # again and again

    async with AsyncTestClient(Kui(routes=[Mount("/m", listen)])) as client:
        async with client.websocket("/m") as ws:
            await ws.close(4001, "enough")
        await client.wait_idle()
    assert [(each["type"], each["code"], each["reason"]) for each in seen] == [
        ("websocket.disconnect", 4001, "enough")
    ] * 2


async def test_an_app_that_only_sends_learns_of_the_end_by_an_oserror_which_is_no_failure() -> None:
    seen: list[BaseException] = []

    async def push(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "text": "tick"})
                await anyio.sleep(0.01)
        except OSError as error:
            seen.append(error)
            raise

    async with AsyncTestClient(Kui(routes=[Mount("/m", push)])) as client:
        async with client.websocket("/m") as ws:
            assert await ws.receive() == "tick"
        await client.wait_idle()
    assert len(seen) == 1


async def test_a_handshake_that_the_app_refuses_is_refused() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        if scope["path"].endswith("close"):
            await send({"type": "websocket.close"})
            return
        headers: list[Any] = [(b"x-why", b"no")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"who are you?"})

    async with AsyncTestClient(Kui(routes=[Mount("/m", refuse)])) as client:
        for path, status in {"/m/close": 403, "/m/deny": 401}.items():
            with pytest.raises(WebSocketDenied) as denied:
                async with client.websocket(path):
                    pass
            assert denied.value.response.status_code == status


async def test_an_app_that_knows_no_websockets_refuses_them() -> None:
    inner = Kui()
    inner.router.http.get("/")(lambda: "http")
    async with AsyncTestClient(Kui(routes=[Mount("/m", inner)])) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/m"):
                pass
    assert denied.value.response.status_code == 404


async def test_the_sockets_of_a_mounted_kui_app_are_its_own() -> None:
    inner = Kui()
    seen: list[Any] = []

    @inner.router.websocket("/ws/{room}")
    async def room() -> None:
        await websocket.accept()
        seen.append((websocket.app, websocket.path_params, str(websocket.url)))
        async for text in websocket.iter_text():
            await websocket.send_text(text * 2)

    async with AsyncTestClient(Kui(routes=[Mount("/m", inner)])) as client:
        async with client.websocket("/m/ws/tea") as ws:
            await ws.send("ab")
            assert await ws.receive() == "abab"
    assert seen == [(inner, {"room": "tea"}, "ws://testserver/m/ws/tea")]


async def test_the_end_of_the_server_closes_the_sockets_of_mounted_apps() -> None:
    ended = anyio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise RuntimeError("WebSockets only")
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"
        ended.set()

    async with AsyncTestClient(Kui(routes=[Mount("/m", wait)])) as client:
        async with client.websocket("/m") as ws:
            client.begin_shutdown()
            with pytest.raises(WebSocketClosed) as closed:
                await ws.receive()
            assert closed.value.code == 1001
            await ended.wait()


async def test_what_the_app_raises_closes_the_socket_with_1011_and_is_raised() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise RuntimeError("WebSockets only")
        await receive()
        await send({"type": "websocket.accept"})
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        async with AsyncTestClient(Kui(routes=[Mount("/m", fail)])) as client:
            async with client.websocket("/m") as ws:
                await ws.receive()
