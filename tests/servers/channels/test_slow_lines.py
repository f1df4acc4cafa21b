"""Clients with a slow line among many others: they get all, or are told what they lose, and nobody else waits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import anyio
import httpx2
import pytest

from kui.channels.subscriptions import OVERFLOWS
from tests.servers.conftest import KuiRun
from tests.support.process import PATIENCE

from .clients import Client, EventClient, SocketClient
from .slow_line import SlowLine

COUNT = 200
TEXT = "x" * 4000
BEGINNING = 1000
"""Bytes that it lets through at first: the head, and the id from which its client goes on."""
GRANTED = 256
"""Bytes that a slow line lets through for each message: a sixteenth of it."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # of the clients: the server is another process, on both loops


def check_story(client: Client) -> None:
    """What is not among what the client saw is exactly what it was told to have lost."""
    numbers = client.seen[:-1]
    assert client.seen[-1] == "end" and numbers == sorted(set(numbers))
    told: list[int] = []
    for after, behind in client.missing:
        told += range(int(after.partition("-")[2]) + 1, int(behind.partition("-")[2]))
    assert told == [number + 1 for number in range(COUNT) if number not in numbers]


@pytest.mark.anyio
@pytest.mark.timeout(240)
async def test_slow_lines_cost_others_nothing_and_their_clients_are_told_what_they_lose(
    kui_run: KuiRun,
) -> None:
    server = kui_run("tests.servers.channels.app:app", REDIS="", BUFFER="16")
    server.find_url()
    others = [make(server.port) for make in (EventClient, SocketClient) for _ in range(100)]
    lines = [SlowLine(server.port) for _ in range(6)]
    async with anyio.create_task_group() as tasks:
        for line in lines:
            await tasks.start(line.run)
        all_kinds = itertools.product((EventClient, SocketClient), OVERFLOWS)
        slow = [make(line.port, kind) for line, (make, kind) in zip(lines, all_kinds, strict=True)]
        with anyio.fail_after(120):
            async with anyio.create_task_group() as slowly:
                for client in slow:
                    slowly.start_soon(client.run)
                async with anyio.create_task_group() as reading:
                    for client in others:
                        reading.start_soon(client.run)
                    await publish(server.url, [*others, *slow], lines)
                for client in others:
                    assert (client.seen, client.gaps) == ([*range(COUNT), "end"], [])
                for client in slow:
                    assert len(client.seen) < COUNT // 2, "others have waited for it"
                for line in lines:
                    line.open()
        tasks.cancel_scope.cancel()
    for client in slow:
        check_story(client)
        assert bool(client.missing) == (client.overflow == "drop_oldest")
        assert (client.connections > 1) == (client.overflow == "disconnect")
    assert server.stop() == 0


async def publish(url: str, clients: Sequence[Client], lines: Sequence[SlowLine]) -> None:
    """Publish all messages once each client is there; let something through the slow lines meanwhile."""
    for line in lines:
        line.grant(BEGINNING)
    for client in clients:
        await client.opened.wait()
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        for number in range(COUNT):
            await http.post("/publish/news", json={"n": number, "text": TEXT})
            for line in lines:
                line.grant(GRANTED)
        await http.post("/publish/news", json="end")
