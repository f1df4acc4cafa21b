"""A chat: rooms, their history, who is there, and a page.

`kui run examples.chat:app`, and open two windows. For several workers, or machines, it needs a Redis:
`REDIS_URL=redis://localhost kui run examples.chat:app --workers 4`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from kui.asgi import HTTPException, InvalidMessage, Kui, allow_origins, websocket
from kui.channels import Channels, ChannelsUnavailable, Gap, Subscription

from .presence import Presence

__all__ = ["app", "channels"]

HISTORY = 100
"""Messages that a room remembers for those who come later."""

channels = Channels(os.environ.get("REDIS_URL") or None, entries=HISTORY)
there = Presence(channels)
app = Kui(resources=[channels], on_startup=[there.start])


@app.router.http.get("/")
async def page() -> Path:
    return Path(__file__).with_name("page.html")


@app.router.http.get("/health")
async def health() -> Any:
    return ("well", 200) if channels.available else ("without its channels", 503)


@app.router.websocket("/rooms/{room}", middlewares=[allow_origins()])
async def chat() -> None:
    room, name = websocket.path_params["room"], websocket.query_params.get("name", "").strip()
    for text in (room, name):
        if not (0 < len(text) <= 40 and text.isprintable()):
            raise HTTPException(400, content="A room and a name (?name=) have 1 to 40 characters.")
    cursor = websocket.query_params.get("after")
    async with channels.subscribe(f"room {room}", after=cursor, history=HISTORY) as subscription:
        await websocket.accept(heartbeat=20)
        with there.entered(room, name):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(deliver, subscription)
                tasks.start_soon(show_members, room)
                async for message in websocket.iter_json():
                    await say(room, name, *text_and_key(message))
                tasks.cancel_scope.cancel()


async def say(room: str, author: str, text: str, key: str) -> None:
    """Publish a message; the window that said it is told if that failed, and may try again."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    message = {"author": author, "text": text, "at": at}
    try:
        await channels.publish(f"room {room}", message, key=f"{author} {key}" if key else None)
    except ChannelsUnavailable:
        await websocket.send_json({"type": "unsent", "text": text, "key": key})


async def deliver(subscription: Subscription) -> None:
    """Send what is said, each time with the place from which the window can go on later."""
    async for item in subscription:
        event = {"type": "gap"} if isinstance(item, Gap) else {"type": "message", **item.data}
        await websocket.send_json({**event, "cursor": subscription.cursor})


async def show_members(room: str) -> None:
    """Send who is there, again whenever that has changed."""
    shown = None
    while True:
        changed, names = there.changed, there.names(room)
        if names != shown:
            await websocket.send_json({"type": "members", "names": names})
            shown = names
        await changed.wait()


def text_and_key(message: Any) -> tuple[str, str]:
    match message:
        case {"text": str(text)} if 0 < len(text) <= 2000:
            key = message.get("key", "")
            if isinstance(key, str) and len(key) <= 40 and (key.isprintable() or not key):
                return text, key
    raise InvalidMessage(
        'A message is {"text": "..."}, of at most 2000 characters, and may have a "key".'
    )
