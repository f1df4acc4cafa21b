"""A generator whose own task group or timeout fires while Kui sends what it has yielded (PEP 789)."""

from __future__ import annotations

import re

import pytest

from tests.support.http1_client import Client

from .conftest import Site


@pytest.fixture(params=["a client that reads", "a client that stalls"])
def reads(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "a client that reads")


def cut(site: Site, name: str, kind: str, reads: bool) -> bytes:
    """Fire while the generator is suspended, and read what there is to read."""
    with Client(site.port, receive_buffer=4096) as client:
        client.ask("GET", f"/{kind}/{name}")
        if reads:
            client.read_some()
        else:
            site.tell("held", name)
        site.tell("release", name)
        response = client.read_to_the_end()
    assert response.status == 200
    assert not response.complete
    return bytes(response.body)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("own-group", "LookupError: the child has failed"),
        ("own-timeout", "TimeoutError"),
        ("own-scope", "ItemLost"),
    ],
)
def test_its_exception_arrives_as_itself_and_the_next_client_is_served(
    site: Site, name: str, kind: str, error: str, reads: bool
) -> None:
    body = cut(site, name, kind, reads)
    assert b"the end" not in body
    record = site.settled(name)
    assert record["ended"] == ["ExceptionGroup" if kind == "own-group" else error.split(":")[0]]
    assert len(re.findall(rf"^[ |]*(\w+\.)*{error}", site.news(), re.MULTILINE)) == 1
    assert site.news().count("ExceptionGroup:") == (kind == "own-group")
    site.next_client_is_served()


def test_a_generator_that_fails_half_way_cuts_the_body(site: Site, name: str) -> None:
    with Client(site.port) as client:
        client.ask("GET", f"/half-way/{name}")
        assert client.read_some().headers[b"transfer-encoding"] == b"chunked"
        site.tell("release", name)
        response = client.read_to_the_end()
    assert response.body == b"the beginning"
    assert not response.complete
    site.settled(name)
    assert site.news().count("LookupError: there is no more") == 1
    site.next_client_is_served()
