"""The handshake: accepted, with a subprotocol and headers, or refused, with a response."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from baize.exceptions import HTTPException

from kui.concurrency.websocket.states import Incoming
from kui.current import websocket
from kui.responses.base import HttpResponse
from kui.responses.content import JSONResponse, PlainTextResponse
from kui.websockets import WebSocketDisconnect
from tests.support.websocket_server import Kind, Server, session

pytestmark = pytest.mark.anyio

START = "websocket.http.response.start"
BODY = "websocket.http.response.body"


def denial(server: Server) -> tuple[int, dict[bytes, bytes], bytes]:
    """The status, headers and body of a refusal."""
    start, *rest = server.sent
    assert start["type"] == START
    assert {each["type"] for each in rest} == {BODY}
    assert [bool(each.get("more_body")) for each in rest] == [True] * (len(rest) - 1) + [False]
    return start["status"], dict(start["headers"]), b"".join(each["body"] for each in rest)


async def test_accept_takes_a_subprotocol_and_headers(kind: Kind) -> None:
    server = Server(kind, subprotocols=["chat.v2", "chat.v1"])

    async def handler() -> None:
        assert websocket.subprotocols == ["chat.v2", "chat.v1"]
        await websocket.accept("chat.v1", {"X-Room": "7", "Set-Cookie": "a=b"})

    async with session(server, handler):
        pass
    assert server.sent[0] == {
        "type": "websocket.accept",
        "subprotocol": "chat.v1",
        "headers": [(b"x-room", b"7"), (b"set-cookie", b"a=b")],
    }


async def test_accept_refuses_a_subprotocol_that_was_not_offered(kind: Kind) -> None:
    server = Server(kind, subprotocols=["chat.v2"])

    async def handler() -> None:
        with pytest.raises(ValueError, match=r"did not offer .*'mqtt', but: 'chat\.v2'"):
            await websocket.accept("mqtt")
        with pytest.raises(ValueError, match="'mqtt'"):
            await websocket.send({"type": "websocket.accept", "subprotocol": "mqtt"})
        await websocket.accept()

    async with session(server, handler) as running:
        pass
    assert running.returned
    assert running.error is None


@pytest.mark.parametrize(
    "headers",
    [
        {"x": "a\r\nset-cookie: b"},
        {"sec-websocket-protocol": "chat"},
        {"Sec-WebSocket-Accept": "x"},
        {"Upgrade": "h2c"},
        {"Connection": "close"},
        {"a b": "c"},
    ],
)
async def test_accept_refuses_headers_that_break_the_handshake(
    kind: Kind, headers: dict[str, str]
) -> None:
    server = Server(kind)

    async def handler() -> None:
        with pytest.raises(ValueError, match="header"):
            await websocket.accept(headers=headers)
        await websocket.accept()

    async with session(server, handler) as running:
        pass
    assert running.returned
    assert running.error is None


@pytest.mark.parametrize(
    "headers", [[(b"a b", b"c")], [(b"x", b"a\r\nb: c")], [(b":status", b"1")]]
)
async def test_headers_as_asgi_has_them_are_checked_too(kind: Kind, headers: Any) -> None:
    server = Server(kind)

    async def handler() -> None:
        with pytest.raises(ValueError, match="header"):
            await websocket.send({"type": "websocket.accept", "headers": headers})
        await websocket.accept()

    async with session(server, handler) as running:
        pass
    assert running.returned
    assert running.error is None


async def test_an_http_exception_before_accept_is_a_response(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}, content="Who are you?")

    async with session(server, handler) as running:
        pass
    status, headers, body = denial(server)
    assert (status, headers[b"www-authenticate"], body) == (401, b"Bearer", b"Who are you?")
    assert (
        running.websocket.socket.state.incoming is not Incoming.HANDSHAKE
    )  # what a server says first comes first
    assert running.error is None


async def test_a_handler_of_the_exception_table_answers(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        raise LookupError("room 7")

    async with session(server, handler, at_once=True) as running:
        running.exceptions.register(LookupError, lambda exc: ({"missing": str(exc)}, 404))
    status, headers, body = denial(server)
    assert (status, headers[b"content-type"], body) == (
        404,
        b"application/json",
        b'{"missing":"room 7"}',
    )
    assert running.error is None


async def test_a_group_of_one_is_answered_like_its_exception(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        async with anyio.create_task_group():
            raise HTTPException(403)

    async with session(server, handler) as running:
        pass
    assert denial(server)[0] == 403
    assert running.error is None


async def test_an_exception_without_a_handler_is_a_500_and_raised(kind: Kind) -> None:
    server = Server(kind)
    error = LookupError("oops")

    async def handler() -> None:
        raise error

    async with session(server, handler) as running:
        pass
    status, _, body = denial(server)
    assert status == 500
    assert b"oops" not in body
    assert running.error is error


async def test_a_handler_that_fails_as_well_is_a_500_and_raised(kind: Kind) -> None:
    server = Server(kind)
    second = ZeroDivisionError()

    def fail(exc: Exception) -> None:
        raise second

    async def handler() -> None:
        raise LookupError

    async with session(server, handler, at_once=True) as running:
        running.exceptions.register(LookupError, fail)
    assert denial(server)[0] == 500
    assert running.error is second


async def test_what_is_returned_before_accept_is_the_refusal(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> object:
        return {"reason": "full"}, 503, {"Retry-After": "5"}

    async with session(server, handler):
        pass
    status, headers, body = denial(server)
    assert (status, headers[b"retry-after"], body) == (503, b"5", b'{"reason":"full"}')


async def test_a_refusal_may_stream(kind: Kind) -> None:
    server = Server(kind)

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        assert (scope["type"], scope["method"], scope["scheme"]) == ("http", "GET", "http")
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await send({"type": "http.response.start", "status": 403, "headers": []})
        for chunk in (b"a", b"b"):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await anyio.sleep(1)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if kind == "uvicorn":
            assert await receive() == {"type": "http.disconnect"}

    async def handler() -> object:
        return stream

    async with session(server, handler, at_once=True) as running:
        running.convert = lambda value, endpoint: value
    assert denial(server)[2] == b"ab"
    assert running.error is None


async def test_a_refusal_that_streams_learns_that_the_client_has_gone(kind: Kind) -> None:
    server = Server(kind)
    seen: list[object] = []

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 403, "headers": []})
        await receive()
        seen.append(await receive())

    async def handler() -> object:
        return stream

    async with session(server, handler, at_once=True) as running:
        running.convert = lambda value, endpoint: value
        await server.until(lambda: server.sent)
        await server.reset()
    assert seen == [{"type": "http.disconnect"}]
    assert running.error is None


@pytest.mark.parametrize(
    "response",
    [HttpResponse(403), PlainTextResponse("no", 403), HTTPException(403), HTTPException(500)],
)
async def test_without_the_extension_every_refusal_is_a_close(kind: Kind, response: Any) -> None:
    server = Server(kind, extensions={})

    async def handler() -> object:
        if isinstance(response, Exception):
            raise response
        return response

    async with session(server, handler) as running:
        pass
    assert [each["type"] for each in server.sent] == ["websocket.close"]
    assert running.error is None


async def test_a_server_may_have_no_extensions_at_all(kind: Kind) -> None:
    server = Server(kind)
    del server.scope["extensions"], server.scope["subprotocols"], server.scope["scheme"]

    async def handler() -> None:
        assert websocket.subprotocols == ()
        with pytest.raises(RuntimeError, match="close it instead"):
            await websocket.send({"type": START, "status": 403, "headers": []})
        raise HTTPException(403)

    async with session(server, handler) as running:
        pass
    assert [each["type"] for each in server.sent] == ["websocket.close"]
    assert running.error is None


@pytest.mark.parametrize("close", [True, False])
async def test_closing_or_returning_before_accept_refuses(kind: Kind, close: bool) -> None:
    server = Server(kind)

    async def handler() -> None:
        if close:
            await websocket.close()
            with pytest.raises(RuntimeError, match="after close"):
                await websocket.accept()

    async with session(server, handler) as running:
        pass
    assert [each["type"] for each in server.sent] == ["websocket.close"]
    assert running.returned
    assert running.error is None


async def test_a_response_may_be_sent_message_by_message(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> None:
        await websocket.send({"type": START, "status": 418, "headers": []})
        with pytest.raises(RuntimeError, match="denying"):
            await websocket.accept()
        await websocket.send({"type": BODY, "body": b"tea", "more_body": True})
        await websocket.send({"type": BODY, "body": b"pot"})
        with pytest.raises(RuntimeError, match="closed"):
            await websocket.send_text("late")

    async with session(server, handler) as running:
        pass
    assert server.sent[0]["status"] == 418
    assert b"".join(each["body"] for each in server.sent[1:]) == b"teapot"
    assert running.returned
    assert running.error is None


async def test_a_client_that_leaves_before_accept_is_no_failure(kind: Kind) -> None:
    server = Server(kind)
    seen: list[int] = []

    async def handler() -> None:
        await anyio.sleep(1)
        try:
            await websocket.accept()
            await websocket.receive()
        except WebSocketDisconnect as gone:
            seen.append(gone.code)
            raise

    async with session(server, handler, at_once=True) as running:
        await server.reset()
    assert seen == [1006]
    assert running.error is None


async def test_nothing_is_answered_to_a_client_that_has_left(kind: Kind) -> None:
    server = Server(kind)

    async def handler() -> object:
        await anyio.sleep(1)
        return JSONResponse({})

    async with session(server, handler, at_once=True) as running:
        await server.reset()
    assert running.error is None


async def test_what_the_server_refuses_of_an_accept_is_raised(kind: Kind) -> None:
    server = Server(kind)
    error = KeyError("of the server")

    async def refuse(message: Any) -> None:
        raise error

    async def handler() -> None:
        await websocket.accept()

    async with session(server, handler, at_once=True) as running:
        running.websocket.socket.sending._send = refuse
    assert running.error is error
