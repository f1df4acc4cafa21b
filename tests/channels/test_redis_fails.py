"""What becomes of channels when Redis, or the way to it, fails: real servers that are killed, stopped and restarted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from kui.channels import Channels, ChannelsUnavailable, Gap, Message, Subscription
from kui.concurrency.notice import pause
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.anyio

PATIENCE = 30


async def take(subscription: Subscription, number: int) -> list[Any]:
    found: list[Any] = []
    with anyio.fail_after(PATIENCE):
        while len(found) < number:
            item = await subscription.__anext__()
            found.append(item.data if isinstance(item, Message) else item)
    return found


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what changes it has no event
            await anyio.sleep(0.01)


async def test_what_is_missed_while_connections_are_killed_is_read_again(
    own_redis: RedisServer,
) -> None:
    async with Channels(own_redis.url) as here, Channels(own_redis.url) as there:
        async with here.subscribe("news") as subscription:
            for number in range(60):
                await there.publish("news", number, key=str(number))
                if number % 10 == 5:
                    await anyio.to_thread.run_sync(own_redis.kill_connections)
            assert await take(subscription, 60) == list(range(60))


async def test_a_restart_with_persistence_loses_nothing(tmp_path: Any) -> None:
    with RedisServer(tmp_path, persistent=True) as redis:
        async with Channels(redis.url) as channels, channels.subscribe("news") as subscription:
            await channels.publish("news", 1)
            await anyio.to_thread.run_sync(redis.restart)
            await channels.publish("news", 2, key="2")
            assert await take(subscription, 2) == [1, 2]


async def test_a_restart_without_persistence_is_told(own_redis: RedisServer) -> None:
    async with Channels(own_redis.url) as channels, channels.subscribe("news") as subscription:
        first = await channels.publish("news", 1)
        assert await take(subscription, 1) == [1]
        await anyio.to_thread.run_sync(own_redis.restart)
        second = await channels.publish("news", 2, key="2")
        assert await take(subscription, 2) == [Gap("news", first, second), 2]
        late = channels.subscribe("news", after=first)
        assert await take(late, 2) == [Gap("news", first, second), 2]


async def test_forgotten_channels_and_scripts_are_told_and_loaded_again(
    own_redis: RedisServer,
) -> None:
    async with Channels(own_redis.url) as channels, channels.subscribe("news") as subscription:
        first = await channels.publish("news", 1)
        assert await take(subscription, 1) == [1]
        own_redis.command("FLUSHALL")
        own_redis.command("SCRIPT", "FLUSH")
        second = await channels.publish("news", 2)
        assert await take(subscription, 2) == [Gap("news", first, second), 2]


async def test_without_redis_an_app_starts_and_calls_fail_in_bounded_time(
    own_redis: RedisServer,
) -> None:
    own_redis.kill()
    async with Channels(own_redis.url, timeout=0.3) as channels:
        assert not channels.available
        with anyio.fail_after(PATIENCE):
            with pytest.raises(ChannelsUnavailable) as caught:
                await channels.publish("news", 1)
            assert not caught.value.sent
            with pytest.raises(ChannelsUnavailable):
                await channels.subscribe("news").__anext__()
            (event,) = [event async for event in channels.events("news")]
            assert event.keys() == {"retry"}
        assert own_redis.start()
        await until(lambda: channels.available)
        async with channels.subscribe("news") as subscription:
            await channels.publish("news", 2)
            assert await take(subscription, 1) == [2]


async def test_a_server_that_hangs_is_given_up_and_the_outcome_is_unknown(
    own_redis: RedisServer,
) -> None:
    async with Channels(own_redis.url, timeout=0.5) as channels:
        async with channels.subscribe("news") as subscription:
            await channels.publish("news", 1)
            own_redis.stop()
            try:
                with pytest.raises(ChannelsUnavailable) as caught:
                    await channels.publish("news", 2)
                assert caught.value.sent
                await until(lambda: not channels.available)
                with pytest.raises(ChannelsUnavailable):
                    await channels.publish("news", 3, key="3")
            finally:
                own_redis.go_on()
            await until(lambda: channels.available)
            await channels.publish("news", 4)
            assert 4 in await take(subscription, 2) or await take(subscription, 1)


async def test_a_reader_goes_on_when_redis_is_back(own_redis: RedisServer) -> None:
    async with Channels(own_redis.url, buffer=2) as channels:
        ids = [await channels.publish("news", number) for number in range(200)]
        subscription = channels.subscribe("news", after=ids[0])
        assert await take(subscription, 1) == [1]
        own_redis.stop()
        try:
            own_redis_found: list[Any] = []
            with anyio.move_on_after(0.2):
                while True:
                    item = await subscription.__anext__()
                    assert isinstance(item, Message)
                    own_redis_found.append(item.data)
        finally:
            own_redis.go_on()
        left = 198 - len(own_redis_found)
        assert own_redis_found + await take(subscription, left) == list(range(2, 200))


async def test_a_full_server_refuses_and_says_so(own_redis: RedisServer) -> None:
    async with Channels(own_redis.url) as channels:
        await channels.publish("news", 1)
        own_redis.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(ChannelsUnavailable, match="OOM") as caught:
            await channels.publish("news", 2)
        assert not caught.value.sent
        assert channels.available


async def test_the_loss_is_logged_once_and_without_the_password(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"redis://:secret@127.0.0.1:{own_redis.port}"
    own_redis.kill()
    failures = 0
    several = anyio.Event()

    async def pause_after_a_failure(seconds: float) -> None:
        nonlocal failures
        failures += 1
        if failures == 3:
            several.set()
        await pause(seconds)

    monkeypatch.setattr("kui.channels.redis.pause", pause_after_a_failure)
    with caplog.at_level(logging.WARNING):
        async with Channels(url, timeout=0.2):
            with anyio.fail_after(PATIENCE):
                await several.wait()
    assert caplog.text.count("tried again") == 1
    assert "secret" not in caplog.text


async def test_databases_and_prefixes_are_worlds_of_their_own(own_redis: RedisServer) -> None:
    async with (
        Channels(own_redis.url) as one,
        Channels(f"{own_redis.url}/1") as two,
        Channels(own_redis.url, prefix="other") as three,
    ):
        subscriptions = [channels.subscribe("news") for channels in (one, two, three)]
        for subscription in subscriptions:
            await subscription.__aenter__()
        for number, channels in enumerate((one, two, three)):
            await channels.publish("news", number)
        for number, subscription in enumerate(subscriptions):
            assert await take(subscription, 1) == [number]


async def test_a_channel_in_which_nothing_was_published_is_soon_deleted(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kui.channels.hub.LOOK", 0.05)

    def lifetime() -> int:
        return int(own_redis.command("PTTL", "kui:channel:news")[1:])

    async with Channels(own_redis.url) as channels, channels.subscribe("news") as subscription:
        assert 100_000 < lifetime() <= 120_000
        own_redis.command("PEXPIRE", "kui:channel:news", "90000")
        # A reader is there, so the channel goes on to be used.
        while lifetime() <= 90_000:  # noqa: ASYNC110 - Redis has no event for it
            await anyio.sleep(0.05)
        await channels.publish("news", 1)
        assert lifetime() > 86_000_000
        assert await take(subscription, 1) == [1]


def test_a_url_of_another_kind_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="redis://") as caught:
        Channels("http://:secret@localhost")
    assert "secret" not in str(caught.value)


RIGHTS = "+@connection +@scripting +@stream +@pubsub +get +set +exists +pexpire"


async def test_the_rights_of_the_guide_are_enough(own_redis: RedisServer) -> None:
    assert RIGHTS in (Path(__file__).parents[2] / "docs" / "channels.md").read_text()
    own_redis.command("ACL", "SETUSER", "kui", "on", ">secret", "~kui:*", "&kui:*", *RIGHTS.split())
    url = f"redis://kui:secret@127.0.0.1:{own_redis.port}"
    async with Channels(url) as channels, channels.subscribe("news", history=1) as subscription:
        await channels.publish("news", 1, key="1")
        assert await take(subscription, 1) == [1]
    async with Channels(url, prefix="other") as channels:
        with pytest.raises(ChannelsUnavailable, match="permission"):
            await channels.publish("news", 1)


async def test_a_message_that_was_not_told_is_found_all_the_same(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kui.channels.hub.LOOK", 0.1)
    async with Channels(own_redis.url) as channels, channels.subscribe("news") as subscription:
        first = await channels.publish("news", 1)
        epoch = first.partition("-")[0]
        own_redis.command("XADD", "kui:channel:news", f"{epoch}-*", "d", "2")
        assert await take(subscription, 2) == [1, 2]
