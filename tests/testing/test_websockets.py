"""WebSockets in process: what is sent and received, how they are closed, cut and denied."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint
from baize.typing import ASGIApp, Message, Receive, Scope, Send

from kui.testing import (
    ASGITransport,
    AsyncTestClient,
    DeadlineExceeded,
    WebSocketClosed,
    WebSocketDenied,
)

pytestmark = pytest.mark.anyio

ACCEPT: Message = {"type": "websocket.accept"}


def client_of(app: ASGIApp, **settings: object) -> AsyncTestClient:
    transport = ASGITransport(app, **settings)  # type: ignore[arg-type]  # settings of one transport
    return AsyncTestClient(app, transport=transport, lifespan=False)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send({**ACCEPT, "subprotocol": next(iter(scope["subprotocols"]), None)})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def test_messages_go_there_and_back() -> None:
    async with client_of(echo) as client, client.websocket("/") as ws:
        await ws.send("text")
        assert await ws.receive() == "text"
        await ws.send(b"binary")
        assert await ws.receive() == b"binary"
        await ws.send_text("text")
        assert await ws.receive_text() == "text"
        await ws.send_bytes(b"binary")
        assert await ws.receive_bytes() == b"binary"
        await ws.send_json({"a": 1})
        assert await ws.receive_json() == {"a": 1}


async def test_a_message_of_the_other_kind_is_an_error() -> None:
    async with client_of(echo) as client, client.websocket("/") as ws:
        await ws.send("text")
        with pytest.raises(TypeError, match="binary"):
            await ws.receive_bytes()
        await ws.send(b"binary")
        with pytest.raises(TypeError, match="text"):
            await ws.receive_text()


async def test_the_scope_is_that_of_the_handshake() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await echo(scope, receive, send)

    async with client_of(app) as client:
        client.cookies.set("user", "ada")
        path = "https://example.org/chat"
        async with client.websocket(
            path, subprotocols=["v2", "v1"], headers={"X-Y": "z"}, params={"room": 1}
        ) as ws:
            assert ws.subprotocol == "v2"
    (scope,) = seen
    assert scope["type"] == "websocket"
    assert scope["scheme"] == "wss"
    assert scope["path"] == "/chat"
    assert scope["query_string"] == b"room=1"
    assert scope["subprotocols"] == ["v2", "v1"]
    assert scope["extensions"] == {"websocket.http.response": {}}
    headers = dict(scope["headers"])
    assert headers[b"x-y"] == b"z"
    assert headers[b"cookie"] == b"user=ada"
    assert headers[b"upgrade"] == b"websocket"
    assert headers[b"sec-websocket-version"] == b"13"
    assert headers[b"sec-websocket-protocol"] == b"v2, v1"


@pytest.mark.parametrize("both", [False, True])
async def test_a_message_has_one_key_or_both(both: bool) -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        seen.append(await receive())

    async with client_of(app, both_keys=both) as client, client.websocket("/") as ws:
        await ws.send("a")
        await anyio.wait_all_tasks_blocked()
    one = {"type": "websocket.receive", "text": "a"}
    assert seen == [{**one, "bytes": None} if both else one]


async def test_the_headers_of_the_acceptance_are_seen() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({**ACCEPT, "headers": [(b"x-room", b"1")]})
        await receive()

    async with client_of(app) as client, client.websocket("/") as ws:
        assert ws.subprotocol is None
        assert ws.headers["X-Room"] == "1"


# ---- closing


def accepts_and_sends(*messages: Message) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for message in messages:
            await send({"type": f"websocket.{message['type']}", **dict(list(message.items())[1:])})

    return app


async def test_the_app_closes_after_its_messages() -> None:
    app = accepts_and_sends(
        {"type": "send", "text": "a"}, {"type": "close", "code": 4000, "reason": "bye"}
    )
    async with client_of(app) as client, client.websocket("/") as ws:
        assert await ws.receive() == "a"
        with pytest.raises(WebSocketClosed, match="4000 bye") as raised:
            await ws.receive()
        assert (raised.value.code, raised.value.reason) == (4000, "bye")
        assert (ws.close_code, ws.close_reason) == (4000, "bye")
        with pytest.raises(WebSocketClosed):
            await ws.send("a")


async def test_a_close_without_a_code_is_1000() -> None:
    async with client_of(accepts_and_sends({"type": "close"})) as client:
        async with client.websocket("/") as ws:
            assert [message async for message in ws] == []
            assert (ws.close_code, ws.close_reason) == (1000, "")


async def test_iterating_gives_every_message_until_it_is_closed() -> None:
    app = accepts_and_sends(*({"type": "send", "text": str(number)} for number in range(3)))
    async with client_of(app) as client, client.websocket("/") as ws:
        assert [message async for message in ws] == ["0", "1", "2"]
        assert ws.close_code == 1006, "the app has returned without a close"


async def closing(scope: Scope, receive: Receive, send: Send) -> None:
    """Keeps the last message it receives in the state."""
    await receive()
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        pass
    await checkpoint()
    scope["seen"].append(message)


def noting(seen: list[Message]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["seen"] = seen
        await closing(scope, receive, send)

    return app


async def test_the_client_closes_with_a_code_and_a_reason() -> None:
    seen: list[Message] = []
    async with client_of(noting(seen)) as client, client.websocket("/") as ws:
        assert ws.close_code is None
        await ws.send("before")
        await ws.close(4001, "bye")
        await ws.close(1000)
        assert (ws.close_code, ws.close_reason) == (4001, "bye")
        with pytest.raises(WebSocketClosed):
            await ws.receive()
    assert seen == [{"type": "websocket.disconnect", "code": 4001, "reason": "bye"}]


async def test_what_was_not_received_before_the_close_is_lost() -> None:
    app = accepts_and_sends({"type": "send", "text": "a"}, {"type": "send", "text": "b"})
    async with client_of(app) as client, client.websocket("/") as ws:
        assert await ws.receive() == "a"
        await ws.close()
        with pytest.raises(WebSocketClosed, match="1000"):
            await ws.receive()


async def test_leaving_the_block_closes_with_1000_and_waits_for_the_app() -> None:
    seen: list[Message] = []
    async with client_of(noting(seen)) as client:
        async with client.websocket("/"):
            pass
        assert seen == [{"type": "websocket.disconnect", "code": 1000, "reason": ""}]


async def test_the_client_is_cut_off() -> None:
    seen: list[Message] = []
    async with client_of(noting(seen)) as client:
        async with client.websocket("/") as ws:
            ws.abort()
        async with client.websocket("/"):
            client.disconnect()
    assert [message["code"] for message in seen] == [1006, 1006]


@pytest.mark.parametrize("code", [999, 1005, 1006, 1015, 2999, 5000])
async def test_a_code_that_may_not_be_sent_is_the_tests_own_mistake(code: int) -> None:
    async with client_of(echo) as client, client.websocket("/") as ws:
        with pytest.raises(ValueError, match="no code that may be sent"):
            await ws.close(code)
        with pytest.raises(ValueError, match="123 bytes"):
            await ws.close(1000, "x" * 124)


async def test_messages_that_were_sent_before_the_end_are_received_first() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await anyio.wait_all_tasks_blocked()
        while (message := await receive())["type"] == "websocket.receive":
            seen.append(message["text"])

    async with client_of(app) as client, client.websocket("/") as ws:
        await ws.send("a")
        await ws.send("b")
    assert seen == ["a", "b"]


@pytest.mark.parametrize("raises", [False, True])
async def test_send_after_the_client_has_left_does_nothing_or_raises(raises: bool) -> None:
    outcome = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        try:
            await send({"type": "websocket.send", "text": "a"})
        except OSError:
            outcome.append("raised")
        else:
            outcome.append("nothing")

    async with client_of(app, raise_after_leaving=raises) as client, client.websocket("/"):
        pass
    assert outcome == ["raised" if raises else "nothing"]


# ---- waiting


async def test_receive_has_a_deadline_and_may_be_called_again() -> None:
    async with client_of(echo) as client, client.websocket("/", timeout=0.01) as ws:
        with pytest.raises(DeadlineExceeded, match="no message came within"):
            await ws.receive()
        with pytest.raises(TimeoutError, match="no message came within"):
            await ws.receive(timeout=0.02)
        await ws.send("a")
        assert await ws.receive(timeout=None) == "a"


async def test_a_receive_that_is_cancelled_loses_nothing() -> None:
    async with client_of(echo) as client, client.websocket("/") as ws:
        with anyio.move_on_after(0.01) as scope:
            await ws.receive()
        assert scope.cancelled_caught
        await ws.send("a")
        assert await ws.receive() == "a"


async def test_a_client_that_does_not_receive_holds_the_app_back() -> None:
    sent = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for number in range(10):
            await send({"type": "websocket.send", "text": "x" * 10})
            sent.append(number)

    async with client_of(app, buffer_size=30) as client, client.websocket("/") as ws:
        await anyio.wait_all_tasks_blocked()
        assert len(sent) == 3
        assert len([message async for message in ws]) == 10


async def test_an_app_that_does_not_receive_holds_the_client_back() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await anyio.sleep_forever()

    async with client_of(app, wait_for_app=False) as client:
        async with client.websocket("/") as ws:
            for _ in range(10):
                await ws.send("a")
            with pytest.raises(DeadlineExceeded, match="did not receive what was sent"):
                await ws.send("a", timeout=0.01)


async def test_a_handshake_that_is_not_answered() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with client_of(app) as client:
        with pytest.raises(DeadlineExceeded, match="no answer to the handshake"):
            async with client.websocket("/", timeout=0.01):
                pytest.fail("the block is not entered")


# ---- denial


async def test_a_close_before_acceptance_is_a_403() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000})

    async with client_of(app) as client:
        with pytest.raises(WebSocketDenied, match="403") as raised:
            async with client.websocket("/"):
                pytest.fail("the block is not entered")
    assert raised.value.response.status_code == 403
    assert raised.value.response.content == b""


async def test_a_denial_gives_its_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        kind = "websocket.http.response"
        headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Basic")]
        await send({"type": f"{kind}.start", "status": 401, "headers": headers})
        await send({"type": f"{kind}.body", "body": b"who ", "more_body": True})
        await send({"type": f"{kind}.body", "body": b"are you"})

    async with client_of(app) as client:
        with pytest.raises(WebSocketDenied, match="401") as raised:
            async with client.websocket("/"):
                pytest.fail("the block is not entered")
    response = raised.value.response
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Basic"
    assert response.text == "who are you"


async def test_an_exception_before_acceptance() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise KeyError("a")

    async with client_of(app) as client:
        with pytest.raises(KeyError):
            async with client.websocket("/"):
                pytest.fail("the block is not entered")
    async with client_of(app, raise_app_exceptions=False) as client:
        with pytest.raises(WebSocketDenied, match="500"):
            async with client.websocket("/"):
                pytest.fail("the block is not entered")


# ---- exceptions of the app


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    await receive()
    raise KeyError("a")


async def test_an_exception_of_the_app_is_raised_where_it_is_noticed() -> None:
    async with client_of(fails) as client:
        async with client.websocket("/") as ws:
            await ws.send("go")
            with pytest.raises(KeyError):
                await ws.receive()
        with pytest.raises(KeyError):
            async with client.websocket("/"):
                pass


async def test_an_exception_that_follows_a_close_is_raised_where_the_block_ends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": 1011})
        await checkpoint()
        raise KeyError("a")

    async with client_of(app) as client:
        with pytest.raises(KeyError):
            async with client.websocket("/") as ws:
                await ws.receive()
    async with client_of(app, raise_app_exceptions=False) as client:
        async with client.websocket("/") as ws:
            with pytest.raises(WebSocketClosed, match="1011"):
                await ws.receive()


async def test_an_exception_of_the_test_is_raised_as_itself() -> None:
    async with client_of(echo) as client:
        with pytest.raises(ZeroDivisionError):
            async with client.websocket("/"):
                raise ZeroDivisionError
