"""Refuse a WebSocket handshake with a response (ASGI's extension `websocket.http.response`).

Any response may be sent, also a stream. A server without the extension answers 403 instead.
"""

from __future__ import annotations

import anyio
from baize.typing import ASGIApp, Message

from kui.concurrency.websocket.states import WebSocketDisconnect

from .connection import DENIAL, WebSocket

__all__ = ["deny"]


async def deny(websocket: WebSocket, response: ASGIApp) -> None:
    """Answer the handshake with `response` instead of accepting it.

    If the server does not support the extension, the client gets a 403 without a body. If the client has gone, nothing
    is sent.

    :raises RuntimeError: the handshake was accepted or refused before.
    """
    socket = websocket.socket
    try:
        await socket.receiving.connect()
    except WebSocketDisconnect:
        return
    if DENIAL not in (websocket.get("extensions") or {}):
        await socket.sending.close(1000, "")
        return
    gone = anyio.Event()
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        socket.watch(gone.set)
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await socket.sending.deny({**message, "type": f"websocket.{message['type']}"})

    # The response gets a GET request of a server without extensions.
    scheme = "https" if websocket.get("scheme") == "wss" else "http"
    scope = {**websocket, "type": "http", "method": "GET", "scheme": scheme, "extensions": {}}
    await response(scope, receive, send)
