"""Servers of each kind with an app of WebSockets, and what they have printed in one test."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from tests.support.process import ServerProcess, foreign, get, listening_socket


class Site:
    """A server with `tests/servers/websockets/site.py`, as one test sees it: with its own part of the output."""

    def __init__(self, process: ServerProcess, begin: int = 0) -> None:
        self.process = process
        self.port = process.port
        self._begin = begin

    @property
    def log(self) -> str:
        """What the server has written in this test."""
        return self.process.log[self._begin :]

    def find(self, pattern: str) -> str:
        """Wait until the output has a match of a pattern; its first group, or all of it."""
        before = len(re.findall(pattern, self.process.log[: self._begin]))
        found = self.process.find(pattern, before + 1)[before]
        return found[1] if found.re.groups else found[0]

    def ending(self, path: str) -> str:
        """Wait until the handler of a path has ended; how."""
        return self.find(rf"<{re.escape(path)}: ([^;]+); \d+ left>")


SPEC = "tests.servers.websockets.site:app"


def start(kind: str) -> ServerProcess:
    """A server of this kind that serves the site."""
    if kind.startswith("kui-run-"):
        command = [sys.executable, "-m", "kui", "run", SPEC, "--backend", kind[len("kui-run-") :]]
        process = ServerProcess([*command, "--bind", "127.0.0.1:0"])
        process.find_url()
        return process
    sock = listening_socket()
    return ServerProcess(foreign(kind, SPEC, sock, 1.0), sock=sock)


@pytest.fixture(
    scope="module",
    params=[
        *("hypercorn-trio", "hypercorn-asyncio", "uvicorn"),
        *("kui-run-trio", "kui-run-asyncio", "kui-run-uvloop"),
    ],
)
def server_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def shared_server(server_kind: str) -> Iterator[ServerProcess]:
    """A server of each kind for all tests of a module, and ended with them."""
    process = start(server_kind)
    yield process
    process.end()


@pytest.fixture
def site(shared_server: ServerProcess) -> Iterator[Site]:
    """What a test sees of the server that it shares with others, once theirs is over."""
    idle = "<0 at work>"
    before = shared_server.log.count(idle)
    while get(shared_server.url).text != "0":
        pass
    site = Site(shared_server, shared_server.find(idle, before + 1)[before].end())
    yield site
    print(f"--- {site.log}")


@pytest.fixture
def own_server(server_kind: str) -> Iterator[ServerProcess]:
    """A server of each kind for one test."""
    process = start(server_kind)
    yield process
    process.end()
    print(f"--- {process.log}")
