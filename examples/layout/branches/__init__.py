"""The houses with their rooms and devices, and a WebSocket that counts the visitors of each."""

from __future__ import annotations

from collections import Counter

from examples.layout.resource import resource
from examples.layout.store import Store
from kui.asgi import InvalidMessage, Routes, websocket

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
    """Receive the steps of the counter above a door, 1 or -1, and answer with the number of people inside."""
    house = websocket.path_params["house"]
    await websocket.accept()
    async for step in websocket.iter_text():
        if step not in ("1", "-1"):
            raise InvalidMessage("A step is 1 or -1.")
        visitors[house] += int(step)
        await websocket.send_text(str(visitors[house]))
