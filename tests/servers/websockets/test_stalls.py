"""A client that stops reading, on real servers: how long its handler waits in a send."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kui.concurrency.websocket.held_sends import STALLED
from tests.servers.conftest import KuiRun
from tests.support.process import ServerProcess, foreign, listening_socket
from tests.support.websocket_client import Client

from .conftest import Site


@pytest.fixture(params=["uvicorn", "hypercorn-asyncio", "hypercorn-trio"])
def foreign_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(foreign_kind: str) -> Iterator[Site]:
    sock = listening_socket()
    spec = "tests.servers.websockets.stalling:app"
    process = ServerProcess(foreign(foreign_kind, spec, sock, 1.0), sock=sock)
    yield Site(process)
    process.end()
    print(f"--- {process.log}")


def test_a_reader_that_stalls_has_lost_its_handler_after_the_limit(site: Site) -> None:
    """hypercorn on trio shields its wait from the scopes around it; ours is within."""
    stalled = Client(site.port, "/push/100000", receive_buffer=4096)
    assert site.ending("/push/100000") == f"disconnect 1006 {STALLED}"
    with Client(site.port, "/echo") as other:
        other.send("still here")
        assert other.receive() == "still here"
    assert "Traceback" not in site.log
    stalled.reset()


def test_under_kui_run_only_the_limit_of_the_server_counts(kui_run: KuiRun) -> None:
    process = kui_run("tests.servers.websockets.stalling:app", "--stall-timeout", "3", STALL="0.01")
    process.find_url()
    site = Site(process)
    stalled = Client(site.port, "/push/100000", receive_buffer=4096)
    assert site.ending("/push/100000") == "disconnect 1006", (
        "the server has given no reason, Kui would"
    )
    assert "Traceback" not in site.log
    stalled.reset()
