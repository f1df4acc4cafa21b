"""Channels over each store: `make` opens some, and every test of a promise runs on memory and on Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from kui.channels import Channels
from tests.support.redis_server import RedisServer, needs_redis

Make: TypeAlias = Callable[..., Channels]

_numbers = count()


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests that do not harm it; each has keys of its own."""
    if reason := needs_redis():
        pytest.skip(reason)
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may harm."""
    if reason := needs_redis():
        pytest.skip(reason)
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes channels that share nothing with other tests; those of one test share a store on Redis."""
    if request.param == "memory":
        return Channels
    server: RedisServer = request.getfixturevalue("redis")
    prefix = f"test{next(_numbers)}"

    def on_redis(**options: Any) -> Channels:
        return Channels(server.url, **{"prefix": prefix, **options})

    return on_redis
