"""Tests of WebSockets in process: on both loops with a virtual clock, and with a server like either kind."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from kui.testing import virtual_clock

# Real servers, for the tests that are about sockets.
from tests.servers.conftest import backend, kui_run, launch, server  # noqa: F401 - fixtures
from tests.servers.process import ServerProcess, foreign, listening_socket

from .fakes import Kind


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_clock(request.param)


@pytest.fixture(params=["hypercorn", "uvicorn"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Which server the fake one is like."""
    kind: Kind = request.param
    return kind


class Site:
    """A server with `tests/sockets/site.py`, as one test sees it: with its own part of the output."""

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


@pytest.fixture(scope="module", params=["hypercorn-trio", "hypercorn-asyncio", "uvicorn"])
def server_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def shared_server(server_kind: str) -> Iterator[ServerProcess]:
    """A server of each kind for all tests of a module, and ended with them."""
    spec = "tests.sockets.site:app"
    if server_kind.startswith("kui-run-"):
        backend = server_kind.removeprefix("kui-run-")
        command = [sys.executable, "-m", "kui", "run", spec, "--backend", backend]
        process = ServerProcess([*command, "--bind", "127.0.0.1:0"])
        process.find_url()
    else:
        sock = listening_socket()
        process = ServerProcess(foreign(server_kind, spec, sock, 1.0), sock=sock)
    yield process
    process.end()


@pytest.fixture
def site(shared_server: ServerProcess) -> Iterator[Site]:
    site = Site(shared_server, len(shared_server.log))
    yield site
    print(f"--- {site.log}")
