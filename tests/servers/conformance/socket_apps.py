"""Bare WebSocket apps, chosen by the path as those in `apps` are."""

from __future__ import annotations

import json
from typing import Any

import anyio
from baize.typing import Message

from .apps import PUSHES, Answer, Call, answers, hold

__all__ = ["answers"]


def at(function: Answer) -> Answer:
    answers[function.__name__] = function
    return function


async def accept(call: Call, **more: Any) -> None:
    message = await call.receive()
    assert message["type"] == "websocket.connect", message
    await call.send({"type": "websocket.accept", **more})
    call.say("accepted")


def ended(call: Call, message: Message) -> bool:
    """True if this is the disconnect; says so."""
    if message["type"] != "websocket.disconnect":
        return False
    call.say(f"disconnect {message.get('code')} {message.get('reason') or ''}".strip())
    return True


@at
async def ws_echo(call: Call) -> None:
    """Sends back what comes."""
    await accept(call)
    while not ended(call, message := await call.receive()):
        key = "text" if message.get("text") is not None else "bytes"
        await call.send({"type": "websocket.send", key: message[key]})


@at
async def ws_late(call: Call) -> None:
    """As ws_echo, accepted when it is released."""
    call.say("waits")
    await hold(call)
    await ws_echo(call)


@at
async def ws_scope(call: Call) -> None:
    """Accepts with a subprotocol and a header, and sends what it sees."""
    offered = list(call.scope["subprotocols"])
    await accept(call, subprotocol=offered[-1] if offered else None, headers=[(b"x-own", b"yes")])
    keys = ("type", "scheme", "path", "query_string", "http_version", "subprotocols", "headers")
    seen = {key: call.scope.get(key) for key in keys}
    text = json.dumps(seen, default=lambda data: data.decode("latin-1"))
    await call.send({"type": "websocket.send", "text": text})
    ended(call, await call.receive())


@at
async def ws_close(call: Call) -> None:
    """Accepts, then closes with a code and a reason."""
    await accept(call)
    await call.send({"type": "websocket.close", "code": call.option("code", 1000), "reason": "bye"})
    call.say("closed")


@at
async def ws_reject(call: Call) -> None:
    """Closes before it accepts."""
    await call.receive()
    await call.send({"type": "websocket.close", "code": 4001})
    call.say("rejected")


@at
async def ws_deny(call: Call) -> None:
    """Denies with a response, if the server knows how."""
    await call.receive()
    assert "websocket.http.response" in call.scope["extensions"]
    headers = [(b"x-why", b"closed"), (b"content-length", b"6")]
    await call.send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
    await call.send({"type": "websocket.http.response.body", "body": b"tea", "more_body": True})
    await call.send({"type": "websocket.http.response.body", "body": b"pot"})


@at
async def ws_fails(call: Call) -> None:
    """Raises, `after` it has accepted or before."""
    if "after" in call.options:
        await accept(call)
    raise ArithmeticError("a socket fails")


@at
async def ws_sends(call: Call) -> None:
    """Sends for longer than a test waits, and never receives."""
    await accept(call)
    try:
        for _ in range(PUSHES):
            await call.send({"type": "websocket.send", "text": "tick"})
            await anyio.sleep(0.01)
    except OSError:
        call.say("cannot send")


@at
async def ws_floods(call: Call) -> None:
    """Sends as much as it can, and says how much that was."""
    await accept(call)
    try:
        for number in range(1, PUSHES):
            await call.send({"type": "websocket.send", "bytes": b"f" * 65536})
            call.say(f"sent {number}")
    except OSError:
        call.say("cannot send")


@at
async def ws_deaf(call: Call) -> None:
    """Receives nothing before it is released; then says how the socket ended."""
    await accept(call)
    await hold(call)
    bytes_received = 0
    while not ended(call, message := await call.receive()):
        bytes_received += len(message.get("bytes") or b"")
    call.say(f"had {bytes_received}")


@at
async def ws_after_the_end(call: Call) -> None:
    """Sends after it was told that the client has left."""
    await accept(call)
    while not ended(call, await call.receive()):
        pass
    try:
        await call.send({"type": "websocket.send", "text": "to nobody"})
        call.say("sent")
    except OSError:
        call.say("cannot send")


@at
async def ws_bad_header(call: Call) -> None:
    """Accepts with a header of the client's choice."""
    name, value = (call.options[key].encode("latin-1") for key in ("name", "value"))
    await accept(call, headers=[(name, value)])
    await call.receive()
