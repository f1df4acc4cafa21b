"""Real servers for tests.

`server(spec)` starts an app under hypercorn on trio, hypercorn on asyncio and uvicorn, one test
each; `kui_run(spec, *flags)` under `kui run` on trio and on asyncio; `launch(command)` starts any
command. Each ends with the test that started it; its output is shown if the test fails.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import pytest

from tests.support.certificates import certificate  # noqa: F401 - a fixture
from tests.support.process import ServerProcess, foreign, listening_socket


class Launch(Protocol):
    def __call__(self, command: Sequence[str], **more: object) -> ServerProcess: ...


class StartServer(Protocol):
    def __call__(
        self, spec: str, *, graceful_timeout: float = 1.0, **environment: str
    ) -> ServerProcess: ...


class KuiRun(Protocol):
    def __call__(self, spec: str, *flags: str, **more: str) -> ServerProcess: ...


@pytest.fixture
def launch() -> Iterator[Callable[..., ServerProcess]]:
    """Start a command: `launch(command, sock=listening_socket(), NAME="environment")`."""
    started: list[ServerProcess] = []

    def start(command: Sequence[str], **more: object) -> ServerProcess:
        process = ServerProcess(command, **more)  # type: ignore[arg-type] # passed on
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()
        print(f"--- {' '.join(process.command)}\n{process.log}")


@pytest.fixture(params=["hypercorn-trio", "hypercorn-asyncio", "uvicorn"])
def server_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(server_kind: str, launch: Launch) -> StartServer:
    """Start an app under each of the three: `server("tests.servers.apps:app").url`."""

    def start(spec: str, *, graceful_timeout: float = 1.0, **environment: str) -> ServerProcess:
        sock = listening_socket()
        return launch(foreign(server_kind, spec, sock, graceful_timeout), sock=sock, **environment)

    return start


@pytest.fixture(params=["trio", "asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kui_run(backend: str, launch: Launch) -> KuiRun:
    """Start an app under `kui run` on each loop, and wait until it listens, unless `url` is given."""

    def start(spec: str, *flags: str, **more: str) -> ServerProcess:
        bind = () if "--bind" in flags else ("--bind", "127.0.0.1:0")
        command = [sys.executable, "-m", "kui", "run", spec, "--backend", backend, *bind, *flags]
        return launch(command, **more)

    return start
