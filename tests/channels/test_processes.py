"""Channels under `kui run`, in processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.servers.process import ServerProcess, get

from .redis_server import RedisServer

APP = "tests.channels.app:app"


@pytest.fixture
def kui_run() -> Iterator[Callable[..., ServerProcess]]:
    started: list[ServerProcess] = []

    def start(*flags: str, redis: str = "") -> ServerProcess:
        command = [sys.executable, "-m", "kui", "run", APP, "--bind", "127.0.0.1:0", *flags]
        process = ServerProcess(command, REDIS=redis)
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()
        print(f"--- {' '.join(process.command)}\n{process.log}")


def test_channels_in_memory_are_refused_for_several_workers(
    kui_run: Callable[..., ServerProcess],
) -> None:
    server = kui_run("--workers", "2")
    assert server.wait() == 1
    assert server.log.count('use Channels("redis://..."), or --workers 1') == 1


def test_channels_in_memory_run_in_one_worker(kui_run: Callable[..., ServerProcess]) -> None:
    server = kui_run()
    assert get(server.find_url() + "/available").json() == {"available": True}
    assert server.stop() == 0


def test_channels_on_redis_run_in_several_workers(
    kui_run: Callable[..., ServerProcess], redis: RedisServer
) -> None:
    server = kui_run("--workers", "2", redis=redis.url)
    url = server.find_url()
    server.wait_until(lambda: get(url + "/available").json()["available"])
    assert server.stop() == 0
