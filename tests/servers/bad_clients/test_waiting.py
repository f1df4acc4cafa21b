"""A client that leaves a handler which waits: it is not cut in half, unless it asked for that."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.http1_client import Client

from .conftest import Site

Leave = Callable[[Client], None]

LEAVE = {"closes": Client.close, "resets": Client.reset, "half-closes": Client.half_close}


@pytest.fixture(params=LEAVE)
def leave(request: pytest.FixtureRequest) -> Leave:
    return LEAVE[request.param]


@pytest.fixture(params=["no body", "half a body"])
def ask(request: pytest.FixtureRequest) -> Callable[[Client, str], None]:
    def ask(client: Client, path: str) -> None:
        if request.param == "no body":
            client.ask("GET", path)
        else:
            client.ask("POST", path, "Content-Length: 1000", body=b"x" * 500)

    return ask


Ask = Callable[[Client, str], None]


@pytest.mark.parametrize("kind", ["waiting", "waiting-in-a-thread"])
def test_a_handler_is_not_cut_in_half(
    site: Site, name: str, kind: str, leave: Leave, ask: Ask
) -> None:
    with Client(site.port) as client:
        ask(client, f"/{kind}/{name}")
        site.tell("begun", name)
        leave(client)
        site.next_client_is_served()
        assert site.tell("release", name)["ended"] == []
        assert site.settled(name)["ended"] == ["returned"]
    site.nothing_is_logged()
    site.next_client_is_served()


def test_a_handler_that_looks_sees_it(site: Site, name: str, leave: Leave, ask: Ask) -> None:
    with Client(site.port) as client:
        ask(client, f"/polling/{name}")
        site.tell("begun", name)
        leave(client)
        record = site.settled(name)
    assert (record["events"], record["ended"]) == (["disconnected"], ["returned"])
    site.nothing_is_logged()
    site.next_client_is_served()


@pytest.mark.parametrize("kind", ["watched", "watched-block"])
def test_cancel_on_disconnect_ends_it_at_once(
    site: Site, name: str, kind: str, leave: Leave, ask: Ask
) -> None:
    with Client(site.port) as client:
        ask(client, f"/{kind}/{name}")
        site.tell("begun", name)
        leave(client)
        record = site.settled(name)
    assert (record["events"], record["ended"]) == (["cancelled"], ["returned"])
    site.nothing_is_logged()
    site.next_client_is_served()


def test_a_generator_at_work_in_a_thread_is_closed_when_it_comes_back(
    site: Site, name: str, leave: Leave
) -> None:
    with Client(site.port) as client:
        client.ask("GET", f"/busy-thread/{name}")
        assert client.read_some().status == 200
        site.tell("working", name)
        leave(client)
        record = site.tell("over", name)
        assert (record["opened"], record["closed"]) == (1, 0)
        site.tell("release", name)
        site.settled(name)
    site.nothing_is_logged()
    site.next_client_is_served()
