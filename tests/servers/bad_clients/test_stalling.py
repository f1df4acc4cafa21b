"""A client that stops reading: it holds its own answer back, and no other."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.support.http1_client import Client

from .conftest import Site

ENDLESS = ["async", "sync", "feed", "events"]
LEAVE = {"closes": Client.close, "resets": Client.reset}
ENOUGH = 16 << 20
"""More bytes than all buffers between two sockets, and less than a generator makes in a second."""


@pytest.fixture
def stall_time(request: pytest.FixtureRequest) -> float:
    return 1.0 if "counts_as_gone" in request.node.name else 30.0


def stalled(site: Site, name: str, kind: str) -> Client:
    """A client that has asked, and has read nothing but the headers."""
    client = Client(site.port, receive_buffer=4096)
    client.ask("GET", f"/{kind}/{name}")
    assert client.read_head().status == 200
    return client


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
@pytest.mark.parametrize("kind", ENDLESS)
def test_a_stalled_client_holds_its_generator_back_until_it_leaves(
    site: Site, name: str, kind: str, leave: Callable[[Client], None]
) -> None:
    with stalled(site, name, kind) as client:
        held = site.tell("held", name)
        assert held["produced"] * 8192 < ENOUGH
        site.next_client_is_served()
        leave(client)
    assert site.settled(name)["ended"] == ["returned"]
    site.nothing_is_logged()
    site.next_client_is_served()


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
@pytest.mark.parametrize("kind", ["big", "file"])
def test_so_does_one_that_leaves_out_of_a_large_answer(
    site: Site, name: str, kind: str, leave: Callable[[Client], None]
) -> None:
    with stalled(site, name, kind) as client:
        site.next_client_is_served()
        leave(client)
    assert site.settled(name)["ended"] == ["returned"]
    site.nothing_is_logged()
    site.next_client_is_served()


@pytest.mark.parametrize("kind", ["big", "file"])
def test_a_client_that_goes_on_reading_gets_the_rest(site: Site, name: str, kind: str) -> None:
    with stalled(site, name, kind) as client:
        site.next_client_is_served()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        response = client.read_to_the_end()
    assert response.complete
    assert len(response.body) == 64 << 20
    assert site.settled(name)["ended"] == ["returned"]
    site.nothing_is_logged()


@pytest.mark.parametrize("kind", [*ENDLESS, "big", "file"])
def test_a_client_that_stays_and_reads_nothing_counts_as_gone(
    site: Site, server_kind: str, name: str, kind: str
) -> None:
    if server_kind == "hypercorn-trio":
        pytest.skip("hypercorn on trio shields its send: docs/servers.md says so")
    with stalled(site, name, kind) as client:
        record = site.tell("over", name)
        assert record["ended"] == ["returned"]
        assert record["opened"] == record["closed"] == record["finals"]
        client.reset()
    site.settled(name)
    site.next_client_is_served()
