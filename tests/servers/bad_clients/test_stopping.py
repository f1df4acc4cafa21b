"""The server is told to stop while streams are open: they end properly where it lets the app know, and leave nothing."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import kui
from tests.servers.conftest import KuiRun, Launch
from tests.support.http1_client import Client
from tests.support.process import (
    ServerProcess,
    listening_socket,
    reserved_port,
    until_it_listens,
)

from .conftest import APP

STREAMS = ["async", "sync", "feed", "events", "quiet"]
SIGNALS = [signal.SIGTERM, signal.SIGINT]
FRAMEWORK = str(Path(kui.__file__).parent)
"""What a traceback through Kui names, wherever the project is."""
LONG = "60"
"""Seconds of grace that no test waits for: what ends before has not been cancelled."""


@pytest.fixture
def environment(tmp_path: Path, big_file: Path) -> dict[str, str]:
    return {"TMPDIR": str(tmp_path), "BIG_FILE": str(big_file)}


def ask(server: ServerProcess, kind: str, *, receive_buffer: int | None = None) -> Client:
    """A client that reads the beginning of a stream."""
    client = Client(server.port, receive_buffer=receive_buffer)
    client.ask("GET", f"/{kind}/{kind}")
    client.read_some()
    return client


def streams_end_properly(server: ServerProcess, signum: signal.Signals) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(ask(server, kind)) for kind in STREAMS]
        server.send_signal(signum)
        assert [client.read_to_the_end().complete for client in clients] == [True] * len(STREAMS)
    server.wait()
    assert "app: shut down; 5 opened, 5 closed, 5 cleaned up" in server.log
    assert not re.search("Traceback|ERROR", server.log)


@pytest.mark.parametrize("signum", SIGNALS)
def test_under_kui_run_streams_end_with_a_proper_last_chunk(
    kui_run: KuiRun, environment: dict[str, str], signum: signal.Signals
) -> None:
    server = kui_run(APP, "--graceful-timeout", LONG, **environment)
    server.find_url()
    streams_end_properly(server, signum)
    assert server.wait() == 0


def test_under_kui_run_clients_that_stall_do_not_hold_the_exit_back(
    kui_run: KuiRun, environment: dict[str, str]
) -> None:
    server = kui_run(APP, "--graceful-timeout", "0.5", **environment)
    server.find_url()
    with ExitStack() as stack:
        for kind in ("async", "sync", "feed", "events", "file", "big"):
            stack.enter_context(ask(server, kind, receive_buffer=4096))
        reading = stack.enter_context(ask(server, "quiet"))
        server.send_signal()
        assert reading.read_to_the_end().complete
        assert server.wait() == 0
    assert "app: shut down; 5 opened, 5 closed, 5 cleaned up" in server.log
    assert not re.search("Traceback|ERROR", server.log)


# Servers that do not know Kui, as one starts them.


@pytest.fixture(params=["uvicorn", "hypercorn -w 0", "granian"])
def chained(
    request: pytest.FixtureRequest, launch: Launch, environment: dict[str, str]
) -> Iterator[ServerProcess]:
    """A server whose signal handler the app has chained."""
    module, _, flags = request.param.partition(" ")
    command = [sys.executable, "-m", module, APP, *flags.split()]
    if module == "granian":
        with reserved_port() as port:
            server = launch([*command, "--interface", "asgi", "--port", str(port)], **environment)
            server.url = f"http://127.0.0.1:{port}"
            server.find("Started worker-1")
            until_it_listens(port)
            yield server
        return
    sock = listening_socket()
    if module == "uvicorn":
        bind = ["--fd", str(sock.fileno())]
    else:
        bind = ["--bind", f"fd://{sock.fileno()}", "--graceful-timeout", LONG]
    yield launch([*command, *bind], sock=sock, **environment)


def test_under_other_servers_streams_end_with_a_proper_last_chunk_too(
    chained: ServerProcess,
) -> None:
    streams_end_properly(chained, signal.SIGTERM)


@pytest.mark.parametrize("worker", ["asyncio", "trio"])
def test_what_hypercorns_manager_cancels_leaves_nothing_behind(
    launch: Launch, environment: dict[str, str], worker: str
) -> None:
    sock = listening_socket()
    command = [sys.executable, "-m", "hypercorn", APP, "-w", "1", "-k", worker]
    flags = ["--bind", f"fd://{sock.fileno()}", "--graceful-timeout", "1"]
    server = launch([*command, *flags], sock=sock, **environment)
    with ExitStack() as stack:
        clients = [stack.enter_context(ask(server, kind)) for kind in STREAMS]
        server.send_signal()
        # From 3.12 on asyncio waits for open connections, which hypercorn does not close, whatever the app is.
        if worker == "trio" or sys.version_info < (3, 12):
            for client in clients:
                assert not client.read_to_the_end().complete
            server.wait()
    server.wait()
    assert "app: shut down; 5 opened, 5 closed, 5 cleaned up" in server.log
    # On asyncio hypercorn's own tasks complain of their cancellation.
    assert "ERROR" not in server.log and FRAMEWORK not in server.log
