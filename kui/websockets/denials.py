"""A response to a WebSocket handshake that is refused (ASGI's extension `websocket.http.response`).

Any response will do, one that streams included; a server without the extension answers 403 for us.
"""

from __future__ import annotations

import anyio
from baize.typing import ASGIApp, Message

from kui.concurrency.websocket.states import WebSocketDisconnect

from .connection import DENIAL, WebSocket

__all__ = ["deny"]


async def deny(websocket: WebSocket, response: ASGIApp) -> None:
    """Answer the handshake with `response` instead of accepting it.

    Where the server lacks the extension, the client gets a bare 403. Nothing happens if it has gone.

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

    # A request to answer, of a server that does nothing out of the ordinary.
    scheme = "https" if websocket.get("scheme") == "wss" else "http"
    scope = {**websocket, "type": "http", "method": "GET", "scheme": scheme, "extensions": {}}
    await response(scope, receive, send)
