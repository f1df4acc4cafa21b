"""Messages as text, as bytes, as JSON and as ASGI has them; and those of the wrong type."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from kui.current import http_connection, websocket, websocket_var
from kui.websockets import InvalidMessage, WebSocketDisconnect
from tests.support.websocket_server import Kind, Server, session

pytestmark = pytest.mark.anyio


async def exchange(
    kind: Kind,
    handler: Callable[[], Awaitable[Any]],
    *messages: str | bytes,
    returns: bool = True,
) -> Server:
    """Accept, run the handler, and send it messages; what it sends is in the server."""
    server = Server(kind)

    async def accepting() -> None:
        await websocket.accept()
        await handler()

    async with session(server, accepting) as running:
        await server.put(*messages)
        await running.ended.wait()
    if running.error is not None:
        raise running.error
    assert running.returned is returns
    return server


async def test_text_is_received_and_sent(kind: Kind) -> None:
    async def handler() -> None:
        await websocket.send_text(await websocket.receive_text() + "!")

    server = await exchange(kind, handler, "hello")
    assert server.texts == ["hello!"]


async def test_empty_messages_are_messages(kind: Kind) -> None:
    async def handler() -> None:
        await websocket.send_text(await websocket.receive_text())
        await websocket.send_bytes(await websocket.receive_bytes())

    server = await exchange(kind, handler, "", b"")
    assert [(each.get("text"), each.get("bytes")) for each in server.sent[1:3]] == [
        ("", None),
        (None, b""),
    ]


@pytest.mark.parametrize("data", [b"\0\xff", bytearray(b"\0\xff"), memoryview(b"\0\xff")])
async def test_bytes_are_received_and_sent(kind: Kind, data: Any) -> None:
    async def handler() -> None:
        assert await websocket.receive_bytes() == b"\0\xff"
        await websocket.send_bytes(data)

    server = await exchange(kind, handler, b"\0\xff")
    assert server.sent[1] == {"type": "websocket.send", "bytes": b"\0\xff"}


async def test_iterators_give_one_message_after_the_other(kind: Kind) -> None:
    seen: list[object] = []

    async def handler() -> None:
        async for text in websocket.iter_text():
            seen.append(text)
            if text == "bytes":
                break
        async for data in websocket.iter_bytes():
            seen.append(data)
            if data == b"json":
                break
        async for value in websocket.iter_json():
            seen.append(value)
            if value is None:
                break
        async for value in websocket.iter_json("binary"):
            seen.append(value)
            if value is None:
                break

    await exchange(
        kind, handler, "a", "bytes", b"b", b"json", '["c"]', "null", b'{"d": 1}', b"null"
    )
    assert seen == ["a", "bytes", b"b", b"json", ["c"], None, {"d": 1}, None]


@pytest.mark.parametrize("mode", ["text", "binary"])
async def test_json_goes_both_ways_in_either_mode(kind: Kind, mode: Any) -> None:
    async def handler() -> None:
        value = await websocket.receive_json(mode)
        await websocket.send_json({**value, "ü": 2}, mode)

    server = await exchange(kind, handler, '{"a": 1}' if mode == "text" else b'{"a": 1}')
    message = server.sent[1]
    text = message["text"] if mode == "text" else message["bytes"].decode()
    assert text == '{"a":1,"ü":2}'


@pytest.mark.parametrize(
    "text", ["", "{", "nul", "NaN", "[" * 100_000, "1" * 5000, '{"a": 1} x', "\ud800"]
)
async def test_malformed_json_closes_with_1007(kind: Kind, text: str) -> None:
    async def handler() -> None:
        await websocket.receive_json()

    server = await exchange(kind, handler, text, returns=False)
    assert server.closed is not None and server.closed[0] == 1007
    assert server.closed[1].startswith("The JSON ")


async def test_malformed_json_in_a_binary_message_closes_with_1007(kind: Kind) -> None:
    async def handler() -> None:
        async for _ in websocket.iter_json("binary"):
            pass

    server = await exchange(kind, handler, b"1", b"\xff\xfe\xfd", returns=False)
    assert server.closed is not None and server.closed[0] == 1007


async def test_a_handler_may_go_on_after_malformed_json(kind: Kind) -> None:
    async def handler() -> None:
        try:
            await websocket.receive_json()
        except InvalidMessage as invalid:
            assert invalid.code == 1007
            await websocket.send_json({"error": str(invalid)})
        await websocket.send_json(await websocket.receive_json())

    server = await exchange(kind, handler, "{", "[1]")
    assert server.texts[1] == "[1]"
    assert server.closed == (1000, "")


async def test_a_handler_may_close_with_a_code_of_its_own_after_malformed_json(kind: Kind) -> None:
    async def handler() -> None:
        try:
            await websocket.receive_json()
        except ValueError:
            await websocket.close(4400, "speak JSON")

    server = await exchange(kind, handler, "{")
    assert server.closed == (4400, "speak JSON")


@pytest.mark.parametrize(
    ("read", "message"),
    [
        ("receive_text", b"binary"),
        ("receive_bytes", "text"),
        ("receive_json", b"{}"),
    ],
)
async def test_a_message_of_the_other_type_closes_with_1003(
    kind: Kind, read: str, message: str | bytes
) -> None:
    seen: list[object] = []

    async def handler() -> None:
        for _ in range(2):
            with pytest.raises(WebSocketDisconnect) as caught:
                await getattr(websocket, read)()
            seen.append(caught.value.code)

    server = await exchange(kind, handler, message)
    expected = (
        "a binary message was expected" if message == "text" else "a text message was expected"
    )
    assert server.closed == (1003, expected)
    assert seen == [1003, 1003]


async def test_a_message_of_the_other_type_ends_an_iteration(kind: Kind) -> None:
    seen: list[str] = []

    async def handler() -> None:
        seen.extend([text async for text in websocket.iter_text()])

    server = await exchange(kind, handler, "a", b"b", "c")
    assert seen == ["a"]
    assert server.closed is not None and server.closed[0] == 1003


async def test_json_has_two_modes_and_no_other(kind: Kind) -> None:
    async def handler() -> None:
        for call in (websocket.receive_json, websocket.iter_json):
            with pytest.raises(ValueError, match="'bytes'"):
                await call("bytes")
        with pytest.raises(ValueError, match="'bytes'"):
            await websocket.send_json(1, "bytes")

    await exchange(kind, handler)


async def test_what_is_not_json_is_not_sent(kind: Kind) -> None:
    async def handler() -> None:
        with pytest.raises(ValueError, match="JSON"):
            await websocket.send_json(float("nan"))
        with pytest.raises(TypeError, match="object is not JSON"):
            await websocket.send_json(object())

    server = await exchange(kind, handler)
    assert server.texts == []


async def test_only_text_is_text_and_only_bytes_are_bytes(kind: Kind) -> None:
    async def handler() -> None:
        with pytest.raises(TypeError, match="send_text sends a str, not bytes"):
            await websocket.send_text(b"x")
        with pytest.raises(TypeError, match="send_bytes sends bytes, not str"):
            await websocket.send_bytes("x")
        with pytest.raises(TypeError, match="send_bytes sends bytes, not int"):
            await websocket.send_bytes(5)

    server = await exchange(kind, handler)
    assert len(server.sent) == 2


async def test_asgi_messages_have_both_keys_on_every_server(kind: Kind) -> None:
    seen: list[object] = []
    server = Server(kind)

    async def handler() -> None:
        seen.append(await websocket.receive())
        await websocket.send({"type": "websocket.accept"})
        seen.append(await websocket.receive())
        seen.append(await websocket.receive())
        await websocket.send({"type": "websocket.send", "text": "c", "bytes": None})
        await websocket.send({"type": "websocket.send", "bytes": b"d"})
        await websocket.send({"type": "websocket.close", "code": 4000, "reason": "e"})

    async with session(server, handler) as running:
        await server.put("a", b"b")
    assert running.returned
    assert seen == [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "a", "bytes": None},
        {"type": "websocket.receive", "text": None, "bytes": b"b"},
    ]
    assert server.sent[1:] == [
        {"type": "websocket.send", "text": "c"},
        {"type": "websocket.send", "bytes": b"d"},
        {"type": "websocket.close", "code": 4000, "reason": "e"},
    ]


async def test_other_asgi_messages_are_refused(kind: Kind) -> None:
    async def handler() -> None:
        with pytest.raises(ValueError, match=r"http\.response\.start"):
            await websocket.send({"type": "http.response.start"})
        with pytest.raises(TypeError, match="NoneType"):
            await websocket.send({"type": "websocket.send"})

    await exchange(kind, handler)


async def test_the_proxies_are_the_current_websocket(kind: Kind) -> None:
    async def handler() -> None:
        current = websocket_var.get()
        assert websocket.socket is current.socket
        assert http_connection.headers["host"] == "example.com"
        websocket.state.user = "ann"
        assert http_connection.state.user == "ann"

        async def in_a_task() -> None:
            assert websocket_var.get() is current

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(in_a_task)

    await exchange(kind, handler)
    assert websocket_var.get(None) is None
