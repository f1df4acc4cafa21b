"""`site`: each server in turn, shared by all tests; `hasty`: one that waits for nothing; `own`: one to be ended."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.support.process import ServerProcess
from tests.support.wire import Wire

from .differences import find
from .servers import OURS, Site, chosen, start

PATIENCE = 10.0
SHORT = 1.0
"""Seconds, where it is known that the server does something else."""
numbers = itertools.count(1)


@pytest.fixture(scope="session", params=chosen())
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def listens(process: ServerProcess) -> bool:
    """True if the server answers: one that is about to end may still take a connection."""
    with suppress(OSError), closing(Wire(process.port, patience=PATIENCE).sock) as sock:
        sock.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return sock.recv(1) != b""
    return False


class Shared:
    """One server for many tests; another one, where a test has ended it."""

    def __init__(self, kind: str, *, hasty: bool) -> None:
        self._kind = kind
        self._hasty = hasty
        self._process: ServerProcess | None = None

    @property
    def process(self) -> ServerProcess:
        if self._process is None or not listens(self._process):
            self.end()
            self._process = start(self._kind, hasty=self._hasty)
        return self._process

    def end(self) -> None:
        if self._process is not None:
            self._process.end()


@pytest.fixture(scope="session")
def shared(kind: str) -> Iterator[Shared]:
    shared = Shared(kind, hasty=False)
    yield shared
    shared.end()


@pytest.fixture(scope="session")
def shared_hasty(kind: str) -> Iterator[Shared]:
    shared = Shared(kind, hasty=True)
    yield shared
    shared.end()


@pytest.fixture
def patience(request: pytest.FixtureRequest, kind: str) -> float:
    """How long a test waits. A known difference is expected, and has to be there still."""
    test = request.node
    known = find(kind, test.originalname, test.callspec.id)
    if known is None:
        return PATIENCE
    request.applymarker(pytest.mark.xfail(reason=known.reason, strict=known.always))
    return SHORT


def visit(process: ServerProcess, patience: float) -> Iterator[Site]:
    begin = len(process.log)
    yield Site(process, f"test-{next(numbers)}", patience)
    print(f"--- {process.log[begin:]}")


@pytest.fixture
def site(shared: Shared, kind: str, patience: float) -> Iterator[Site]:
    process = shared.process
    yield from visit(process, patience)
    assert kind not in OURS or listens(process), "the server has ended"


@pytest.fixture
def hasty(shared_hasty: Shared, patience: float) -> Iterator[Site]:
    yield from visit(shared_hasty.process, patience)


@pytest.fixture
def own(kind: str, patience: float) -> Iterator[Site]:
    process = start(kind)
    yield from visit(process, patience)
    process.end()
