"""Apps that tell what they see, and ways to give them a connection without a client."""

from __future__ import annotations

import json
from typing import Any

from baize.typing import Message, Receive, Scope, Send

from kui.http.urls import route_path

TOLD = ("root_path", "path", "path_params")


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that knows nothing but ASGI: says what it sees, over HTTP and over a WebSocket."""
    if scope["type"] == "lifespan":
        raise RuntimeError("no lifespan here")
    told = {key: scope.get(key) for key in TOLD}
    told["route_path"] = route_path(scope)
    raw = scope.get("raw_path")
    told["raw_path"] = None if raw is None else raw.decode()
    told["state"] = {key: value for key, value in scope.get("state", {}).items()}
    body = json.dumps(told).encode()
    if scope["type"] == "websocket":
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": body.decode()})
        await send({"type": "websocket.close", "code": 1000})
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Named:
    """An app that answers with its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("HTTP only")
        body = self.name.encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


async def ask(app: Any, path: str, *, root_path: str = "", **more: Any) -> tuple[int, str]:
    """Status and body of a GET; the scope as a server makes it that does not touch the path."""
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "root_path": root_path,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        **more,
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()
