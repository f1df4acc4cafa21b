"""Channels under `kui run`, in processes of their own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from tests.servers.conftest import Launch
from tests.support.process import (
    PATIENCE,
    ServerProcess,
    connect,
    get,
    listening_socket,
    read_until,
)
from tests.support.redis_server import RedisServer, needs_redis

from .clients import Client, EventClient, SocketClient

APP = "tests.servers.channels.app:app"


@pytest.fixture
def run_channels(launch: Launch) -> Callable[..., ServerProcess]:
    """Start the app under `kui run`, with these flags and this Redis."""

    def start(*flags: str, redis: str = "") -> ServerProcess:
        command = [sys.executable, "-m", "kui", "run", APP, "--bind", "127.0.0.1:0", *flags]
        return launch(command, REDIS=redis)

    return start


def test_channels_in_memory_are_refused_for_several_workers(
    run_channels: Callable[..., ServerProcess],
) -> None:
    server = run_channels("--workers", "2")
    assert server.wait() == 1
    assert server.log.count('use Channels("redis://..."), or --workers 1') == 1


def test_channels_in_memory_run_in_one_worker(run_channels: Callable[..., ServerProcess]) -> None:
    server = run_channels()
    assert get(server.find_url() + "/available").json() == {"available": True}
    assert server.stop() == 0


def test_channels_on_redis_run_in_several_workers(
    run_channels: Callable[..., ServerProcess], redis: RedisServer
) -> None:
    server = run_channels("--workers", "2", redis=redis.url)
    url = server.find_url()
    server.wait_until(lambda: get(url + "/available").json()["available"])
    assert server.stop() == 0


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize(("accept", "start"), [("text/event-stream", "200"), ("*/*", "503")])
def test_a_request_that_the_exit_cuts_off_is_told_when_to_come_back(
    run_channels: Callable[..., ServerProcess], backend: str, accept: str, start: str
) -> None:
    server = run_channels("--backend", backend, "--graceful-timeout", "0.2")
    server.find_url()
    with connect(server, "/never", f"Accept: {accept}") as client:
        server.find("app: waiting")
        server.send_signal()
        head, _, body = read_until(client).decode().partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {start} ")
    assert body.startswith("retry: " if start == "200" else "the server is stopping")


class Site:
    """Two servers of the same app: two workers on trio, and one on asyncio, and 200 clients of them."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis = redis
        self.sockets = [listening_socket(), listening_socket()]
        self.ports = [sock.getsockname()[1] for sock in self.sockets]
        self.servers = [self._start(0), self._start(1)]
        ports = [self.ports[number % 2] for number in range(100)]
        self.slow = EventClient(self.ports[0], delay=0.002)
        self.events = [EventClient(port) for port in ports]
        self.clients: list[Client] = [*self.events, *map(SocketClient, ports), self.slow]

    def _start(self, number: int) -> ServerProcess:
        sock = self.sockets[number].dup()
        flags = ("--backend", "trio", "--workers", "2") if number == 0 else ("--backend", "asyncio")
        bind = ("--bind", f"fd://{sock.fileno()}", "--graceful-timeout", "5")
        command = [sys.executable, "-m", "kui", "run", APP, *bind, *flags]
        return ServerProcess(command, sock=sock, REDIS=self.redis.url)

    def end(self) -> None:
        for server in self.servers:
            server.end()
            print(f"--- {' '.join(server.command)}\n{server.log}")
        for sock in self.sockets:
            sock.close()

    async def publish(self, data: Any, key: str) -> None:
        """Publish once, at either server, however often that must be tried."""
        number = 0
        async with httpx2.AsyncClient(timeout=PATIENCE) as http:
            while True:
                number += 1
                url = f"http://127.0.0.1:{self.ports[number % 2]}/publish/news?key={key}"
                try:
                    if (await http.post(url, json=data)).status_code == 200:
                        return
                except httpx2.HTTPError:
                    pass
                await anyio.sleep(0.02)

    async def tell(self, count: int, accidents: dict[int, Callable[[], object]]) -> None:
        """Publish the numbers up to `count`, with an accident before some of them, and then the end."""
        async with anyio.create_task_group() as tasks:
            for client in self.clients:
                tasks.start_soon(client.run)
            for client in self.clients:
                await client.opened.wait()
            for number in range(count):
                if number in accidents:
                    await anyio.to_thread.run_sync(accidents[number])
                await self.publish({"n": number, "text": "x" * 500}, str(number))
            await self.publish("end", "end")

    def kill_a_worker(self) -> None:
        pid = int(get(f"http://127.0.0.1:{self.ports[0]}/pid").text)
        os.kill(pid, signal.SIGKILL)

    def replace_a_server(self) -> None:
        """A deploy: the old one ends, the new one has the same address."""
        assert self.servers[1].stop() == 0
        print(self.servers[1].log)
        self.servers[1].end()
        self.servers[1] = self._start(1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # of the clients: what is tested runs in other processes, on both loops


@pytest.mark.anyio
@pytest.mark.timeout(240)
async def test_every_client_gets_every_message_whatever_is_killed(tmp_path: Path) -> None:
    if reason := needs_redis():
        pytest.skip(reason)
    with RedisServer(tmp_path, persistent=True) as redis:
        site = Site(redis)
        accidents = {
            20: site.kill_a_worker,
            40: redis.kill_connections,
            60: redis.restart,
            80: site.replace_a_server,
        }
        try:
            with anyio.fail_after(200):
                await site.tell(100, accidents)
        finally:
            site.end()
    expected = [*range(100), "end"]
    assert all(client.seen == expected for client in site.clients)
    assert not any(client.gaps for client in site.clients)
    assert all(client.statuses == {b"200"} for client in site.events)
    sent_away = {retry for client in site.events for retry in client.retries} - {3000}
    assert len(sent_away) > 10, "the clients of a server that ends come back at times of their own"


@pytest.mark.anyio
@pytest.mark.timeout(240)
async def test_what_redis_has_lost_is_told_to_every_client(tmp_path: Path) -> None:
    if reason := needs_redis():
        pytest.skip(reason)
    with RedisServer(tmp_path) as redis:
        site = Site(redis)
        try:
            with anyio.fail_after(200):
                await site.tell(40, {20: redis.restart})
        finally:
            site.end()
    for client in site.clients:
        assert client.gaps, "the loss was not told"
        told = client.gaps[-1]
        before, after = client.seen[:told], client.seen[told:]
        assert before == list(range(len(before)))
        assert after == [*range(20, 40), "end"]
