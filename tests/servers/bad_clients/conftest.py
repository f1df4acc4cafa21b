"""Servers for clients that misbehave: one process of each kind for all tests, as long as it keeps its books in order."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.http1_client import Client, Response
from tests.support.process import ServerProcess, foreign, listening_socket

APP = "tests.servers.bad_clients.site:app"
SERVERS = [
    *("hypercorn-trio", "hypercorn-asyncio", "uvicorn"),
    *("kui-trio", "kui-asyncio", "kui-uvloop"),
]

_NOISE = re.compile(r"socket\.send\(\) raised exception\.\n")
"""What asyncio says of hypercorn 0.18, which goes on writing on a connection that was just lost."""
_MARK = re.compile(r"mark \d+\n")


class Site:
    """A server with the app of `site.py`, and a connection on which it tells what it knows."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.port = process.port
        self.names = (str(number) for number in itertools.count(1))
        self.in_order = True
        self.log_from = 0

    def get(self, path: str) -> Response:
        """Ask like a client that behaves, and close the connection."""
        with Client(self.port) as client:
            client.ask("GET", path, "Connection: close")
            return client.read_to_the_end()

    def tell(self, what: str, name: str = "0") -> dict[str, Any]:
        """Ask the books, or tell them something; what they say."""
        response = self.get(f"/_{what}?name={name}")
        assert response.complete, (what, response)
        answer: dict[str, Any] = json.loads(response.body)
        return answer

    def warm_up(self) -> None:
        """Have it load and open once what it loads and opens once; what it holds then is the baseline."""
        for path in ("plain", "thread", "file", "sync", "events"):
            name = f"warm-{path}"
            with Client(self.port) as client:
                client.ask("GET", f"/{path}/{name}")
                client.read_some()
            self.tell("over", name)
        self.tell("baseline")
        self.in_order = True

    def news(self) -> str:
        """What the server has logged since the test began, up to this moment."""
        mark = self.tell("mark", next(self.names))["mark"]
        self.process.find(re.escape(mark))
        return _MARK.sub("", self.process.log[self.log_from :])

    def is_in_order(self) -> bool:
        """Does it hold no more than when it began?"""
        try:
            return self.tell("quiet")["left"] == {}
        except (OSError, AssertionError):
            return False

    def next_client_is_served(self) -> None:
        """Whatever one client did, the next one gets its answer."""
        response = self.get("/plain/next")
        assert (response.status, response.body, response.complete) == (200, b"hello", True)

    def settled(self, name: str) -> dict[str, Any]:
        """Wait until a request is over and nothing is left of it, and see that it is so; its record."""
        record = self.tell("settled", name)
        assert record["left"] == {}, record
        return self._checked(record)

    def over(self, name: str) -> dict[str, Any]:
        """Wait until a request is over, on a connection that goes on; its record."""
        return self._checked(self.tell("over", name))

    @staticmethod
    def _checked(record: dict[str, Any]) -> dict[str, Any]:
        assert len(record["ended"]) == 1, record
        assert record["opened"] == record["closed"] == record["finals"] <= 1, record
        assert record["background"] == (1 if record["begun"] else 0), record
        return record

    def nothing_is_logged(self) -> None:
        """Nothing but what a server says to itself."""
        assert _NOISE.sub("", self.news()) == ""


def command(
    kind: str, sock: socket.socket, graceful_timeout: float, stall_time: float = 30.0
) -> list[str]:
    """The command that serves the app on a listening socket."""
    name, _, backend = kind.partition("-")
    if name != "kui":
        return foreign(kind, APP, sock, graceful_timeout)
    bind = f"fd://{sock.fileno()}"
    flags = ["--backend", backend, "--bind", bind, "--graceful-timeout", str(graceful_timeout)]
    stall = ["--stall-timeout", str(stall_time)]
    return [sys.executable, "-m", "kui", "run", APP, *flags, *stall]


StartSite = Callable[..., Site]


@pytest.fixture(scope="session")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that no socket's buffers hold, and no disk has to."""
    path = tmp_path_factory.mktemp("served") / "big.bin"
    with path.open("wb") as sparse:
        sparse.truncate(64 << 20)
    return path


@pytest.fixture(scope="session")
def sites(
    tmp_path_factory: pytest.TempPathFactory, big_file: Path
) -> Iterator[Callable[..., Site]]:
    """Get the site of a kind; a new one, if a test has left the last one in disorder."""
    running: dict[str, Site] = {}

    def get(kind: str, stall_time: float = 1.0) -> Site:
        key = f"{kind}-{stall_time:g}"
        site = running.get(key)
        if site is None or not site.in_order or site.process.process.poll() is not None:
            if site is not None:
                site.process.end()
            directory = tmp_path_factory.mktemp(key)
            sock = listening_socket()
            more = {
                "TMPDIR": str(directory),
                "BIG_FILE": str(big_file),
                "KEEP_ALIVE": "0.5",
                "STALL_TIME": str(stall_time),
            }
            process = ServerProcess(command(kind, sock, 1.0, stall_time), sock=sock, **more)
            site = running[key] = Site(process)
            site.warm_up()
        return site

    yield get
    for site in running.values():
        site.process.end()


@pytest.fixture(params=SERVERS)
def server_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stall_time() -> float:
    """Seconds without progress after which a client of the site counts as gone."""
    return 1.0


@pytest.fixture
def site(server_kind: str, stall_time: float, sites: Callable[..., Site]) -> Iterator[Site]:
    """A running site, for one test."""
    site = sites(server_kind, stall_time)
    site.news()
    site.log_from = len(site.process.log)
    site.in_order = False
    yield site
    print(f"--- {server_kind}\n{site.process.log[site.log_from :]}")
    site.in_order = site.process.process.poll() is None and site.is_in_order()


@pytest.fixture
def name(site: Site) -> str:
    """What a test calls its request; a name of its own."""
    return f"{os.getpid()}-{next(site.names)}"
