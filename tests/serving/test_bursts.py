"""Parts of a response that follow one another at once are held back, and let go when the app waits."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from baize.typing import Receive, Scope, Send

from kui.serving import pipe_asyncio, pipe_trio
from kui.serving.accepting import Accepting
from kui.serving.state import ConnectionLimits, ServerState

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(socket, "MSG_MORE"), reason="only Linux can hold parts back"),
]
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Wait = Callable[[], Awaitable[None]]


class Recording(socket.socket):
    """A socket that notes what is sent at once, what is held back, and when that is let go."""

    notes: list[str]

    def send(self, data: Any, flags: int = 0, /) -> int:
        sent = super().send(data, flags)
        self.notes.append("held" if flags & socket.MSG_MORE else "sent")
        return sent

    def setsockopt(self, *args: Any) -> None:
        if args[1] == socket.TCP_NODELAY and self.notes:
            self.notes.append("let go")
        super().setsockopt(*args)


Notes = list[str]


@pytest.fixture
def notes() -> Notes:
    return []


@asynccontextmanager
async def served(app: Any, loop: str, notes: Notes) -> AsyncIterator[socket.socket]:
    """A client of `app`; what its connection sends is noted."""
    pipes: Any = pipe_trio if loop == "trio" else pipe_asyncio
    state = ServerState(app, ConnectionLimits())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        client.setblocking(False)
        accepted, _ = listener.accept()
    recording = Recording(fileno=accepted.detach())
    recording.notes = notes
    Accepting().prepare(recording)
    with client:
        async with pipes.Connections(state) as connections:
            connections.start(recording)
            with anyio.fail_after(20):
                yield client
            connections.cancel()


async def read(client: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        await anyio.wait_readable(client)
        data += client.recv(10_000)
    return data


async def start(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def part(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def test_all_but_the_first_are_held_until_the_app_waits(loop: str, notes: Notes) -> None:
    waiting = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for body in (b"a", b"b", b"c"):
            await part(send, body)
        notes.append("waits")
        waiting.set()
        await anyio.sleep_forever()

    async with served(app, loop, notes) as client:
        client.send(GET)
        await waiting.wait()
        assert (await read(client, b"c\r\n")).endswith(b"1\r\nb\r\n1\r\nc\r\n")
        assert notes == ["sent", "held", "held", "waits", "let go"]


async def test_the_last_part_takes_along_what_was_held(loop: str, notes: Notes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"a")
        await part(send, b"b")
        await part(send, b"", more=False)

    async with served(app, loop, notes) as client:
        client.send(GET)
        await read(client, b"0\r\n\r\n")
        assert notes[:3] == ["sent", "held", "sent"]


async def test_a_long_burst_lets_other_tasks_run_and_is_held_all_the_same(
    loop: str, notes: Notes
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(40):
            await part(send, b"x")
        await part(send, b"", more=False)

    async with served(app, loop, notes) as client:
        client.send(GET)
        await read(client, b"0\r\n\r\n")
        assert notes[:41] == ["sent", *["held"] * 39, "sent"]


async def test_one_part_at_a_time_is_not_held(loop: str, notes: Notes) -> None:
    read_one = [anyio.Event() for _ in range(3)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for event in read_one:
            await part(send, b"x")
            await event.wait()
        await anyio.sleep_forever()

    async with served(app, loop, notes) as client:
        client.send(GET)
        for event in read_one:
            await read(client, b"x\r\n")
            event.set()
        assert set(notes) == {"sent"}


async def test_what_a_child_task_sends_is_not_held_for_long(loop: str, notes: Notes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        async with anyio.create_task_group() as group:
            group.start_soon(send_two, send)
            await anyio.sleep_forever()

    async def send_two(send: Send) -> None:
        await part(send, b"a")
        await part(send, b"b")
        await anyio.sleep_forever()

    async with served(app, loop, notes) as client:
        client.send(GET)
        await read(client, b"b\r\n")
        assert notes in (["sent", "sent"], ["sent", "held", "let go"])


async def test_a_response_that_breaks_off_loses_nothing_that_was_sent(
    loop: str, notes: Notes
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"a")
        await part(send, b"b")

    async with served(app, loop, notes) as client:
        client.send(GET)
        await read(client, b"b\r\n")
        assert notes == ["sent", "held", "let go"]
