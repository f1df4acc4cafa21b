"""Whatever the way to the store does, a reader is given each message once and in order, or is told a gap.

The store of these tests tells of messages late, loses what it would have told, is away for a while, forgets
its history, and answers reads late; hypothesis says when.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kui.channels import ChannelsUnavailable, Gap, Message, Subscription
from kui.channels.hub import Hub
from kui.channels.memory import MemoryStore
from kui.channels.positions import Position
from kui.channels.store import Listener, Page, Retention
from kui.channels.subscriptions import Overflow, SharedReading
from kui.testing import virtual_clock

NEWS = "news"


class Weather(MemoryStore):
    """A store with a bad line between it and its listener."""

    def __init__(self, delays: Sequence[float]) -> None:
        super().__init__(Retention(entries=5))
        self.away = False
        self.told: list[tuple[Position, bytes]] = []
        self._delays = [*delays, 0.002]
        self._turn = 0
        self._following: set[str] = set()
        self._outer: Listener | None = None

    def open(self, listener: Listener) -> None:
        super().open(_Line(self))
        self._outer = listener

    def follow(self, channels: Any) -> None:
        self._following.update(channels)
        if not self.away:
            assert self._outer is not None
            for channel in channels:
                self._outer.followed(channel)
        self._followed.update(channels)

    async def read(self, channel: str, after: Position | None, limit: int) -> Page:
        await self._delay()
        if self.away:
            raise ChannelsUnavailable("away")
        page = await super().read(channel, after, limit)
        await self._delay()
        return page

    async def tails(self, channels: Sequence[str]) -> list[Position | None]:
        if self.away:
            raise ChannelsUnavailable("away")
        return await super().tails(channels)

    async def _delay(self) -> None:
        self._turn += 1
        await anyio.sleep(self._delays[self._turn % len(self._delays)])

    def tell(self) -> None:
        """One message more arrives."""
        if self.told:
            assert self._outer is not None
            self._outer.arrived(NEWS, *self.told.pop(0))

    def drop(self) -> None:
        """One message less arrives."""
        del self.told[:1]

    def go_away(self) -> None:
        assert self._outer is not None
        self.away = True
        self.told.clear()
        self._outer.lost()

    def come_back(self) -> None:
        assert self._outer is not None
        self.away = False
        for channel in self._following:
            self._outer.followed(channel)

    def forget(self) -> None:
        self._written.clear()
        self._unwritten.clear()


class _Line:
    """What the store believes to be its listener."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather

    def followed(self, channel: str) -> None:
        raise AssertionError("the weather says so itself")

    def arrived(self, channel: str, position: Position, json: bytes) -> None:
        if not self._weather.away:
            self._weather.told.append((position, json))

    def lost(self) -> None:
        raise AssertionError("the weather says so itself")


class Reader:
    """Reads all the time, and remembers what it was given."""

    def __init__(self, reading: SharedReading, after: Position | None, overflow: Overflow) -> None:
        given = {} if after is None else {NEWS: after}
        self.subscription = Subscription(reading, (NEWS,), given, 0, overflow, None)
        self.items: list[Message | Gap] = []
        self.start: str | None = None if after is None else str(after)

    async def run(self) -> None:
        while True:
            try:
                await self.subscription.__aenter__()
                break
            except ChannelsUnavailable:
                pass
        self.start = self.subscription.cursor
        async for item in self.subscription:
            self.items.append(item)

    def check(self, stored: list[str]) -> None:
        """Between gaps, exactly what was stored, in order; in the end, all of it."""
        cursor = self.start
        assert cursor is not None
        for item in self.items:
            if isinstance(item, Gap):
                assert item.after == cursor
                epoch, _, seq = item.next.partition("-")
                cursor = f"{epoch}-{int(seq) - 1}"
            else:
                epoch, _, seq = cursor.partition("-")
                assert item.id == f"{epoch}-{int(seq) + 1}", "a message is missing, or came twice"
                assert stored[item.data] == item.id
                cursor = item.id
        assert cursor == stored[-1], "the reader has stopped before the end"
        if self.items:
            last = self.items[-1]
            assert isinstance(last, Message)
            assert last.data == len(stored) - 1, "not the message that had this id"


STEPS = ("publish", "publish", "publish", "tell", "tell", "drop", "go_away", "come_back", "forget")
STEPS += ("read", "read from the start")
PAUSES = (0.0, 0.0, 0.0005, 0.001, 0.01, 0.5)


async def go(
    steps: Sequence[tuple[str, float]], delays: Sequence[float], overflow: Overflow
) -> None:
    store = Weather(delays)
    stored: list[str] = []
    async with Hub(store, buffer=3) as hub, anyio.create_task_group() as tasks:
        reading = SharedReading(hub, store, None, 60)
        readers: list[Reader] = []

        async def publish() -> None:
            stored.append(str(await store.publish(NEWS, b"%d" % len(stored), None)))

        def read(after: Position | None) -> None:
            readers.append(Reader(reading, after, overflow))
            tasks.start_soon(readers[-1].run)

        read(None)
        await publish()
        for step, pause in [*steps, ("come_back", 0.001)]:
            if step == "publish":
                await publish()
            elif step == "read":
                read(None)
            elif step == "read from the start":
                read(Position.parse(stored[0]))
            else:
                getattr(store, step)()
            await anyio.sleep(pause)
        await publish()
        while store.told:
            store.tell()
        await anyio.sleep(3)  # less than it takes until the last ids are compared
        for reader in readers:
            reader.check(stored)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=300)
@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(PAUSES)), max_size=40),
    delays=st.lists(st.sampled_from(PAUSES), max_size=5),
    overflow=st.sampled_from(["catch_up", "drop_oldest"]),
)
def test_a_reader_gets_each_message_once_or_is_told(
    backend: str, steps: list[tuple[str, float]], delays: list[float], overflow: Overflow
) -> None:
    name, options = virtual_clock(backend)
    anyio.run(go, steps, delays, overflow, backend=name, backend_options=options)
