"""A response that takes its time: what is sent when, and what becomes of it when its client leaves."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from functools import partial
from types import SimpleNamespace

import anyio
import anyio.lowlevel
import pytest
import trio

from kui.concurrency import ClientDisconnect, Exchange, ExitSignal, Gone
from kui.concurrency.cleanup_shield import CancellationSwallowed
from kui.concurrency.http.generator_runner import ItemLost
from kui.concurrency.http.send_limit import LIMIT_AT_EXIT, SERVER_GIVES_UP, STALL
from kui.concurrency.http.stream import OVERDUE, stream
from kui.testing import every_checkpoint
from tests.support.asgi_server import DISCONNECT, START, WAYS, Server, body

pytestmark = pytest.mark.anyio

PING = b": ping\n\n"
SHORT = 0.02
LENGTH = [(b"content-length", b"5000000")]


class Client:
    """A server, the exchange on it, and the log of what a source did."""

    def __init__(self, server: Server | None = None) -> None:
        self.server = server or Server()
        self.exit = ExitSignal()
        self.server.scope["app"] = SimpleNamespace(exit_signal=self.exit)
        self.exchange = Exchange(self.server.scope, self.server.receive, self.server.send)
        self.log: list[str] = []

    async def stream(self, source, **options) -> None:
        try:
            await stream(self.exchange, source, start=START, encode=str.encode, **options)
        except anyio.get_cancelled_exc_class():
            self.exchange.terminate(Gone.SERVER_CANCELLED)
            raise
        finally:
            await self.exchange.settle()

    def leave(self) -> None:
        self.server.put(DISCONNECT)

    async def numbers(self, count: int = 3, pause: float = 0) -> AsyncIterator[str]:
        self.log.append("open")
        try:
            for i in range(count):
                await anyio.sleep(pause)
                yield str(i)
        finally:
            self.log.append("closing")
            await anyio.sleep(0.1)
            self.log.append("closed")

    def endless(self) -> AsyncIterator[str]:
        return self.numbers(1_000_000, 1)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    yield client
    client.server.close()


@pytest.fixture
def uploader() -> Iterator[Client]:
    client = Client(Server(headers=LENGTH, room=10))
    yield client
    client.server.close()


# To the end.


async def test_chunks_are_sent_as_they_come_and_the_end_is_proper(client) -> None:
    await client.stream(client.numbers())
    assert client.server.types == ["start", "body", "body", "body", "body"]
    assert client.server.body == b"012"
    assert client.exchange.finished
    assert client.log == ["open", "closing", "closed"]


async def test_a_stream_of_nothing_is_an_empty_response(client) -> None:
    await client.stream(client.numbers(0))
    assert client.server.types == ["start", "body"]


async def test_empty_chunks_are_not_sent(client) -> None:
    async def source() -> AsyncIterator[str]:
        yield ""
        yield "a"
        yield ""

    await client.stream(source())
    assert client.server.types == ["start", "body", "body"]


async def test_a_synchronous_iterable_is_iterated_in_threads(client) -> None:
    threads = set()

    def source() -> Iterator[str]:
        for i in range(3):
            threads.add(threading.current_thread())
            yield str(i)

    await client.stream(source())
    assert client.server.body == b"012"
    assert threading.main_thread() not in threads


async def test_a_list_will_do(client) -> None:
    await client.stream(["a", "b"])
    assert client.server.body == b"ab"


async def test_a_function_feeds_the_stream(client) -> None:
    async def feed(send) -> None:
        for i in range(3):
            await send(str(i))

    await client.stream(feed)
    assert client.server.body == b"012"
    assert client.exchange.finished


async def test_a_function_may_send_from_tasks_of_its_own(client) -> None:
    async def feed(send) -> None:
        async with anyio.create_task_group() as tasks:
            for name in "abc":
                tasks.start_soon(send, name)

    await client.stream(feed)
    assert sorted(client.server.body) == sorted(b"abc")
    assert client.server.types == ["start", "body", "body", "body", "body"]


async def test_messages_of_several_tasks_are_sent_one_after_the_other(client) -> None:
    at_once = most = 0

    async def send_slowly(message) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.sleep(1)
        at_once -= 1

    client.exchange.server_send = send_slowly

    async def feed(send) -> None:
        async with anyio.create_task_group() as tasks:
            for name in "abc":
                tasks.start_soon(send, name)

    await client.stream(feed, ping=PING, ping_interval=0.5)
    assert most == 1


async def test_send_is_refused_when_the_response_is_over(client) -> None:
    kept = []

    async def feed(send) -> None:
        kept.append(send)

    await client.stream(feed)
    with pytest.raises(RuntimeError, match="over"):
        await kept[0]("late")


async def test_head_sends_the_headers_and_runs_nothing_of_the_source(client) -> None:
    client.server.scope["method"] = "HEAD"
    await client.stream(client.numbers())
    assert client.server.types == ["start", "body"]
    assert client.log == []


async def test_a_client_that_reads_slowly_holds_the_source_back(client) -> None:
    client.server.stall()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.stream, client.numbers(100))
        await anyio.sleep(10)
        assert client.server.types == ["start"]
        client.server.reading.set()
    assert len(client.server.body) == 190


async def test_a_server_that_gives_up_itself_is_left_to_it(client) -> None:
    client.server.scope["extensions"] = {SERVER_GIVES_UP: {}}
    client.server.stall()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.stream, client.numbers(100))
        await anyio.sleep(10 * STALL)
        assert client.exchange.gone is None
        client.server.reading.set()
    assert len(client.server.body) == 190


async def test_such_a_server_is_left_to_it_for_a_ping_too(client) -> None:
    client.server.scope["extensions"] = {SERVER_GIVES_UP: {}}

    async def source() -> AsyncIterator[str]:
        yield "a"
        client.server.stall()
        await anyio.sleep(20 * STALL)
        yield "b"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(client.stream, source(), ping=PING, ping_interval=15))
        await anyio.sleep(10 * STALL)
        assert client.exchange.gone is None
        client.server.reading.set()
    assert client.server.body.endswith(b"b")


# An exception.


async def test_before_the_first_chunk_it_leaves_the_response_unstarted(client) -> None:
    async def source() -> AsyncIterator[str]:
        await anyio.sleep(1)
        raise LookupError("mine")
        yield ""

    with pytest.raises(LookupError, match="mine"):
        await client.stream(source())
    assert not client.exchange.started


async def test_after_the_first_chunk_it_leaves_the_response_unfinished(client) -> None:
    async def source() -> AsyncIterator[str]:
        yield "a"
        await anyio.sleep(1)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await client.stream(source())
    assert client.exchange.started
    assert not client.exchange.finished


async def test_a_chunk_that_cannot_be_encoded_raises_where_it_was_yielded(client) -> None:
    seen = []

    async def source() -> AsyncIterator[object]:
        try:
            yield 1
        except TypeError as error:
            seen.append(error)
            raise

    with pytest.raises(TypeError):
        await client.stream(source())
    assert len(seen) == 1
    assert not client.exchange.started


async def test_a_group_of_the_users_own_leaves_as_it_is(client) -> None:
    async def fail() -> None:
        await anyio.sleep(1)
        raise LookupError

    async def feed(send) -> None:
        await send("a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await client.stream(feed)
    assert caught.group_contains(LookupError, depth=1)


async def test_a_scope_of_the_generator_that_ends_while_its_chunk_is_sent_cuts_the_response(
    client,
) -> None:
    async def source() -> AsyncIterator[str]:
        with anyio.move_on_after(1):
            yield "a"
        yield "b"

    client.server.stall()
    with pytest.raises(ItemLost):
        await client.stream(source())
    assert not client.exchange.finished


# The client leaves.


async def test_a_client_that_leaves_while_the_source_waits_ends_it_at_once(client) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.stream, client.endless())
        await anyio.sleep(2.5)
        client.leave()
        await anyio.sleep(0.2)
        assert client.log == ["open", "closing", "closed"]
    assert client.exchange.gone is Gone.CLIENT_LEFT
    assert not client.exchange.finished


async def test_a_client_that_leaves_while_a_chunk_is_sent_ends_it(client) -> None:
    client.server.stall()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.stream, client.endless())
        await anyio.sleep(2.5)
        client.leave()
        await anyio.sleep(0.2)
    assert client.log == ["open", "closing", "closed"]


async def test_a_feed_is_cancelled_with_its_tasks(client) -> None:
    async def feed(send) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep_forever)
                await send("a")
                await anyio.sleep_forever()
        finally:
            await anyio.sleep(0.1)
            client.log.append("closed")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.stream, feed)
        await anyio.sleep(1)
        client.leave()
    assert client.log == ["closed"]


async def test_a_client_that_leaves_while_the_source_reads_the_body_ends_it(uploader) -> None:
    seen = []

    async def echo() -> AsyncIterator[str]:
        try:
            while data := await uploader.exchange.next_chunk():
                yield data.decode()
        except ClientDisconnect as error:
            seen.append(error)
            raise

    uploader.server.put(body(b"a", True))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uploader.stream, echo())
        await anyio.sleep(1)
        assert uploader.server.body == b"a"
        uploader.leave()
    assert uploader.exchange.gone is Gone.CLIENT_LEFT


@pytest.mark.parametrize("refusal", [OSError, trio.BusyResourceError])
async def test_a_server_that_refuses_to_send_ends_the_source(client, refusal) -> None:
    async def send(message) -> None:
        if message["type"] == "http.response.body":
            raise refusal("gone")

    client.exchange.server_send = send
    await client.stream(client.endless())
    assert client.log == ["open", "closing", "closed"]
    assert client.exchange.gone is Gone.CLIENT_LEFT


async def test_then_each_checkpoint_of_its_cleanup_is_shielded(client) -> None:
    async def send(message) -> None:
        if message["type"] == "http.response.body":
            raise OSError("gone")

    async def source() -> AsyncIterator[str]:
        try:
            yield "one"
        finally:
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            client.log.append("cleaned up")

    client.exchange.server_send = send
    await client.stream(source())
    assert client.log == ["cleaned up"]


@pytest.mark.parametrize("kind", ["generator", "feed"])
async def test_a_server_that_refuses_a_later_chunk_ends_the_source_too(kind, client) -> None:
    seen = []

    async def send(message) -> None:
        if message.get("body") == b"2":
            raise OSError("gone")

    async def source() -> AsyncIterator[str]:
        try:
            for i in range(5):
                yield str(i)
        except ClientDisconnect as error:
            seen.append(str(error.__cause__))
            raise

    async def feed(send) -> None:
        try:
            for i in range(5):
                await send(str(i))
        except ClientDisconnect as error:
            seen.append(str(error.__cause__))
            raise

    client.exchange.server_send = send
    await client.stream(source() if kind == "generator" else feed)
    assert client.exchange.gone is Gone.CLIENT_LEFT
    assert seen == ["gone"]


async def test_what_the_cleanup_raises_is_raised_although_the_client_has_left(client) -> None:
    async def source() -> AsyncIterator[str]:
        try:
            await anyio.sleep_forever()
            yield ""
        finally:
            raise LookupError("in the cleanup")

    client.leave()
    with pytest.raises(LookupError):
        await client.stream(source())
    assert client.exchange.gone is Gone.CLIENT_LEFT


async def test_a_body_of_any_size_is_echoed_whole_while_the_client_is_watched(uploader) -> None:
    async def echo() -> AsyncIterator[str]:
        while data := await uploader.exchange.next_chunk():
            await anyio.sleep(0.02)
            yield data.decode()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: uploader.server.upload(800, whole=True))
        await uploader.stream(echo())
    assert len(uploader.server.body) == 800 * 1024
    assert uploader.exchange.finished


async def test_no_more_than_the_buffer_is_taken_from_an_unread_body(uploader) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uploader.stream, uploader.endless())
        tasks.start_soon(uploader.server.upload, 1000)
        await anyio.sleep(2.5)
        assert uploader.exchange.full
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("watched", [True, False])
async def test_a_reader_finds_its_cleanup_shielded_when_the_client_leaves(
    uploader, watched
) -> None:
    async def echo() -> AsyncIterator[str]:
        try:
            while data := await uploader.exchange.next_chunk():
                yield data.decode()
        finally:
            await anyio.lowlevel.checkpoint()
            uploader.log.append("cleaned up")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uploader.stream, echo())
        uploader.server.put(body(b"x", more=True))
        if watched:
            await anyio.sleep(1)
        uploader.leave()
    assert uploader.exchange.gone is Gone.CLIENT_LEFT
    assert uploader.log == ["cleaned up"]


async def half_read(uploader) -> AsyncIterator[str]:
    """A source that reads the beginning of its body, and then goes on without."""
    await uploader.exchange.next_chunk()
    async with aclosing(uploader.endless()) as numbers:
        async for number in numbers:
            yield number


async def test_a_client_whose_body_is_read_in_part_and_that_stalls_counts_as_gone_in_the_end(
    uploader,
) -> None:
    uploader.server.stall()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uploader.server.upload, 1000)
        await uploader.stream(half_read(uploader))
        tasks.cancel_scope.cancel()
    assert uploader.exchange.gone is Gone.STALLED
    assert uploader.log == ["open", "closing", "closed"]


@pytest.mark.parametrize("quiet", [True, False])
async def test_an_unread_body_does_not_hide_for_ever_that_its_client_has_left(
    uploader, quiet
) -> None:
    async def upload_and_leave() -> None:
        await uploader.server.upload(1000)
        await uploader.server.put_when_there_is_room(DISCONNECT)

    async def silence() -> AsyncIterator[str]:
        async with aclosing(uploader.endless()) as numbers:
            async for _ in numbers:
                yield ""

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upload_and_leave)
        await uploader.stream(silence() if quiet else uploader.endless())
    assert uploader.exchange.gone is Gone.CLIENT_LEFT
    assert uploader.log == ["open", "closing", "closed"]


async def test_nor_does_it_when_the_server_waits_for_room_to_say_so(uploader) -> None:
    async def send(message) -> None:
        if len(uploader.server.sent) == 3:
            await uploader.server.put_when_there_is_room(DISCONNECT)
        await uploader.server.send(message)

    uploader.exchange.server_send = send
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uploader.server.upload, 1000)
        await uploader.stream(uploader.endless())
        tasks.cancel_scope.cancel()
    assert uploader.exchange.gone is Gone.CLIENT_LEFT


async def test_nor_when_it_does_so_in_a_ping(uploader) -> None:
    async def send(message) -> None:
        if message.get("body") == PING:
            await anyio.sleep_forever()
        await uploader.server.send(message)

    async def quiet() -> AsyncIterator[str]:
        yield "one"
        await anyio.sleep_forever()

    uploader.exchange.server_send = send
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uploader.server.upload, 1000)
        await uploader.stream(quiet(), ping=PING)
        tasks.cancel_scope.cancel()
    assert uploader.exchange.gone is Gone.STALLED


async def test_one_that_was_read_in_part_does_not_either(uploader) -> None:
    async def upload_and_leave() -> None:
        await uploader.server.upload(1000)
        await uploader.server.put_when_there_is_room(DISCONNECT)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upload_and_leave)
        await uploader.stream(half_read(uploader))
    assert uploader.exchange.gone is Gone.CLIENT_LEFT
    assert uploader.log == ["open", "closing", "closed"]


async def test_a_body_that_is_read_too_late_was_thrown_away_and_that_is_said(uploader) -> None:
    async def late() -> AsyncIterator[str]:
        yield "the beginning"
        await anyio.sleep(60)
        yield str(await uploader.exchange.next_chunk())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uploader.server.upload, 1000)
        with pytest.raises(RuntimeError, match="the request body was discarded"):
            await uploader.stream(late())


async def test_one_that_fits_the_buffer_can_be_read_at_any_time(uploader) -> None:
    async def late() -> AsyncIterator[str]:
        yield "the beginning"
        await anyio.sleep(600)
        while data := await uploader.exchange.next_chunk():
            yield data.decode()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: uploader.server.upload(9, whole=True))
        await uploader.stream(late(), ping=PING)
    assert uploader.server.body.count(b"x") == 9 * 1024


async def test_one_that_is_read_now_and_then_is_kept(uploader) -> None:
    async def slow() -> AsyncIterator[str]:
        while data := await uploader.exchange.next_chunk():
            for _ in range(10):
                await anyio.sleep(10)
                yield ""
            yield data.decode()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: uploader.server.upload(100, whole=True))
        await uploader.stream(slow())
    assert len(uploader.server.body) == 100 * 1024
    assert uploader.exchange.finished


async def test_a_client_that_reads_now_and_then_is_not_given_up(uploader) -> None:
    uploader.server.stall()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uploader.server.upload, 1000)
        tasks.start_soon(uploader.stream, half_read(uploader))
        for _ in range(10):
            await anyio.sleep(20)
            uploader.server.reading.set()
            await anyio.sleep(1)
            uploader.server.stall()
        assert uploader.exchange.gone is None
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["generator", "feed"])
async def test_the_time_that_a_source_has_waited_before_is_not_held_against_a_client(
    kind, uploader
) -> None:
    source = source_of([100]) if kind == "generator" else partial(feed_of, [100])
    await uploader.server.upload(1)
    await uploader.exchange.next_chunk()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uploader.server.upload, 1000)
        tasks.start_soon(uploader.stream, source)
        await anyio.sleep(90)
        uploader.server.stall()
        await anyio.sleep(35)
        assert uploader.exchange.full
        assert uploader.exchange.gone is None
        uploader.server.reading.set()
        await anyio.sleep(1)
        assert uploader.exchange.finished
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["generator", "feed", "long chunk", "ping"])
async def test_a_client_that_reads_nothing_has_left_after_the_stall_time(client, kind) -> None:
    async def feed(send) -> None:
        await send("a")
        await anyio.sleep_forever()

    async def long_chunk() -> AsyncIterator[str]:
        yield "a" * 1_000_000

    client.server.stall()
    source = {"generator": client.endless(), "feed": feed, "long chunk": long_chunk()}.get(kind)
    with anyio.fail_after(60):
        before = anyio.current_time()
        await client.stream(source or quiet(), ping=PING if kind == "ping" else None)
    assert client.exchange.gone is Gone.STALLED
    assert STALL - 1 <= anyio.current_time() - before <= STALL + 7
    assert "open" not in client.log or client.log == ["open", "closing", "closed"]


async def test_a_slow_client_that_reads_a_long_chunk_piece_by_piece_gets_all_of_it(client) -> None:
    async def slow(message) -> None:
        await anyio.sleep(STALL - 10)
        await send(message)

    async def long_chunk() -> AsyncIterator[str]:
        yield "a" * 1_000_000

    send = client.server.send
    client.exchange.server_send = slow
    await client.stream(long_chunk())
    assert client.exchange.finished
    assert client.server.body == b"a" * 1_000_000


@pytest.mark.parametrize("ping", [None, PING], ids=["", "ping"])
async def test_once_the_app_is_to_stop_a_client_that_reads_nothing_has_left_after_the_drain_time(
    client, ping
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(client.stream, quiet() if ping else client.endless(), ping=ping))
        await anyio.sleep(1)
        client.server.stall()
        await anyio.sleep(4)
        assert client.server.blocked
        before = anyio.current_time()
        client.exit.set()
    assert anyio.current_time() - before <= LIMIT_AT_EXIT + 0.5
    assert client.exchange.gone is Gone.STALLED
    assert not client.exchange.finished


# Pings, and the opening.


async def quiet(seconds: float = 3600) -> AsyncIterator[str]:
    yield "a"
    await anyio.sleep(seconds)


async def test_pings_are_sent_while_the_source_is_silent(client) -> None:
    await client.stream(quiet(), ping=PING, ping_interval=3)
    count = client.server.body.count(PING)
    assert 1100 <= count <= 1200
    assert client.server.body == b"a" + PING * count


async def test_no_ping_is_sent_while_the_source_speaks(client) -> None:
    await client.stream(client.numbers(100, 2.5), ping=PING, ping_interval=3)
    assert PING not in client.server.body


async def feed_of(pauses: list[float], send) -> None:
    for pause in pauses:
        await anyio.sleep(pause)
        await send("a")
        await send("b")


async def source_of(pauses: list[float]) -> AsyncIterator[str]:
    for pause in pauses:
        await anyio.sleep(pause)
        yield "a"
        yield "b"


@pytest.mark.parametrize("kind", ["generator", "feed"])
async def test_a_ping_comes_when_there_was_silence_for_its_interval_to_a_quarter_of_a_second(
    kind, client
) -> None:
    pauses = [0.1, 0.4, 0.9, 0.05, 3.3, 0.49, 0.61, 2.0]
    silences: list[tuple[bool, float]] = []
    last = -math.inf

    async def note(message) -> None:
        nonlocal last
        now = anyio.current_time()
        silences.append((message.get("body") == PING, now - last))
        await anyio.sleep(0.3)  # as a client that takes its time
        last = anyio.current_time()

    client.exchange.server_send = note
    source = source_of(pauses) if kind == "generator" else partial(feed_of, pauses)
    await client.stream(source, ping=PING, ping_interval=0.5)
    pings = [silence for is_ping, silence in silences if is_ping]
    others = [silence for is_ping, silence in silences[1:] if not is_ping]
    assert len(pings) >= 6
    assert all(0.5 <= round(silence, 6) < 0.75 for silence in pings)
    assert all(silence < 0.75 for silence in others)


async def test_a_ping_neither_cancels_nor_delays_the_source(client) -> None:
    times = []

    async def source() -> AsyncIterator[str]:
        for _ in range(3):
            await anyio.sleep(100)
            times.append(anyio.current_time())
            yield "a"

    began = anyio.current_time()
    await client.stream(source(), ping=PING, ping_interval=3)
    assert [round(time - began) for time in times] == [100, 200, 300]


async def test_no_ping_is_begun_while_a_chunk_is_being_sent(client) -> None:
    client.server.stall()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.stream(quiet(), ping=PING, ping_interval=3))
        await anyio.sleep(100)
        assert client.server.types == ["start"]
        tasks.cancel_scope.cancel()


async def test_a_ping_under_way_is_sent_before_the_next_chunk_and_before_the_end(client) -> None:
    async def source() -> AsyncIterator[str]:
        yield "a"
        await anyio.sleep(9.9)
        yield "b"

    async def slow(message) -> None:
        await send(message)
        await anyio.sleep(5 if message.get("body") == PING else 0)
        if message.get("body") == PING:
            client.log.append("pinged")
        elif "body" in message:
            client.log.append(message["body"].decode())

    send = client.server.send
    client.exchange.server_send = slow
    await client.stream(source(), ping=PING, ping_interval=3)
    assert client.log == ["a", "pinged", "b", ""]


async def test_a_client_that_leaves_while_a_ping_cannot_be_sent_ends_the_source(client) -> None:
    closed: list[float] = []

    async def source() -> AsyncIterator[str]:
        try:
            yield "a"
            await anyio.sleep(3600)
        finally:
            closed.append(anyio.current_time())

    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.stream(source(), ping=PING, ping_interval=3))
        await anyio.sleep(1)
        client.server.stall()
        await anyio.sleep(20)
        assert client.server.blocked
        client.leave()
    assert client.exchange.gone is Gone.CLIENT_LEFT
    assert closed[0] - began < 22


async def test_the_headers_go_out_soon_although_there_is_no_chunk(client) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.stream(client.numbers(1, 60), ping=PING, open_after=0.25))
        await anyio.sleep(0.1)
        assert client.server.types == []
        await anyio.sleep(0.5)
        assert client.server.types == ["start"]
        tasks.cancel_scope.cancel()


async def test_without_that_they_wait_for_the_first_chunk(client) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.stream(client.numbers(1, 60), ping=PING))
        await anyio.sleep(59)
        assert client.server.types == []
        tasks.cancel_scope.cancel()


async def test_many_quiet_streams_wake_up_together(client) -> None:
    times = set()

    async def one(delay: float) -> None:
        await anyio.sleep(delay)
        client = Client()
        send = client.server.send

        async def note(message) -> None:
            if message.get("body") == PING:
                times.add(round(anyio.current_time(), 6))
            await send(message)

        client.exchange.server_send = note
        await client.stream(quiet(10), ping=PING, ping_interval=3)
        client.server.close()

    async with anyio.create_task_group() as tasks:
        for i in range(50):
            tasks.start_soon(one, i / 50)
    assert all((time * 4) % 1 < 0.001 or (time * 4) % 1 > 0.999 for time in times)
    assert len(times) <= 20


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("waits", [False, True], ids=["ready", "waits"])
async def test_a_generator_whose_client_left_before_its_first_step_begins_and_frees_what_it_got(
    client, kind, waits
) -> None:
    log: list[str] = []

    async def async_chunks() -> AsyncIterator[str]:
        try:
            log.append("began")
            if waits:
                await anyio.sleep(1)
            yield "a"
            await anyio.sleep(1)
        finally:
            log.append("freed")

    def sync_chunks() -> Iterator[str]:
        try:
            log.append("began")
            if waits:
                time.sleep(0.02)
            yield "a"
        finally:
            log.append("freed")

    client.leave()
    assert await client.exchange.is_disconnected()
    await client.stream(async_chunks() if kind == "async" else sync_chunks())
    assert log == ["began", "freed"]


async def test_the_first_step_of_a_plain_generator_may_fail_after_its_client_has_left(
    client, caplog
) -> None:
    def chunks() -> Iterator[str]:
        raise LookupError("no such file")
        yield ""

    client.leave()
    assert await client.exchange.is_disconnected()
    await client.stream(chunks())
    assert "no such file" in caplog.text


@pytest.mark.parametrize("leaves", [True, False], ids=["client leaves", "server stops"])
@pytest.mark.parametrize(
    ("kind", "swallows"),
    [
        ("generator", "Cancelled"),
        ("feed", "Cancelled"),
        ("group", "Cancelled"),
        ("feed", "exceptions"),
    ],
)
async def test_a_source_that_swallows_every_cancellation_is_named_and_given_up(
    client, caplog, leaves, kind, swallows
) -> None:
    cancelled = anyio.get_cancelled_exc_class()
    errors = (cancelled,) if swallows == "Cancelled" else (cancelled, Exception)

    async def stubborn() -> None:
        while True:
            with suppress(*errors):
                await anyio.sleep(1)

    async def generator() -> AsyncIterator[str]:
        yield "a"
        await stubborn()

    async def feed(send) -> None:
        await send("a")
        await stubborn()

    async def group(send) -> None:
        await send("a")
        async with anyio.create_task_group():
            await stubborn()

    source = {"generator": generator(), "feed": feed, "group": group}[kind]
    failure = []

    async def answer() -> None:
        try:
            await client.stream(source, grace=SHORT)
        except* CancellationSwallowed as group:
            failure.append(group.exceptions[0])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer)
        await anyio.sleep(1)
        client.leave() if leaves else client.exit.set()
    assert len(failure) == 1
    assert f"{kind} swallowed every cancellation" in caplog.text
    assert client.server.types == ["start", "body"]


@pytest.mark.parametrize("leaves", [True, False], ids=["client leaves", "server stops"])
@pytest.mark.parametrize("kind", ["generator", "feed", "group"])
async def test_a_source_that_shields_itself_without_an_end_is_named(
    client, caplog, leaves, kind
) -> None:
    done = anyio.Event()

    async def hold() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await done.wait()

    async def generator() -> AsyncIterator[str]:
        yield "a"
        await hold()

    async def feed(send) -> None:
        await send("a")
        await hold()

    async def group(send) -> None:
        await send("a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)

    source = {"generator": generator(), "feed": feed, "group": group}[kind]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(client.stream, source, grace=SHORT))
        await anyio.sleep(1)
        client.leave() if leaves else client.exit.set()
        await anyio.sleep(OVERDUE / 2)
        early = caplog.text
        await anyio.sleep(OVERDUE)
        done.set()
    assert "does not end" not in early
    assert f"{kind} does not end, 1.02 s after it was cancelled" in caplog.text


# The server stops.


async def test_a_source_that_waits_is_cancelled_and_the_response_ends_properly(client) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.stream, client.endless())
        await anyio.sleep(2.5)
        client.exit.set()
        await anyio.sleep(0.2)
        assert client.exchange.finished
    assert client.log == ["open", "closing", "closed"]
    assert client.server.body == b"01"
    assert client.exchange.gone is Gone.DRAIN


async def test_a_chunk_that_is_being_sent_is_sent_first(client) -> None:
    client.server.stall()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.stream, client.endless())
        await anyio.sleep(2.5)
        client.exit.set()
        await anyio.sleep(0.5)
        assert client.log == ["open"]
        client.server.reading.set()
    assert client.server.body == b"0"
    assert client.exchange.finished
    assert client.log == ["open", "closing", "closed"]


async def test_a_client_that_leaves_during_the_drain_ends_it(client) -> None:
    client.server.stall()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.stream, client.endless())
        await anyio.sleep(2.5)
        client.exit.set()
        client.leave()
    assert client.exchange.gone is Gone.CLIENT_LEFT
    assert client.log == ["open", "closing", "closed"]


async def test_a_ping_under_way_is_not_cut_by_the_drain(client) -> None:
    async def slow(message) -> None:
        await send(message)
        if message.get("body") == PING:
            await anyio.sleep(1.5)
            client.log.append("pinged")

    send = client.server.send
    client.exchange.server_send = slow
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.stream(quiet(), ping=PING, ping_interval=3))
        await anyio.sleep(4)
        client.exit.set()
    assert client.log == ["pinged"]
    assert client.exchange.finished


async def test_a_stream_that_begins_when_the_server_stops_already_is_empty(client) -> None:
    client.exit.set()
    await client.stream(client.endless())
    assert client.server.types == ["start", "body"]
    assert client.log == []


async def test_a_feed_is_cancelled_when_what_it_sends_has_been_sent(client) -> None:
    async def feed(send) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(forever, send)
            tasks.start_soon(forever, send)
            await anyio.sleep_forever()

    async def forever(send) -> None:
        while True:
            await send("a")
            await anyio.sleep(1)

    client.server.stall()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.stream, feed)
        await anyio.sleep(5)
        client.exit.set()
        await anyio.sleep(0.5)
        assert not client.exchange.finished
        client.server.reading.set()
    assert client.exchange.finished
    assert client.server.body == b"aa"


async def test_an_exit_after_the_stream_changes_nothing(client) -> None:
    await client.stream(client.numbers())
    client.exit.set()
    assert client.exchange.gone is None


# Cancelled from outside.


async def test_a_cancelled_stream_cleans_up(client) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.stream, client.endless())
        await anyio.sleep(2.5)
        tasks.cancel_scope.cancel()
    assert client.log == ["open", "closing", "closed"]
    assert client.exchange.gone is Gone.SERVER_CANCELLED
    assert not client.exchange.finished


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("order", ["client, server", "server, client"])
async def test_a_server_that_cancels_while_the_client_leaves_is_obeyed(order, client) -> None:
    task = asyncio.ensure_future(client.stream(client.endless()))
    await asyncio.sleep(0.05)
    if order == "server, client":
        task.cancel()
    client.leave()
    if order == "client, server":
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.log[:2] == ["open", "closing"]


# Cancellation at every checkpoint.


async def streamed(state: SimpleNamespace) -> None:
    state.client = client = Client()
    await client.stream(client.numbers(2, 1), ping=PING, ping_interval=0.3, open_after=0.25)


async def fed(state: SimpleNamespace) -> None:
    state.client = client = Client()

    async def feed(send) -> None:
        client.log.append("open")
        try:
            async with anyio.create_task_group() as tasks:
                for name in "ab":
                    tasks.start_soon(send, name)
            await anyio.sleep(0.6)
            await send("c")
        finally:
            client.log.append("closing")

    await client.stream(feed, ping=PING, ping_interval=0.3)


async def echoed(state: SimpleNamespace) -> None:
    state.client = client = Client(Server(headers=LENGTH, room=10))
    client.log += ["open", "closing"]

    async def echo() -> AsyncIterator[str]:
        while data := await client.exchange.next_chunk():
            yield data.decode()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.server.upload, 3)
        await client.stream(echo())
        tasks.cancel_scope.cancel()


def closed_once(state: SimpleNamespace) -> None:
    client = state.client
    client.server.close()
    assert client.log[:2] in ([], ["open", "closing"])
    assert client.log.count("closing") <= 1
    assert client.server.receiving == 0
    assert not client.exit._listeners
    assert client.exchange.finished or client.exchange.gone is not None


def sent_whole_or_cut(state: SimpleNamespace) -> None:
    closed_once(state)
    ended = [message.get("more_body") for message in state.client.server.sent].count(False)
    assert ended == state.client.exchange.finished


@pytest.fixture
def scenario(request: pytest.FixtureRequest):
    return {"streamed": streamed, "fed": fed}[request.param]


@pytest.mark.parametrize("scenario", ["streamed", "fed"], indirect=True)
@pytest.mark.parametrize(("anyio_backend", "how"), WAYS, indirect=["anyio_backend"])
async def test_a_stream_may_be_cancelled_anywhere(scenario, how) -> None:
    assert await every_checkpoint(scenario, closed_once, how=how) > 3


@pytest.mark.parametrize("scenario", ["streamed", "fed"], indirect=True)
async def test_a_client_may_leave_anywhere(scenario) -> None:
    def leave(state: SimpleNamespace) -> None:
        state.client.leave()

    assert await every_checkpoint(scenario, sent_whole_or_cut, how=leave) > 3


@pytest.mark.parametrize("scenario", ["streamed", "fed"], indirect=True)
async def test_a_server_may_stop_anywhere_and_the_response_is_whole(scenario) -> None:
    def stop(state: SimpleNamespace) -> None:
        state.client.exit.set()

    def check(state: SimpleNamespace) -> None:
        sent_whole_or_cut(state)
        assert state.client.exchange.finished

    assert await every_checkpoint(scenario, check, how=stop) > 3
