"""What channels promise, over each store and on both loops."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from kui.asgi import HTTPException
from kui.channels import Channels, Gap, Message, ReaderTooSlow, Subscription
from kui.channels.hub import CROWD
from kui.channels.memory import MemoryStore
from kui.channels.positions import Position
from kui.channels.redis import RedisStore
from kui.channels.store import Store
from kui.channels.subscriptions import TURN
from kui.testing import every_checkpoint

from .conftest import Make

pytestmark = pytest.mark.anyio


async def take(subscription: Subscription, number: int) -> list[Any]:
    """The next items: the data of messages, and gaps."""
    found: list[Any] = []
    with anyio.fail_after(20):
        while len(found) < number:
            item = await subscription.__anext__()
            found.append(item.data if isinstance(item, Message) else item)
    return found


async def publish(channels: Channels, channel: str, *data: Any) -> list[str]:
    return [await channels.publish(channel, each) for each in data]


async def test_a_subscription_yields_what_is_published_from_now_on(make: Make) -> None:
    async with make() as channels:
        await publish(channels, "news", "before")
        async with channels.subscribe("news") as subscription:
            await publish(channels, "news", {"title": "é"}, [1, None], "text", 5)
            await publish(channels, "other", "not for this one")
            assert await take(subscription, 4) == [{"title": "é"}, [1, None], "text", 5]


async def test_ids_are_dense_and_the_cursor_is_the_last_one(make: Make) -> None:
    async with make() as channels:
        async with channels.subscribe("news") as subscription:
            ids = await publish(channels, "news", 1, 2, 3)
            epochs, numbers = zip(*(id.split("-") for id in ids), strict=True)
            assert len(set(epochs)) == 1
            assert numbers == ("1", "2", "3")
            message = await subscription.__anext__()
            assert isinstance(message, Message)
            assert (message.channel, message.id, message.data) == ("news", ids[0], 1)
            assert subscription.cursor == ids[0]


async def test_a_reader_goes_on_behind_its_cursor(make: Make) -> None:
    async with make() as channels:
        ids = await publish(channels, "news", *range(100))
        subscription = channels.subscribe("news", after=ids[9])
        assert await take(subscription, 90) == list(range(10, 100))
        await publish(channels, "news", 100)
        assert await take(subscription, 1) == [100]


async def test_a_cursor_from_before_the_first_message_loses_nothing(make: Make) -> None:
    async with make() as channels:
        async with channels.subscribe("news") as first:
            cursor = first.cursor
        await publish(channels, "news", 1, 2)
        assert await take(channels.subscribe("news", after=cursor), 2) == [1, 2]


async def test_history_gives_the_last_messages_and_only_to_a_new_reader(make: Make) -> None:
    async with make() as channels:
        ids = await publish(channels, "news", 1, 2, 3)
        assert await take(channels.subscribe("news", history=2), 2) == [2, 3]
        assert await take(channels.subscribe("news", history=50), 3) == [1, 2, 3]
        assert await take(channels.subscribe("news", history=50, after=ids[1]), 1) == [3]


async def test_a_gap_is_told_where_messages_are_not_kept_any_more(make: Make) -> None:
    async with make(entries=5) as channels:
        ids = await publish(channels, "news", *range(20))
        found = await take(channels.subscribe("news", after=ids[2]), 6)
        assert found == [Gap("news", ids[2], ids[15]), 15, 16, 17, 18, 19]
        found = await take(channels.subscribe("news", after=ids[14]), 5)
        assert found == [15, 16, 17, 18, 19]


@pytest.mark.parametrize("change", ["epoch", "ahead"])
async def test_a_gap_is_told_to_a_cursor_of_another_history(make: Make, change: str) -> None:
    async with make() as channels:
        ids = await publish(channels, "news", 1, 2)
        epoch, number = map(int, ids[1].split("-"))
        cursor = f"{epoch + 1}-{number}" if change == "epoch" else f"{epoch}-{number + 1}"
        subscription = channels.subscribe("news", after=cursor)
        if change == "epoch":
            assert await take(subscription, 3) == [Gap("news", cursor, ids[0]), 1, 2]
        else:
            assert await take(subscription, 1) == [Gap("news", cursor, cursor)]
        await publish(channels, "news", 3)
        assert await take(subscription, 1) == [3]


async def test_several_channels_have_one_cursor(make: Make) -> None:
    async with make() as channels:
        async with channels.subscribe("a", "b;=c") as subscription:
            await publish(channels, "a", "a1")
            await publish(channels, "b;=c", "b1", "b2")
            assert sorted(await take(subscription, 3)) == ["a1", "b1", "b2"]
            cursor = subscription.cursor
        await publish(channels, "a", "a2")
        await publish(channels, "b;=c", "b3")
        again = channels.subscribe("a", "b;=c", after=cursor)
        assert sorted(await take(again, 2)) == ["a2", "b3"]
        assert await take(channels.subscribe("a", after=cursor), 1) == ["a2"]


async def test_each_channel_of_a_subscription_has_its_turn(make: Make) -> None:
    async with make() as channels:
        await publish(channels, "busy", *range(5))
        await publish(channels, "quiet", "q")
        found = await take(channels.subscribe("busy", "quiet", history=5), 6)
        assert found.index("q") < 3


@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
@pytest.mark.parametrize("max_age", [None, 600])
async def test_a_reader_that_has_much_at_hand_gives_others_a_turn(
    make: Make, names: list[str], max_age: float | None
) -> None:
    async with make(buffer=1000, max_age=max_age) as channels:
        async with channels.subscribe(*names) as subscription, anyio.create_task_group() as tasks:
            for name in names:
                await publish(channels, name, *range(TURN * 3))
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await anyio.lowlevel.checkpoint()

            tasks.start_soon(count)
            await take(subscription, len(names) * TURN * 3)
            assert turns >= 3 * len(names) - 1
            tasks.cancel_scope.cancel()


async def test_a_publish_with_a_key_is_repeated_without_harm(make: Make) -> None:
    async with make() as channels:
        first = await channels.publish("news", 1, key="k")
        assert await channels.publish("news", 1, key="k") == first
        assert await channels.publish("other", 1, key="k") != first
        last = await channels.publish("news", 2, key="l")
        assert last.endswith("-2")


async def test_a_slow_reader_catches_up_from_the_store(make: Make) -> None:
    async with make(buffer=4) as channels:
        async with channels.subscribe("news") as subscription:
            await publish(channels, "news", *range(50))
            assert await take(subscription, 50) == list(range(50))


async def test_readers_that_fall_behind_together_read_the_store_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0

    def counted(store: type[Store]) -> Callable[..., Any]:
        read = store.read

        def count(self: Store, channel: str, after: Position | None, limit: int) -> Any:
            nonlocal reads
            reads += 1
            return read(self, channel, after, limit)

        return count

    for store in (MemoryStore, RedisStore):
        monkeypatch.setattr(store, "read", counted(store))
    async with make(buffer=4) as channels:
        async with AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(channels.subscribe("news")) for _ in range(40)
            ]
            await publish(channels, "news", *range(60))
            reads = 0

            async def check(reader: Subscription) -> None:
                assert await take(reader, 60) == list(range(60))

            async with anyio.create_task_group() as tasks:
                for reader in readers:
                    tasks.start_soon(check, reader)
    assert 0 < reads < 40


async def test_a_crowd_is_woken_before_what_it_waits_for_is_gone(make: Make) -> None:
    async with make(buffer=64) as channels:
        async with AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(channels.subscribe("news", overflow="disconnect"))
                for _ in range(CROWD)
            ]

            async def check(reader: Subscription) -> None:
                assert await take(reader, 500) == list(range(500))

            async with anyio.create_task_group() as tasks:
                for reader in readers:
                    tasks.start_soon(check, reader)
                await anyio.wait_all_tasks_blocked()
                await publish(channels, "news", *range(500))


async def test_a_slow_reader_may_skip_and_is_told(make: Make) -> None:
    async with make(buffer=4) as channels:
        async with channels.subscribe("news", overflow="drop_oldest") as subscription:
            await publish(channels, "news", 0)
            assert await take(subscription, 1) == [0]
            async with channels.subscribe("news") as witness:
                await publish(channels, "news", *range(1, 20))
                await take(witness, 19)
            told = await take(subscription, 1)
            while told[-1] != 19:
                told += await take(subscription, 1)
            assert isinstance(told[0], Gap)
            assert len(told) < 10
            last = 1  # the first message is 0, and has the id 1
            for one in told:  # further gaps, if more came while it read
                if isinstance(one, Gap):
                    assert int(one.after.partition("-")[2]) == last
                    last = int(one.next.partition("-")[2]) - 1
                else:
                    last += 1
                    assert one == last - 1


async def test_a_slow_reader_may_be_disconnected(make: Make) -> None:
    async with make(buffer=4) as channels:
        async with channels.subscribe("news", overflow="disconnect") as subscription:
            await publish(channels, "news", 0)
            await take(subscription, 1)
            async with channels.subscribe("news") as witness:
                await publish(channels, "news", *range(1, 20))
                await take(witness, 19)
            with pytest.raises(ReaderTooSlow):
                await take(subscription, 1)


async def test_a_reader_that_begins_with_history_is_not_taken_for_slow(make: Make) -> None:
    async with make(buffer=4) as channels:
        await publish(channels, "news", *range(40))
        subscription = channels.subscribe("news", history=40, overflow="disconnect")
        assert await take(subscription, 40) == list(range(40))


async def test_allow_is_asked_at_each_opening_and_refuses_with_403(make: Make) -> None:
    asked = []

    async def allow(channel: str) -> Any:
        asked.append(channel)
        return {"open": True, "truthy": 1}.get(channel, False)

    async with make(allow=allow) as channels:
        async with channels.subscribe("open") as subscription:
            cursor = subscription.cursor
        async with channels.subscribe("open", after=cursor):
            pass
        for refused in ("truthy", "closed"):
            with pytest.raises(HTTPException) as caught:
                async with channels.subscribe("open", refused):
                    pass
            assert caught.value.status_code == 403
        assert asked == ["open", "open", "open", "truthy", "open", "closed"]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "1",
        "1-",
        "-1",
        "0-1",
        "1-1-1",
        "01-1",
        " 1-1",
        "1-1\n",
        "٣-1",
        "9" * 17 + "-1",
        "1;a=1-1",
    ],
)
async def test_a_wrong_cursor_is_refused_with_400(make: Make, cursor: str) -> None:
    async with make() as channels:
        with pytest.raises(HTTPException) as caught:
            channels.subscribe("a", after=cursor)
        assert caught.value.status_code == 400


@pytest.mark.parametrize(
    "cursor", ["1-1", "1;a=1-1", "2;a=1-1;b=1-1", "1;a=1-1;a=1-1", "1;%61=1-1;b=1-1"]
)
async def test_a_wrong_cursor_of_several_is_refused_with_400(make: Make, cursor: str) -> None:
    async with make() as channels:
        with pytest.raises(HTTPException) as caught:
            channels.subscribe("a", "b", after=cursor)
        assert caught.value.status_code == 400


async def test_a_subscription_is_left_by_forgetting_it(make: Make) -> None:
    async with make() as channels:
        await publish(channels, "news", 1, 2)
        subscription = channels.subscribe("news", history=2)
        async for message in subscription:
            assert isinstance(message, Message)
            break
        known = weakref.ref(subscription)
        del subscription
        assert known() is None, "something holds a reader that is not read any more"
        await channels.publish("news", 3)


async def test_max_age_ends_a_subscription(make: Make) -> None:
    async with make(max_age=0.05) as channels:
        await publish(channels, "news", 1)
        with anyio.fail_after(20):
            found = [item async for item in channels.subscribe("news")]
        assert found == []


async def test_a_closed_subscription_has_ended(make: Make) -> None:
    async with make() as channels:
        async with channels.subscribe("news") as subscription:
            await publish(channels, "news", 1)
        assert [item async for item in subscription] == []


async def test_what_is_too_long_or_no_json_is_refused(make: Make) -> None:
    async with make(max_size=10) as channels:
        with pytest.raises(ValueError, match="at most 10 bytes"):
            await channels.publish("news", "x" * 9)
        with pytest.raises(TypeError, match="not JSON"):
            await channels.publish("news", object())
        for name in ("", "x" * 201, "a\nb"):
            with pytest.raises(ValueError, match="name has 1 to 200"):
                await channels.publish(name, 1)
        with pytest.raises(ValueError, match="1 to 200"):
            await channels.publish("news", 1, key="")


async def test_a_reader_cancelled_at_every_checkpoint_loses_nothing(make: Make) -> None:
    async with make(entries=10_000, buffer=2) as channels:
        first = await publish(channels, "news", *range(3))

        async def scenario(state: SimpleNamespace) -> None:
            state.subscription = channels.subscribe("news", after=first[0])
            for _ in range(4):
                await channels.publish("news", "more")
                item = await state.subscription.__anext__()
                assert isinstance(item, Message)
                state.found.append(item.id)

        async def check(state: SimpleNamespace) -> None:
            """What comes now follows what was given, without a hole and without a repetition."""
            subscription = getattr(state, "subscription", None)
            if subscription is None:
                return
            await channels.publish("news", "another one")  # the store is as well as before
            with anyio.fail_after(20):
                while len(state.found) < 3:
                    item = await subscription.__anext__()
                    assert isinstance(item, Message)
                    state.found.append(item.id)
            numbers = [int(id.partition("-")[2]) for id in state.found]
            assert numbers == list(range(2, 2 + len(numbers)))

        def state() -> SimpleNamespace:
            return SimpleNamespace(found=[])

        assert await every_checkpoint(scenario, check, state=state) > 5


async def test_a_publish_cancelled_at_every_checkpoint_does_no_harm(make: Make) -> None:
    async with make() as channels, channels.subscribe("news") as subscription:
        ids = []

        async def scenario(state: SimpleNamespace) -> None:
            ids.append(await channels.publish("news", "x", key=state.key))

        async def check(state: SimpleNamespace) -> None:
            id = await channels.publish("news", "x", key=state.key)
            item = await subscription.__anext__()
            assert isinstance(item, Message)
            assert item.id == id

        keys = iter(range(1000))
        await every_checkpoint(scenario, check, state=lambda: SimpleNamespace(key=str(next(keys))))


async def test_two_hundred_cancellations_leave_it_well(make: Make) -> None:
    async with make(timeout=20) as channels:
        async with channels.subscribe("news") as subscription:

            async def give_up(work: Any, after: int) -> None:
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:

                        async def cancel() -> None:
                            for _ in range(after):
                                await anyio.lowlevel.checkpoint()
                            scope.cancel()

                        tasks.start_soon(cancel)
                        await work()

            async def read() -> None:
                await channels.subscribe("news", history=5).__anext__()

            async def send() -> None:
                await channels.publish("news", "x")

            for number in range(100):
                await give_up(read, number % 12)
                await give_up(send, number % 12)
            await channels.publish("news", "ping")
            with anyio.fail_after(20):
                async for item in subscription:
                    if isinstance(item, Message) and item.data == "ping":
                        break
        assert channels.available


async def test_what_is_wrong_is_said_where_it_is_written(make: Make) -> None:
    with pytest.raises(TypeError, match="async def allow"):
        make(allow=lambda channel: True)
    with pytest.raises(ValueError, match="max_age"):
        make(max_age=0)
    channels = make()
    with pytest.raises(RuntimeError, match=r"Kui\(resources=\[channels\]\)"):
        channels.subscribe("news")
    with pytest.raises(RuntimeError, match=r"Kui\(resources=\[channels\]\)"):
        await channels.publish("news", 1)
    async with channels:
        for names, sentence in (((), "1 to 16"), (("a", "a"), "once"), (("a",) * 17, "1 to 16")):
            with pytest.raises(ValueError, match=sentence):
                channels.subscribe(*names)
        with pytest.raises(ValueError, match="catch_up"):
            channels.subscribe("a", overflow="explode")  # type: ignore[arg-type]  # the mistake
        with pytest.raises(ValueError, match="history"):
            channels.subscribe("a", history=-1)
        with pytest.raises(RuntimeError, match="open already"):
            await channels.__aenter__()


async def open_and_use(channels: Channels) -> None:
    async with channels, channels.subscribe("news") as subscription:
        await publish(channels, "news", 1)
        assert await take(subscription, 1) == [1]
        with anyio.move_on_after(0.01):
            await take(subscription, 1)
    assert not channels.available


async def test_channels_may_be_opened_again(make: Make) -> None:
    channels = make()
    for _ in range(2):
        await open_and_use(channels)


def test_channels_may_be_opened_again_in_another_loop(make: Make) -> None:
    channels = make()
    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(open_and_use, channels, backend=backend)
