"""Who is in which room, in all workers: each of them says what it knows, at each change and now and then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING

import anyio

from kui.channels import Channels, ChannelsUnavailable, Message

if TYPE_CHECKING:
    from kui.asgi import Kui

__all__ = ["Presence"]

OFTEN = 5.0
"""Seconds after which a worker says again who is with it."""
FORGOTTEN = 3 * OFTEN
"""Seconds after which a worker that says nothing any more counts as gone, and its windows with it."""


@dataclass
class Worker:
    """What another worker has said, and when."""

    rooms: dict[str, list[str]]
    heard: float


class Presence:
    """The members of all rooms. `changed` is set, and replaced, when there may be others."""

    def __init__(self, channels: Channels) -> None:
        self.channels = channels

    def start(self, app: Kui) -> None:
        self.name = token_hex(8)
        self.here: dict[str, list[str]] = {}
        self.others: dict[str, Worker] = {}
        self.changed = anyio.Event()
        self._due = anyio.Event()
        app.task_group.start_soon(self._listen)
        app.task_group.start_soon(self._announce)

    def names(self, room: str) -> list[str]:
        """Who is in a room, each once."""
        since = monotonic() - FORGOTTEN
        found = set(self.here.get(room, ()))
        for worker in self.others.values():
            if worker.heard >= since:
                found.update(worker.rooms.get(room, ()))
        return sorted(found)

    @contextmanager
    def entered(self, room: str, name: str) -> Iterator[None]:
        """The member is in the room until the block ends, however it does."""
        self.here.setdefault(room, []).append(name)
        self._turn()
        try:
            yield
        finally:
            self.here[room].remove(name)
            if not self.here[room]:
                del self.here[room]
            self._turn()

    def _turn(self) -> None:
        """Something is different here: tell the windows, and the other workers."""
        self._notify()
        self._due.set()

    def _notify(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def _announce(self) -> None:
        while True:
            self._due = anyio.Event()
            try:
                await self.channels.publish("there", {"worker": self.name, "rooms": self.here})
            except ChannelsUnavailable:
                pass  # the next time tells
            with anyio.move_on_after(OFTEN):
                await self._due.wait()
            self._notify()  # a member may count as gone by now

    async def _listen(self) -> None:
        while True:
            try:
                async for item in self.channels.subscribe("there"):
                    if isinstance(item, Message) and item.data["worker"] != self.name:
                        data = item.data
                        self.others[data["worker"]] = Worker(data["rooms"], monotonic())
                        self._forget()
                        self._notify()
            except ChannelsUnavailable:
                await anyio.sleep(1)

    def _forget(self) -> None:
        since = monotonic() - FORGOTTEN
        self.others = {name: each for name, each in self.others.items() if each.heard >= since}
