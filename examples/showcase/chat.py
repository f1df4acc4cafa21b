"""A chat over a WebSocket, which shows who is there."""

from __future__ import annotations

from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from kui.asgi import HTTPException, InvalidMessage, SocketRoute, allow_origins, websocket

__all__ = ["chat", "routes"]

members: dict[MemoryObjectSendStream[dict[str, Any]], str] = {}


def tell(message: dict[str, Any]) -> None:
    """Put a message into every member's queue; a member who is too far behind is let go."""
    for queue in list(members):
        try:
            queue.send_nowait(message)
        except anyio.WouldBlock:
            queue.close()


async def chat() -> None:
    name = websocket.query_params.get("name", "").strip()
    if not 0 < len(name) <= 30:
        raise HTTPException(400, content="Say who you are: ?name=, at most 30 characters.")
    await websocket.accept(heartbeat=20)
    queue, messages = anyio.create_memory_object_stream[dict[str, Any]](100)

    async def deliver() -> None:
        async for message in messages:
            await websocket.send_json(message)
        await websocket.close(4008, "too far behind")

    activity = websocket.app.state.activity
    with activity.running("chat", name), messages, queue:
        members[queue] = name
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(deliver)
                tell({"members": sorted(members.values())})
                async for text in websocket.iter_text():
                    if not 0 < len(text) <= 500:
                        raise InvalidMessage("A message has 1 to 500 characters.")
                    tell({"author": name, "text": text})
                tasks.cancel_scope.cancel()
        finally:
            del members[queue]
            tell({"members": sorted(members.values())})


routes = [SocketRoute("/chat", chat, name="chat", middlewares=[allow_origins()])]
