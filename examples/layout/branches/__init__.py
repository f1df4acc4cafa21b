"""The houses: their rooms and devices, and a WebSocket that tells how many people are in one."""

from __future__ import annotations

from collections import Counter

from examples.layout.resource import resource
from examples.layout.store import Store
from kui.asgi import Routes, websocket

__all__ = ["routes"]

visitors: Counter[str] = Counter()

routes = Routes(
    *(
        f"/{name}" // resource(Store(name), write="librarian")
        for name in ("houses", "rooms", "shelves", "devices", "openings", "events")
    ),
    namespace="branches",
)


@routes.websocket("/doors/{house}", name="door")
async def door() -> None:
    """What the counter above a door sends, +1 or -1, and gets back: how many are inside."""
    house = websocket.path_params["house"]
    await websocket.accept()
    async for step in websocket.iter_text():
        visitors[house] += int(step)
        await websocket.send_text(str(visitors[house]))
