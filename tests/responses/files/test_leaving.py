"""A client that leaves, or stops reading, while a file is sent to it; all time here is virtual."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup
from baize.typing import Message

from kui.concurrency import Exchange, Gone
from kui.responses.file import FileResponse
from tests.support.clocks import anyio_backend  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio

Descriptors = Callable[[Path], int]


class Client:
    """Takes what it is sent until it stalls, and leaves when it is told to."""

    def __init__(self, *uploaded: Message, stalls_after: int = 3) -> None:
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "headers": [(b"transfer-encoding", b"chunked")] if uploaded else [],
        }
        self.uploaded = list(uploaded)
        self.stalls_after = stalls_after
        self.sent: list[Message] = []
        self.stalled = anyio.Event()
        self.left = anyio.Event()
        self.exchange = Exchange(self.scope, self.receive, self.send)

    async def receive(self) -> Message:
        await anyio.lowlevel.checkpoint()
        if self.uploaded:
            return self.uploaded.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        self.sent.append(message)
        if len(self.sent) == self.stalls_after:
            self.stalled.set()
            await anyio.sleep_forever()

    async def get(self, path: Path) -> None:
        response = FileResponse(path, chunk_size=100)
        try:
            await response(self.scope, self.exchange.receive, self.exchange.send)
        finally:
            await self.exchange.settle()


async def test_a_client_that_leaves_frees_a_send_that_would_wait_for_ever(
    path: Path, descriptors: Descriptors
) -> None:
    client = Client()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, path)
        await client.stalled.wait()
        assert descriptors(path) == 1
        client.left.set()
    assert client.exchange.gone is Gone.CLIENT_LEFT
    assert len(client.sent) == 3
    assert descriptors(path) == 0


async def test_a_client_that_leaves_between_two_chunks_gets_no_third(path: Path) -> None:
    client = Client(stalls_after=0)
    counted = anyio.Event()

    async def send(message: Message) -> None:
        client.sent.append(message)
        if len(client.sent) == 3:
            counted.set()
            await anyio.sleep(1)

    client.exchange = Exchange(client.scope, client.receive, send)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, path)
        await counted.wait()
        client.left.set()
    assert len(client.sent) == 3


async def test_that_a_client_leaves_is_seen_at_once_although_it_has_sent_an_unread_body(
    path: Path, descriptors: Descriptors
) -> None:
    upload: Message = {"type": "http.request", "body": b"x" * 65536, "more_body": True}
    client = Client(upload, upload)
    client.left.set()
    begun = anyio.current_time()
    with anyio.fail_after(60):
        await client.get(path)
    assert client.exchange.gone is Gone.CLIENT_LEFT
    assert anyio.current_time() - begun <= 1
    assert descriptors(path) == 0


async def test_a_client_that_only_reads_slowly_is_waited_for(path: Path, content: bytes) -> None:
    client = Client()

    async def send(message: Message) -> None:
        client.sent.append(message)
        await anyio.sleep(25)

    client.exchange = Exchange(client.scope, client.receive, send)
    await client.get(path)
    assert b"".join(message.get("body", b"") for message in client.sent) == content
    assert not client.sent[-1].get("more_body", False)


async def test_a_cancelled_request_is_gone(path: Path, descriptors: Descriptors) -> None:
    client = Client()

    async def cancel(tasks: TaskGroup) -> None:
        await client.stalled.wait()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, path)
        tasks.start_soon(cancel, tasks)
    assert client.exchange.gone is Gone.SERVER_CANCELLED
    assert descriptors(path) == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_response_that_is_sent_by_no_app_leaves_no_task_behind(path: Path) -> None:
    client = Client()
    before = asyncio.all_tasks()
    response = FileResponse(path, chunk_size=100)
    with anyio.move_on_after(1):
        await response(client.scope, client.receive, client.send)
    assert client.stalled.is_set()
    assert asyncio.all_tasks() == before


async def test_there_is_no_watch_while_the_last_message_is_sent(path: Path) -> None:
    """A server says that the client has left as soon as its answer is complete."""
    os.truncate(path, 150)
    client = Client(stalls_after=0)

    async def send(message: Message) -> None:
        client.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            client.left.set()
        await anyio.sleep(1)

    client.exchange = Exchange(client.scope, client.receive, send)
    await client.get(path)
    assert client.exchange.finished
    assert client.exchange.gone is None
