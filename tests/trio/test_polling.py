"""Waiting until a socket can be read, on trio: what a wait promises, by an epoll of the server's own and without one."""

from __future__ import annotations

import select
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from kui.serving import readable_trio
from kui.serving.accepting import Accepting
from kui.serving.pipe_trio import Connections, TrioPipe, accept
from kui.serving.pipes import CHUNK
from kui.serving.readable_trio import Poller, Readable, TrioReadable
from kui.serving.state import ConnectionLimits, ServerState
from kui.serving.timing import Ticker

pytestmark = pytest.mark.trio

needs_epoll = pytest.mark.skipif(
    not hasattr(select, "epoll"), reason="epoll is Linux's; elsewhere trio is asked"
)
Watch = Callable[[socket.socket], Readable]


@pytest.fixture(
    params=[
        "trio",
        pytest.param("epoll, one of few", marks=needs_epoll),
        pytest.param("epoll, one of many", marks=needs_epoll),
    ]
)
async def watch(
    request: pytest.FixtureRequest, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Watch]:
    if request.param == "trio":
        yield TrioReadable
        return
    if "many" in request.param:
        monkeypatch.setattr(readable_trio, "FEW", 0)
    poller = Poller()
    nursery.start_soon(poller.run)
    yield poller.watch
    poller.stop()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


@pytest.fixture
def theirs(ends: tuple[socket.socket, socket.socket]) -> socket.socket:
    return ends[1]


@pytest.fixture
def pipe(ends: tuple[socket.socket, socket.socket], watch: Watch) -> Iterator[TrioPipe]:
    pipe = TrioPipe(ends[0], watch(ends[0]), Ticker(trio.current_time), 30)
    yield pipe
    pipe.close()


async def read(pipe: TrioPipe) -> bytes:
    with trio.fail_after(5):
        while (data := pipe.take()) is None:
            await pipe.wait()
    return data


async def test_bytes_that_came_before_the_wait_are_found(
    pipe: TrioPipe, theirs: socket.socket
) -> None:
    theirs.send(b"early")
    assert await read(pipe) == b"early"


async def test_each_time_that_bytes_come_a_wait_ends(pipe: TrioPipe, theirs: socket.socket) -> None:
    async def answer() -> None:
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked()
            theirs.send(b"x")

    async with trio.open_nursery() as group:
        group.start_soon(answer)
        for _ in range(3):
            assert await read(pipe) == b"x"
            assert pipe.take() is None


async def test_the_end_behind_bytes_is_found(pipe: TrioPipe, theirs: socket.socket) -> None:
    theirs.send(b"last")
    theirs.shutdown(socket.SHUT_WR)
    await trio.testing.wait_all_tasks_blocked()  # so that both are told of together
    assert await read(pipe) == b"last"
    with trio.fail_after(5):
        await pipe.wait()
    assert pipe.take() == b""


async def test_what_one_read_leaves_is_found_by_the_next(
    pipe: TrioPipe, theirs: socket.socket
) -> None:
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * CHUNK)
    sent = theirs.send(b"x" * (2 * CHUNK))
    assert sent > CHUNK
    got = 0
    while got < sent:
        got += len(await read(pipe))
    assert pipe.take() is None


async def test_a_wait_that_was_cancelled_loses_nothing(
    pipe: TrioPipe, theirs: socket.socket, autojump_clock: object
) -> None:
    with trio.move_on_after(1):
        await pipe.wait()
    theirs.send(b"later")
    assert await read(pipe) == b"later"


async def test_wake_ends_a_wait_and_only_that(pipe: TrioPipe, theirs: socket.socket) -> None:
    async with trio.open_nursery() as group:
        group.start_soon(pipe.wait)
        await trio.testing.wait_all_tasks_blocked()
        pipe.wake()
    assert pipe.take() is None
    theirs.send(b"still")
    assert await read(pipe) == b"still"


async def test_close_ends_a_wait(pipe: TrioPipe) -> None:
    async with trio.open_nursery() as group:
        group.start_soon(pipe.wait)
        await trio.testing.wait_all_tasks_blocked()
        pipe.close()
    with trio.fail_after(5):
        await pipe.wait()


@needs_epoll
async def test_a_socket_that_is_one_of_few_becomes_one_of_many(
    ends: tuple[socket.socket, socket.socket],
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readable_trio, "FEW", 1)
    poller = Poller()
    nursery.start_soon(poller.run)
    first = poller.watch(ends[0])
    for watched in (False, True, True):
        ends[1].send(b"x")
        with trio.fail_after(5):
            await first.wait()
        assert first.watched is watched
        assert ends[0].recv(9) == b"x"
        first.emptied()
        if not watched:
            second = poller.watch(ends[1])
    second.close()
    first.close()
    poller.stop()


@needs_epoll
async def test_to_close_again_does_nothing_to_a_socket_that_has_got_the_number(
    ends: tuple[socket.socket, socket.socket],
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readable_trio, "FEW", 0)
    poller = Poller()
    nursery.start_soon(poller.run)
    first = poller.watch(ends[0])
    first.close()
    second = poller.watch(ends[0])
    first.close()
    ends[1].send(b"x")
    with trio.fail_after(5):
        await second.wait()
    assert second.ready
    second.close()
    poller.stop()


@needs_epoll
async def test_what_cleans_up_after_a_cancellation_can_still_read(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readable_trio, "FEW", 0)
    poller = Poller()
    readable = poller.watch(ends[0])
    found = False

    async def clean_up() -> None:
        nonlocal found
        try:
            await trio.sleep_forever()
        finally:
            with trio.fail_after(5) as scope:
                scope.shield = True
                await readable.wait()
            found = readable.ready
            poller.stop()

    async with trio.open_nursery() as group:
        group.start_soon(poller.run)
        group.start_soon(clean_up)
        await trio.testing.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
        ends[1].send(b"x")
    assert found


@needs_epoll
async def test_what_epoll_has_refused_can_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readable_trio, "FEW", 0)
    poller = Poller()
    with (tmp_path / "file").open("wb") as file:  # as a socket beyond max_user_watches
        readable = poller.watch(file)  # type: ignore[arg-type]
        with pytest.raises(PermissionError):
            await readable.wait()
        readable.close()
    assert not poller.crowded


async def test_without_epoll_a_server_serves_all_the_same(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    monkeypatch.delattr(select, "epoll", raising=False)

    async def app(scope: object, receive: object, send: Callable[..., object]) -> None:
        await send({"type": "http.response.start", "status": 204})  # type: ignore[misc]
        await send({"type": "http.response.body"})  # type: ignore[misc]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        async with Connections(ServerState(app, ConnectionLimits())) as connections:
            nursery.start_soon(accept, listener, Accepting(), connections.start)
            client = await trio.open_tcp_stream(*listener.getsockname())
            async with client:
                for _ in range(2):
                    await client.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    with trio.fail_after(5):
                        assert (await client.receive_some()).startswith(b"HTTP/1.1 204")
            connections.cancel()
        nursery.cancel_scope.cancel()
