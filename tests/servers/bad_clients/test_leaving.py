"""A client that leaves while it is answered, or is waited for: closed, reset, or half closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.http1_client import Client

from .conftest import Site

Leave = Callable[[Client], None]

COMPLETE = ["plain", "thread", "big"]
STREAMS = ["async", "sync", "feed", "events", "quiet", "silent", "file"]
LEAVE = {"closes": Client.close, "resets": Client.reset, "half-closes": Client.half_close}


@pytest.fixture(params=LEAVE)
def leave(request: pytest.FixtureRequest) -> Leave:
    return LEAVE[request.param]


def all_is_well(site: Site, name: str) -> None:
    site.settled(name)
    site.nothing_is_logged()
    site.next_client_is_served()


@pytest.mark.parametrize("kind", COMPLETE)
def test_a_client_that_leaves_before_it_is_answered_leaves_nothing_behind(
    site: Site, name: str, kind: str, leave: Leave
) -> None:
    with Client(site.port) as client:
        client.ask("GET", f"/{kind}/{name}")
        site.tell("begun", name)
        leave(client)
        if leave is Client.half_close:
            client.read_to_the_end()
    assert site.settled(name)["ended"] == ["returned"]
    all_is_well(site, name)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_client_that_leaves_a_stream_ends_it(
    site: Site, name: str, kind: str, leave: Leave
) -> None:
    with Client(site.port) as client:
        client.ask("GET", f"/{kind}/{name}")
        if kind == "silent":
            site.tell("begun", name)
        else:
            assert client.read_some().status == 200
        leave(client)
        if leave is Client.half_close:
            client.read_to_the_end()
    assert site.settled(name)["ended"] == ["returned"]
    all_is_well(site, name)
