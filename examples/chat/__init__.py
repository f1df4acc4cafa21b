"""A chat: rooms, their history, who is there, and a page. `kui run examples.chat:app`, and open two windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from kui.asgi import HTTPException, InvalidMessage, Kui, allow_origins, websocket

__all__ = ["app"]

HISTORY = 100
"""Messages that a room remembers for those who come later."""
BEHIND = 100
"""Events that a window may be behind before it is let go."""
ROOMS = 1000
"""Rooms that are remembered when nobody is in them."""

app = Kui()


class Member:
    """A window: its name, and what it has not been told yet."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_behind = False
        self._put, self._events = anyio.create_memory_object_stream[dict[str, Any]](
            HISTORY + BEHIND
        )

    def tell(self, event: dict[str, Any]) -> None:
        if self.is_behind:
            return
        try:
            self._put.send_nowait(event)
        except anyio.WouldBlock:
            self.is_behind = True
            self._put.close()

    async def deliver(self) -> None:
        """Send every event, as fast as the window takes them, for as long as it keeps up."""
        async for event in self._events:
            await websocket.send_json(event)
        await websocket.close(4008, "too far behind")

    def close(self) -> None:
        self._put.close()
        self._events.close()


class Room:
    """Who is there, and what was said."""

    def __init__(self) -> None:
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self.members: list[Member] = []

    @contextmanager
    def entered(self, member: Member) -> Iterator[None]:
        """The member is in the room until the block ends, however it does."""
        for message in self.history:
            member.tell(message)
        self.members.append(member)
        self.tell_who_is_there()
        try:
            yield
        finally:
            self.members.remove(member)
            self.tell_who_is_there()

    def say(self, author: Member, text: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        message = {"type": "message", "author": author.name, "text": text, "at": at}
        self.history.append(message)
        self.tell(message)

    def tell_who_is_there(self) -> None:
        self.tell({"type": "members", "names": sorted(member.name for member in self.members)})

    def tell(self, event: dict[str, Any]) -> None:
        for member in self.members:
            member.tell(event)


rooms: dict[str, Room] = {}


def find_room(name: str) -> Room:
    if name not in rooms and len(rooms) >= ROOMS:
        for empty in [name for name, room in rooms.items() if not room.members]:
            del rooms[empty]
    return rooms.setdefault(name, Room())


@app.router.http.get("/")
async def page() -> Path:
    return Path(__file__).with_name("page.html")


@app.router.websocket("/rooms/{room}", middlewares=[allow_origins()])
async def chat() -> None:
    name = websocket.query_params.get("name", "").strip()
    if not 0 < len(name) <= 40:
        raise HTTPException(400, content="Say who you are: ?name=, with at most 40 characters.")
    room = find_room(websocket.path_params["room"])
    member = Member(name)
    await websocket.accept(heartbeat=20)
    try:
        with room.entered(member):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(member.deliver)
                async for message in websocket.iter_json():
                    room.say(member, text_of(message))
                tasks.cancel_scope.cancel()
    finally:
        member.close()


def text_of(message: Any) -> str:
    match message:
        case {"text": str(text)} if 0 < len(text) <= 2000:
            return text
    raise InvalidMessage('A message is {"text": "..."}, of at most 2000 characters.')
