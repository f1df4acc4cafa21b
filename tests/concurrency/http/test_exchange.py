"""The exchange: one reader, one sender, and why it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from types import SimpleNamespace

import anyio
import anyio.lowlevel
import pytest
from baize.typing import Message

from kui.concurrency import (
    ClientDisconnect,
    Exchange,
    ExitSignal,
    Gone,
    body_expected,
    exchange_of,
    owner_of,
)
from kui.concurrency.http.receive_buffer import (
    BUFFERED_BYTES,
    BUFFERED_MESSAGES,
    ReceivesNowait,
)
from kui.concurrency.http.send_limit import LIMIT_AT_EXIT, PIECE, SERVER_GIVES_UP, STALL
from kui.testing import every_checkpoint
from tests.support.asgi_server import DISCONNECT, START, WAYS, Server, body, chunk

pytestmark = pytest.mark.anyio

LENGTH = [(b"content-length", b"5000000")]


@pytest.fixture
def made() -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def serve(made: list[Server]):
    def serve(*messages, version="1.1", **options) -> tuple[Server, Exchange]:
        server = Server(*messages, **options)
        server.scope["http_version"] = version
        made.append(server)
        return server, Exchange(server.scope, server.receive, server.send)

    return serve


async def settled() -> None:
    """Let all tasks do what can be done now."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


# Which requests have a body.


@pytest.mark.parametrize(
    ("version", "headers", "expected"),
    [
        ("1.1", [], False),
        ("1.0", [], False),
        ("1.1", [(b"host", b"x"), (b"content-length", b"3")], True),
        ("1.1", [(b"content-length", b"0")], False),
        ("1.1", [(b"content-length", b"00")], False),
        ("1.1", [(b"transfer-encoding", b"chunked")], True),
        ("2", [], True),
        ("3", [], True),
        ("2", [(b"content-length", b"0")], False),
    ],
)
async def test_the_head_of_a_request_tells_whether_a_body_may_come(
    version, headers, expected
) -> None:
    assert body_expected({"http_version": version, "headers": headers}) is expected


async def test_no_body_is_expected_any_more_once_it_was_read(serve) -> None:
    _, exchange = serve(body(b"a"), headers=LENGTH)
    assert exchange.body_is_coming
    await exchange.next_chunk()
    assert not exchange.body_is_coming


# One object for one request.


async def test_the_exchange_is_found_again_by_its_own_callables(serve) -> None:
    _, exchange = serve()
    assert owner_of(exchange.receive, exchange.send) is exchange


async def test_one_of_its_callables_alone_is_not_enough(serve) -> None:
    server, exchange = serve()
    _, other = serve()
    assert owner_of(server.receive, exchange.send) is None
    assert owner_of(exchange.receive, server.send) is None
    assert owner_of(exchange.receive, other.send) is None


async def test_a_block_settles_the_exchange_that_was_made_for_it(serve) -> None:
    server, _ = serve(body(b"unread"), headers=LENGTH)
    async with exchange_of(server.scope, server.receive, server.send) as made:
        assert made.unsettled
    assert not made.unsettled


async def test_a_block_leaves_an_exchange_that_was_there_to_its_owner(serve) -> None:
    _, exchange = serve(body(b"unread"), headers=LENGTH)
    async with exchange_of(exchange.scope, exchange.receive, exchange.send) as found:
        assert found is exchange
    assert exchange.unsettled
    await exchange.settle()


# Reading.


async def test_chunks_come_in_order_without_the_empty_ones_and_the_end_again_and_again(
    serve,
) -> None:
    _, exchange = serve(body(b"a", True), body(b"", True), body(b"b", True), body(b"", False))
    chunks = [await exchange.next_chunk() for _ in range(4)]
    assert chunks == [b"a", b"b", b"", b""]


async def test_the_last_chunk_may_have_a_body(serve) -> None:
    _, exchange = serve(body(b"a", True), body(b"b"))
    assert [await exchange.next_chunk() for _ in range(3)] == [b"a", b"b", b""]


async def test_a_client_that_leaves_before_the_end_of_the_body_is_an_error(serve) -> None:
    _, exchange = serve(body(b"a", True), DISCONNECT, headers=LENGTH)
    assert await exchange.next_chunk() == b"a"
    for _ in range(2):
        with pytest.raises(ClientDisconnect):
            await exchange.next_chunk()
    assert exchange.gone is Gone.CLIENT_LEFT


async def test_the_disconnect_is_received_again_and_again(serve) -> None:
    _, exchange = serve(DISCONNECT)
    assert [await exchange.receive() for _ in range(3)] == [DISCONNECT] * 3


async def test_two_readers_share_the_messages_one_at_a_time(serve) -> None:
    server, exchange = serve()
    got: list[bytes] = []

    async def read() -> None:
        got.append((await exchange.receive())["body"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(read)
        await settled()
        server.put(body(b"a", True))
        await settled()
        server.put(body(b"b", True))
    assert sorted(got) == [b"a", b"b"]


async def test_a_cancelled_reader_leaves_the_message_to_the_next(serve) -> None:
    server, exchange = serve()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(exchange.receive)
            await settled()
            scope.cancel()
    server.put(body(b"a"))
    assert await exchange.next_chunk() == b"a"


# Looking whether the client has left.


async def test_the_client_has_not_left_while_nothing_comes(serve) -> None:
    _, exchange = serve()
    assert not await exchange.is_disconnected()
    await exchange.settle()


async def test_a_client_that_has_left_is_seen_at_once(serve) -> None:
    _, exchange = serve(DISCONNECT)
    assert await exchange.is_disconnected()


async def test_a_client_that_leaves_between_two_looks_is_seen(serve) -> None:
    server, exchange = serve()
    assert not await exchange.is_disconnected()
    server.put(DISCONNECT)
    assert await exchange.is_disconnected()


async def test_a_look_loses_nothing(serve) -> None:
    server, exchange = serve(body(b"a", True), body(b"b", True))
    assert not await exchange.is_disconnected()
    server.put(body(b"c"))
    assert not await exchange.is_disconnected()
    assert [await exchange.next_chunk() for _ in range(4)] == [b"a", b"b", b"c", b""]
    assert not await exchange.is_disconnected()
    server.put(DISCONNECT)
    assert await exchange.is_disconnected()


async def test_what_came_before_the_client_left_is_still_read(serve) -> None:
    _, exchange = serve(body(b"a", True), body(b"b"), DISCONNECT)
    assert await exchange.is_disconnected()
    assert [await exchange.next_chunk() for _ in range(3)] == [b"a", b"b", b""]


async def test_a_look_takes_nothing_from_a_reader(serve) -> None:
    server, exchange = serve()
    got: list[bytes] = []

    async def read() -> None:
        got.append(await exchange.next_chunk())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await settled()
        assert not await exchange.is_disconnected()
        server.put(body(b"a", True))
        assert not await exchange.is_disconnected()
    assert got == [b"a"]
    server.put(DISCONNECT)
    assert await exchange.is_disconnected()


async def test_looks_and_reads_raced_lose_nothing_and_keep_the_order(serve) -> None:
    server, exchange = serve()
    total = 400

    async def upload() -> None:
        for i in range(total):
            server.put(body(b"%d;" % i, more=i < total - 1))
            if i % 3 == 0:
                await anyio.lowlevel.checkpoint()

    got = b""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upload)
        while True:
            await exchange.is_disconnected()
            read = await exchange.next_chunk()
            if not read:
                break
            got += read
    assert got == b"".join(b"%d;" % i for i in range(total))
    await exchange.settle()


async def test_looking_takes_in_no_more_than_the_buffer_holds(serve) -> None:
    server, exchange = serve(room=4)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.upload, 100, 16)
        for _ in range(50):
            await exchange.is_disconnected()
        assert len(exchange._kept) == BUFFERED_MESSAGES
        tasks.cancel_scope.cancel()
    await exchange.settle()


async def test_looking_takes_in_no_more_bytes_than_the_buffer_holds(serve) -> None:
    server, exchange = serve(room=4)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.upload, 100, 10_000)
        for _ in range(50):
            await exchange.is_disconnected()
        assert BUFFERED_BYTES <= exchange._size < BUFFERED_BYTES + 10_000
        tasks.cancel_scope.cancel()
    await exchange.settle()


async def test_after_the_answer_a_disconnect_means_nothing(serve) -> None:
    _, exchange = serve(says_so=True)
    await exchange.send(START)
    await exchange.send(chunk(b"ok"))
    assert exchange.finished
    assert not await exchange.is_disconnected()
    assert (await exchange.receive()) == DISCONNECT
    assert exchange.gone is None


async def test_a_listener_is_told_once_and_at_once_if_it_comes_late(serve) -> None:
    _, exchange = serve(DISCONNECT)
    told: list[int] = []
    exchange.listen(lambda: told.append(1))
    assert await exchange.is_disconnected()
    await exchange.receive()
    exchange.listen(lambda: told.append(2))
    assert told == [1, 2]
    await exchange.settle()


# Sending.


async def test_what_is_sent_is_counted(serve) -> None:
    server, exchange = serve()
    states = []
    for message in (START, chunk(b"a", True), chunk(b"b")):
        await exchange.send(message)
        states.append((exchange.started, exchange.finished))
    assert states == [(True, False), (True, False), (True, True)]
    assert server.sent == [START, chunk(b"a", True), chunk(b"b")]


async def test_the_start_may_be_replaced(serve) -> None:
    server, exchange = serve()
    exchange.on_start = lambda message: {**message, "headers": [(b"vary", b"origin")]}
    await exchange.send(START)
    assert server.sent == [{**START, "headers": [(b"vary", b"origin")]}]
    assert START["headers"] == []


@pytest.mark.parametrize(
    ("messages", "finished"),
    [
        ([chunk(b"a", True)], False),
        ([{"type": "http.response.pathsend", "path": "/x"}], True),
        ([{"type": "http.response.zerocopysend", "file": 1, "more_body": True}], False),
        ([{"type": "http.response.zerocopysend", "file": 1}], True),
        ([{"type": "http.response.early_hint", "links": []}], False),
    ],
)
async def test_every_kind_of_last_message_is_known(serve, messages, finished) -> None:
    _, exchange = serve()
    await exchange.send(START)
    for message in messages:
        await exchange.send(message)
    assert exchange.finished is finished


async def test_with_trailers_the_last_message_is_theirs(serve) -> None:
    _, exchange = serve()
    await exchange.send({**START, "trailers": True})
    await exchange.send(chunk(b"a"))
    assert not exchange.finished
    await exchange.send({"type": "http.response.trailers", "headers": [], "more_trailers": True})
    assert not exchange.finished
    await exchange.send({"type": "http.response.trailers", "headers": []})
    assert exchange.finished


async def test_a_server_that_says_the_client_has_gone_is_believed(serve) -> None:
    server, exchange = serve()

    async def send(message) -> None:
        raise OSError("gone")

    exchange = Exchange(server.scope, server.receive, send)
    with pytest.raises(ClientDisconnect):
        await exchange.send(START)
    assert exchange.gone is Gone.CLIENT_LEFT


# A client that stops reading.


BIG = 1_000_000


@pytest.mark.parametrize("headers", [[], LENGTH], ids=["", "with a body"])
async def test_a_response_whose_client_stops_reading_is_given_up(serve, headers) -> None:
    server, exchange = serve(headers=headers)
    await exchange.send(START)
    server.stall()
    before = anyio.current_time()
    with anyio.fail_after(60), pytest.raises(ClientDisconnect):
        await exchange.send(chunk(b"x" * BIG))
    assert exchange.gone is Gone.STALLED
    assert anyio.current_time() - before == pytest.approx(STALL, abs=0.1)
    await exchange.settle()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_so_is_a_short_one_where_a_wait_can_be_cancelled_without_a_scope(serve) -> None:
    server, exchange = serve()
    server.stall()
    with anyio.fail_after(60), pytest.raises(ClientDisconnect):
        await exchange.send(START)
    assert exchange.gone is Gone.STALLED


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("earlier", [0, 1])
@pytest.mark.parametrize("says_so", [True, False], ids=["as an OSError", "cancelled"])
async def test_giving_up_leaves_the_count_of_cancellations_as_it_was(
    serve, earlier: int, says_so: bool
) -> None:
    server, _ = serve()
    server.stall()

    async def send(message: Message) -> None:
        try:
            await server.send(message)
        except asyncio.CancelledError:
            if says_so:
                raise OSError("the connection was closed") from None
            raise

    async def request() -> int:
        task = asyncio.current_task()
        assert task is not None
        for _ in range(earlier):  # caught by the app, and still counted
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        exchange = Exchange(server.scope, server.receive, send)
        with pytest.raises(ClientDisconnect):
            await exchange.send(START)
        return task.cancelling()

    assert await asyncio.create_task(request()) == earlier


@pytest.mark.parametrize("headers", [[], LENGTH], ids=["", "with a body"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "one by one"])
async def test_a_server_that_gives_up_itself_is_left_to_it(serve, whole, headers) -> None:
    _, exchange = serve(headers=headers)
    exchange.scope["extensions"] = {SERVER_GIVES_UP: {}}
    begin = anyio.current_time()
    taken = []

    async def send(message) -> None:
        await anyio.sleep(2 * STALL)
        taken.append(message)

    exchange.server_send = send
    last = chunk(b"x" * PIECE)
    if whole:
        await exchange.send_whole(START, last)
    else:
        await exchange.send(START)
        await exchange.send(last)
    assert anyio.current_time() - begin == pytest.approx(4 * STALL)
    assert (exchange.gone, taken) == (None, [START, last])
    await exchange.settle()


async def test_what_such_a_server_gives_up_is_a_client_that_has_left(serve) -> None:
    _, exchange = serve()
    exchange.scope["extensions"] = {SERVER_GIVES_UP: {}}

    async def send(message) -> None:
        await anyio.sleep(3)
        raise ConnectionAbortedError("stalled")

    exchange.server_send = send
    with pytest.raises(ClientDisconnect):
        await exchange.send_whole(START, chunk(b"x" * BIG))
    assert exchange.gone is Gone.CLIENT_LEFT


async def test_a_slow_client_gets_a_long_body_in_pieces(serve) -> None:
    server, exchange = serve()
    body = bytes(range(256)) * 4000

    async def slow(message) -> None:
        await anyio.sleep(STALL - 1)
        await send(message)

    send, exchange.server_send = exchange.server_send, slow
    await exchange.send(START)
    await exchange.send({**chunk(body), "extra": 1})
    assert server.body == body
    assert [len(message["body"]) for message in server.sent[1:-1]] == [PIECE] * (len(body) // PIECE)
    assert [message["more_body"] for message in server.sent[1:]] == [True] * 15 + [False]
    assert exchange.finished


@pytest.mark.parametrize(
    ("headers", "extensions"),
    [([], {}), (LENGTH, {}), (LENGTH, {SERVER_GIVES_UP: {}})],
    ids=["", "with a body", "with a body, and a server that gives up itself"],
)
async def test_once_the_app_must_stop_it_is_given_up_after_a_second(
    serve, headers, extensions
) -> None:
    server, exchange = serve(headers=headers)
    server.scope["extensions"] = extensions
    exit_signal = ExitSignal()
    server.scope["app"] = SimpleNamespace(exit_signal=exit_signal)
    await exchange.send(START)
    server.stall()

    async def stop() -> None:
        await anyio.sleep(5)
        exit_signal.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop)
        before = anyio.current_time()
        with pytest.raises(ClientDisconnect):
            await exchange.send(chunk(b"x" * BIG))
    assert anyio.current_time() - before == pytest.approx(5 + LIMIT_AT_EXIT, abs=0.1)
    await exchange.settle()


@pytest.mark.parametrize(("anyio_backend", "how"), WAYS, indirect=["anyio_backend"])
async def test_a_cancellation_from_outside_passes_a_send_that_waits(how) -> None:
    async def scenario(state: SimpleNamespace) -> None:
        state.server = server = Server()
        exchange = Exchange(server.scope, server.receive, server.send)
        server.stall()

        async def read() -> None:
            await anyio.sleep(1)
            server.reading.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await exchange.send(START)
            await exchange.send(chunk(b"x" * BIG))

    def check(state: SimpleNamespace) -> None:
        state.server.close()

    assert await every_checkpoint(scenario, check, how=how) > 0


# A response that is known whole.


@pytest.mark.parametrize("headers", [[], LENGTH], ids=["", "with a body"])
@pytest.mark.parametrize("size", [0, 100, BIG])
async def test_a_whole_response_is_a_start_and_a_body(serve, size, headers) -> None:
    server, exchange = serve(headers=headers)
    exchange.on_start = lambda message: {**message, "status": 201}
    await exchange.send_whole(START, chunk(b"x" * size))
    assert server.sent[0] == {**START, "status": 201}
    assert server.body == b"x" * size
    assert exchange.finished
    await exchange.settle()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_small_one_shares_one_limit_of_time(serve) -> None:
    server, exchange = serve()

    async def slow(message) -> None:
        server.sent.append(message)
        await anyio.sleep(STALL - 1)

    exchange.server_send = slow
    before = anyio.current_time()
    with pytest.raises(ClientDisconnect):
        await exchange.send_whole(START, chunk(b"x"))
    assert anyio.current_time() - before == pytest.approx(STALL, abs=0.1)
    assert exchange.gone is Gone.STALLED
    assert server.types == ["start", "body"]


async def test_a_client_that_has_gone_is_told_of_a_whole_response_as_well(serve) -> None:
    _, exchange = serve()

    async def send(message) -> None:
        raise OSError("gone")

    exchange.server_send = send
    with pytest.raises(ClientDisconnect):
        await exchange.send_whole(START, chunk(b"x"))
    assert exchange.gone is Gone.CLIENT_LEFT
    assert exchange.started
    assert not exchange.finished


async def test_an_unread_body_does_not_block_a_whole_response(serve) -> None:
    server, exchange = serve(room=1, headers=LENGTH, says_so=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.upload, 100)
        await settled()
        with anyio.fail_after(5):
            await exchange.send_whole(START, chunk(b"x"))
            await exchange.settle()
        tasks.cancel_scope.cancel()
    assert exchange.finished


# An unread body.


class Knowing(ReceivesNowait):
    """A server that can tell what has come: `arrived`, and then `later`, for which a `receive` has to wait."""

    def __init__(self, arrived: list[Message], later: Server) -> None:
        self.arrived = arrived
        self.later = later
        self.waits = 0

    def receive_nowait(self) -> Message | None:
        return self.arrived.pop(0) if self.arrived else None

    async def receive(self) -> Message:
        message = self.receive_nowait()
        if message is not None:
            return message
        self.waits += 1
        return await self.later.receive()


@pytest.fixture
def knowing(serve):
    def knowing(*arrived: Message, version: str = "1.1") -> tuple[Knowing, Exchange]:
        server, _ = serve(headers=LENGTH, version=version)
        knows = Knowing(list(arrived), server)
        return knows, Exchange(server.scope, knows.receive, server.send)

    return knowing


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_what_has_come_of_an_unread_body_is_kept_and_no_one_waits_for_more(
    knowing, version
) -> None:
    server, exchange = knowing(body(b"a", True), body(b"b"), version=version)
    exchange.give_up_body()
    await exchange.send_whole(START, chunk(b"refused"))
    assert (exchange.finished, exchange.body_is_coming, server.waits) == (True, False, 0)
    assert not exchange.unsettled
    # A task that outlives the handler may still read it.
    assert [await exchange.next_chunk() for _ in range(3)] == [b"a", b"b", b""]


async def test_no_more_of_an_unread_body_is_kept_than_there_is_room_for(knowing) -> None:
    server, exchange = knowing(*[body(b"x" * 16 * 1024, True)] * 10)
    exchange.keep_arrived()
    assert len(server.arrived) == 6
    assert exchange.full


async def test_a_middleware_around_receive_is_not_passed_by(knowing) -> None:
    server, inner = knowing(body(b"a"))
    seen: list[Message] = []

    async def receive() -> Message:
        seen.append(await server.receive())
        return seen[-1]

    exchange = Exchange(inner.scope, receive, inner.server_send)
    exchange.keep_arrived()
    assert len(server.arrived) == 1
    assert await exchange.next_chunk() == b"a"
    assert seen == [body(b"a")]


async def test_a_server_that_knows_lets_nothing_be_lost_or_doubled(knowing) -> None:
    _, exchange = knowing(body(b"a", True), body(b"b"))
    assert await exchange.next_chunk() == b"a"
    exchange.keep_arrived()
    exchange.keep_arrived()
    assert [await exchange.next_chunk() for _ in range(2)] == [b"b", b""]


# A body that is kept.


async def test_several_tasks_keep_one_body(serve) -> None:
    server, exchange = serve(headers=LENGTH)
    kept: list[bytes] = []

    async def keep() -> None:
        await exchange.keep_body(100)
        kept.append(exchange.held.value())

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(keep)
        await settled()
        assert exchange.held.keepers == 3
        for message in body(b"a", True), body(b"b", True), body(b"c"):
            server.put(message)
            await settled()
    assert kept == [b"abc"] * 3
    assert (exchange.body_is_kept, exchange.held.keepers) == (True, 0)


async def test_a_task_that_is_cancelled_while_it_keeps_a_body_leaves_it_to_the_others(
    serve,
) -> None:
    server, exchange = serve(body(b"a", True), headers=LENGTH)
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(exchange.keep_body, 100)
            await settled()
            scope.cancel()
            await exchange.keep_body(100)
        server.put(body(b"b"))
    assert exchange.held.value() == b"ab"


async def test_no_more_is_kept_of_a_body_than_its_limit(serve) -> None:
    _, exchange = serve(body(b"abc", True), body(b"def", True), body(b"ghi"), headers=LENGTH)
    await exchange.keep_body(4)
    assert (exchange.held.value(), exchange.held.complete) == (b"abcdef", False)
    await exchange.keep_body(4)
    assert exchange.held.value() == b"abcdef"
    await exchange.keep_body(9)
    assert (exchange.held.value(), exchange.body_is_kept) == (b"abcdefghi", True)


async def test_a_client_that_leaves_is_told_to_all_that_keep_its_body(serve) -> None:
    server, exchange = serve(body(b"a", True), headers=LENGTH)
    left: list[str] = []

    async def keep() -> None:
        with pytest.raises(ClientDisconnect):
            await exchange.keep_body(100)
        left.append("left")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep)
        tasks.start_soon(keep)
        await settled()
        server.put(DISCONNECT)
    assert left == ["left"] * 2


@pytest.mark.parametrize("early", [(), (body(b"a", True),)], ids=["nothing-came", "a-part-came"])
async def test_a_body_that_a_task_is_keeping_is_not_handed_on_meanwhile(serve, early) -> None:
    server, exchange = serve(*early, headers=LENGTH)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(exchange.keep_body, 100)
        await settled()
        with pytest.raises(RuntimeError, match=r"another task is reading request\.body"):
            await exchange.receive()
        for message in (body(b"a", True), body(b"b"))[len(early) :]:
            server.put(message)
    assert exchange.held.value() == b"ab"
    assert await exchange.receive() == body(b"ab")


async def test_two_tasks_of_the_next_app_may_receive_what_was_kept_and_the_disconnect(
    serve,
) -> None:
    server, exchange = serve(body(b"a"), headers=LENGTH)
    await exchange.keep_body(100)
    received: list[Message] = []

    async def receive() -> None:
        received.append(await exchange.receive())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        tasks.start_soon(receive)
        await settled()
        assert received == [body(b"a")]
        server.put(DISCONNECT)
    assert received == [body(b"a"), DISCONNECT]


async def test_an_unread_body_does_not_block_the_last_send(serve) -> None:
    server, exchange = serve(room=3, says_so=True, headers=LENGTH)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.upload, 100)
        await settled()
        await exchange.send(START)
        await exchange.send(chunk(b"refused"))
        assert exchange.finished
        assert exchange.gone is None
        tasks.cancel_scope.cancel()


async def test_an_unread_body_of_http_2_does_not_block_it_either(serve) -> None:
    server, exchange = serve(room=3, says_so=True, version="2")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.upload, 100)
        await settled()
        await exchange.send(START)
        await exchange.send(chunk(b"refused"))
        assert exchange.finished
        tasks.cancel_scope.cancel()
    await exchange.settle()


ANSWER = [START, chunk(b"re", True), chunk(b"fused")]


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_no_send_of_a_response_whose_handler_has_returned_is_blocked_by_an_unread_body(
    serve, version, index
) -> None:
    server, exchange = serve(room=3, says_so=index, version=version, headers=LENGTH)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.upload, 100)
        await settled()
        exchange.give_up_body()
        with anyio.fail_after(1):
            for message in ANSWER:
                await exchange.send(message)
        tasks.cancel_scope.cancel()
    assert server.sent[:index] == ANSWER[:index]
    await exchange.settle()


async def test_what_was_discarded_is_an_error_for_a_later_reader_and_never_a_shorter_body(
    serve,
) -> None:
    server, exchange = serve(room=3, headers=LENGTH)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(server.upload, 8, whole=True))
        await settled()
        server.stall()
        exchange.give_up_body()
        tasks.start_soon(exchange.send, START)
        await settled()
        server.reading.set()
    with pytest.raises(RuntimeError, match="discarded"):
        await exchange.next_chunk()


@pytest.mark.parametrize("index", range(2))
async def test_what_an_app_sends_before_it_has_read_is_let_through_and_nothing_is_lost(
    serve, index
) -> None:
    server, exchange = serve(room=3, says_so=index, headers=LENGTH)
    async with anyio.create_task_group() as tasks:
        await server.upload(3)
        with anyio.fail_after(1):
            for message in ANSWER[:2]:
                await exchange.send(message)
        assert [await exchange.next_chunk() for _ in range(3)] == [b"x" * 1024] * 3
        tasks.cancel_scope.cancel()
    assert exchange.gone in (None, Gone.CLIENT_LEFT)
    await exchange.settle()


async def test_a_body_that_no_one_has_read_for_the_stall_time_no_longer_holds_a_send(serve) -> None:
    server, exchange = serve(room=3, says_so=0, headers=LENGTH)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.upload, 100, BUFFERED_BYTES)
        await settled()
        before = anyio.current_time()
        await exchange.send(START)
        assert STALL <= anyio.current_time() - before < STALL + 1
        tasks.cancel_scope.cancel()
    assert exchange.gone in (None, Gone.CLIENT_LEFT)
    await exchange.settle()


async def test_a_send_beside_a_body_that_was_read_in_part_is_given_up_after_the_stall_time(
    serve,
) -> None:
    server, exchange = serve(room=3, says_so=0, headers=LENGTH)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.upload, 100, BUFFERED_BYTES)
        await exchange.next_chunk()
        await settled()
        with pytest.raises(ClientDisconnect):
            await exchange.send(START)
        assert exchange.gone is Gone.STALLED
        tasks.cancel_scope.cancel()
    await exchange.settle()


async def test_what_the_last_send_raises_beside_the_drain_is_raised_as_itself(serve) -> None:
    server, _ = serve(headers=LENGTH)

    async def send(message) -> None:
        await anyio.lowlevel.checkpoint()
        raise LookupError

    exchange = Exchange(server.scope, server.receive, send)
    with pytest.raises(LookupError):
        await exchange.send(chunk(b"refused"))
    assert not exchange.finished


async def test_a_handler_that_fails_half_way_leaves_room_in_the_queue(serve) -> None:
    server, exchange = serve(room=3, headers=LENGTH)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.upload, 30)
        await settled()
        await exchange.send(START)
        await exchange.send(chunk(b"a", True))
        await exchange.settle()
        server.put(DISCONNECT)  # as hypercorn does; raises WouldBlock if there is no room
        tasks.cancel_scope.cancel()


async def test_settling_does_not_wait_for_a_client_that_sends_nothing(serve) -> None:
    _, exchange = serve(headers=LENGTH)
    await exchange.send(START)
    await exchange.settle()


async def test_settling_is_not_disturbed_by_a_cancelled_scope(serve) -> None:
    server, exchange = serve(room=3, headers=LENGTH)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.upload, 10)
        await settled()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await exchange.settle()
        server.put(DISCONNECT)
        tasks.cancel_scope.cancel()


# Cancellation at every checkpoint.


def upload_and_answer(state: SimpleNamespace) -> Server:
    state.server = Server(room=3, says_so=True, headers=LENGTH)
    return state.server


async def answer_an_upload(state: SimpleNamespace) -> None:
    server = upload_and_answer(state)
    exchange = Exchange(server.scope, server.receive, server.send)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.upload, 8)
            await anyio.lowlevel.checkpoint()
            state.first = await exchange.next_chunk()
            state.gone = await exchange.is_disconnected()
            await exchange.send(START)
            await exchange.send(chunk(b"a", True))
            await exchange.send(chunk(b"b"))
            tasks.cancel_scope.cancel()
    finally:
        await exchange.settle()


@pytest.mark.parametrize(("anyio_backend", "how"), WAYS, indirect=["anyio_backend"])
async def test_nothing_is_left_behind_wherever_an_exchange_is_cut(how) -> None:
    def check(state: SimpleNamespace) -> None:
        state.server.close()
        assert state.server.receiving == 0

    assert await every_checkpoint(answer_an_upload, check, how=how) > 4


async def test_a_read_that_is_cut_anywhere_takes_no_message() -> None:
    async def scenario(state: SimpleNamespace) -> None:
        state.server = server = Server(headers=LENGTH)
        state.exchange = exchange = Exchange(server.scope, server.receive, server.send)
        state.got = b""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(upload, server)
            await exchange.is_disconnected()
            while data := await exchange.next_chunk():
                state.got += data
                await exchange.is_disconnected()

    async def upload(server: Server) -> None:
        with anyio.CancelScope(shield=True):
            for i in range(10):
                server.put(body(b"%d" % i, i < 9))
                await anyio.lowlevel.checkpoint()

    async def check(state: SimpleNamespace) -> None:
        while data := await state.exchange.next_chunk():
            state.got += data
        assert state.got == b"0123456789"
        await state.exchange.settle()
        state.server.close()

    async def scenario_and_settle(state: SimpleNamespace) -> None:
        try:
            await scenario(state)
        finally:  # a task that is kept for the request is not one that was left behind
            pull = state.exchange._pull
            if pull is not None:
                pull.cancel()
                with anyio.CancelScope(shield=True):
                    await settled()
                state.exchange._failure = None

    assert await every_checkpoint(scenario_and_settle, check) > 4
