"""What time does to channels in memory: a clock that jumps shows hours in no time, on both loops."""

from __future__ import annotations

import anyio
import pytest

from kui.asgi import Kui, SendEventResponse, request
from kui.channels import Channels, Gap, Message, Subscription
from kui.channels.hub import Hub
from kui.channels.memory import MemoryStore
from kui.channels.store import Retention
from kui.channels.subscriptions import SharedReading
from kui.testing import AsyncTestClient
from tests.support.clocks import anyio_backend  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio

HOUR = 3600.0


async def test_a_silent_channel_is_forgotten_and_a_cursor_of_it_is_told_a_gap() -> None:
    async with Channels(silence=HOUR) as channels:
        first = await channels.publish("news", 1)
        await anyio.sleep(HOUR - 100)
        second = await channels.publish("news", 2)
        assert second == first.replace("-1", "-2")
        await anyio.sleep(HOUR + 100)
        third = await channels.publish("news", 3)
        assert third.endswith("-1") and third != first
        subscription = channels.subscribe("news", after=second)
        assert await subscription.__anext__() == Gap("news", second, third)


async def test_a_channel_that_is_read_is_not_forgotten() -> None:
    async with Channels(silence=HOUR) as channels, channels.subscribe("news") as subscription:
        first = await channels.publish("news", 1)
        await anyio.sleep(3 * HOUR)
        second = await channels.publish("news", 2)
        assert second == first.replace("-1", "-2")
        found = [await subscription.__anext__() for _ in range(2)]
        assert [item.data for item in found if isinstance(item, Message)] == [1, 2]


async def test_a_channel_in_which_nothing_was_published_is_soon_forgotten() -> None:
    async with Channels() as channels, channels.subscribe("quiet") as subscription:
        quiet = subscription.cursor
        async with channels.subscribe("left") as subscription:
            left = subscription.cursor
        await anyio.sleep(HOUR)
        await channels.publish("quiet", 1)  # it is still read, so it is the same channel
        await channels.publish("left", 1)
        item = await channels.subscribe("quiet", after=quiet).__anext__()
        assert isinstance(item, Message) and item.data == 1
        assert isinstance(await channels.subscribe("left", after=left).__anext__(), Gap)


class CountedStore(MemoryStore):
    @property
    def size(self) -> int:
        return len(self._written) + len(self._unwritten)


async def test_names_that_clients_choose_do_not_fill_the_memory() -> None:
    store = CountedStore(Retention())
    async with Hub(store, 1) as hub:
        reading = SharedReading(hub, store, None, 5)
        for number in range(1000):
            async with Subscription(reading, (f"room {number}",), {}, 1, "catch_up", None):
                await anyio.sleep(1)
        assert store.size < 200


async def test_a_key_is_remembered_for_ten_minutes() -> None:
    async with Channels() as channels:
        first = await channels.publish("news", 1, key="k")
        await anyio.sleep(599)
        assert await channels.publish("news", 1, key="k") == first
        await anyio.sleep(2)
        assert await channels.publish("news", 1, key="k") == first.replace("-1", "-2")


async def test_a_channel_without_readers_is_let_go_and_found_again() -> None:
    async with Channels() as channels:
        async with channels.subscribe("news") as subscription:
            await channels.publish("news", 1)
            await subscription.__anext__()
            cursor = subscription.cursor
        await anyio.sleep(60)
        await channels.publish("news", 2)
        async with channels.subscribe("news", after=cursor) as subscription:
            await channels.publish("news", 3)
            found = [await subscription.__anext__() for _ in range(2)]
            assert [item.data for item in found if isinstance(item, Message)] == [2, 3]


async def test_a_crowd_gets_each_message_of_a_burst_and_soon() -> None:
    async with Channels() as channels, anyio.create_task_group() as tasks:
        got: list[list[int]] = []
        times: list[float] = []

        async def read() -> None:
            seen: list[int] = []
            async for item in channels.subscribe("news"):
                assert isinstance(item, Message)
                seen.append(item.data)
                if len(seen) == 100:
                    break
            got.append(seen)
            times.append(anyio.current_time())

        for _ in range(200):
            tasks.start_soon(read)
        await anyio.sleep(1)
        began = anyio.current_time()
        for number in range(100):
            await channels.publish("news", number)
        while len(got) < 200:  # noqa: ASYNC110 - readers have no event
            await anyio.sleep(0.001)
        assert got == [list(range(100))] * 200
        assert max(times) - began < 0.1


async def test_a_refusal_is_the_answer_however_long_it_takes() -> None:
    async def allow(channel: str) -> bool:
        await anyio.sleep(HOUR)  # a stream's headers go out after 0.25 s otherwise
        return request.query_params.get("key") == "secret"

    channels = Channels(allow=allow)
    app = Kui(resources=[channels])
    app.router.http.get("/events")(lambda: SendEventResponse(channels.events("news")))
    async with AsyncTestClient(app) as client:
        before = anyio.current_time()
        assert (await client.get("/events")).status_code == 403
        assert anyio.current_time() - before >= HOUR
        async with client.events("/events?key=secret") as events:
            await channels.publish("news", 1)
            assert (await events.receive()).data == "1"
