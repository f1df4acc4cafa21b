"""The reference's Hosts: which app answers for which Host."""

from __future__ import annotations

import pytest

from kui.asgi import Hosts, Kui, Mount
from kui.testing import AsyncTestClient, WebSocketDenied
from tests.support.telling_apps import Named, ask, tell

pytestmark = pytest.mark.anyio


def applications() -> Hosts:
    return Hosts(
        (r"static\.example\.com", Named("static_files")),
        (r"api\.example\.com", Named("api_app")),
        (r"(www\.)?example\.com", Named("default_app")),
        (r"localhost:8000", Named("local")),
        (r"\[::1\]", Named("six")),
    )


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("static.example.com", "static_files"),
        ("api.example.com", "api_app"),
        ("www.example.com", "default_app"),
        ("example.com", "default_app"),
        ("EXAMPLE.com", "default_app"),
        ("example.com:8443", "default_app"),
        ("localhost:8000", "local"),
        ("[::1]:8000", "six"),
    ],
)
async def test_the_app_is_chosen_by_the_name_whatever_its_case_and_port(
    host: str, name: str
) -> None:
    assert await ask(applications(), "/", headers=[(b"host", host.encode())]) == (200, name)


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "xexample.com",
        "example.com.evil",
        "localhost",
        "localhost:80",
        "",
        "[",
        "a@example.com",
    ],
)
async def test_another_host_is_not_found(host: str) -> None:
    assert (await ask(applications(), "/", headers=[(b"host", host.encode("latin-1"))]))[0] == 404


async def test_no_host_and_two_hosts_are_not_found() -> None:
    assert (await ask(applications(), "/", headers=[]))[0] == 404
    twice = [(b"host", b"example.com"), (b"host", b"api.example.com")]
    assert (await ask(applications(), "/", headers=twice))[0] == 404


async def test_the_first_expression_that_fits_counts() -> None:
    app = Hosts((r".*\.example\.com", Named("first")), (r"a\.example\.com", Named("second")))
    assert await ask(app, "/", headers=[(b"host", b"a.example.com")]) == (200, "first")


async def test_websockets_go_to_the_app_of_their_host() -> None:
    async with AsyncTestClient(Hosts(("testserver", tell))) as client:
        async with client.websocket("/x") as ws:
            assert '"path": "/x"' in await ws.receive()
        with pytest.raises(WebSocketDenied):
            async with client.websocket("/x", headers={"host": "other"}):
                pass


async def test_hosts_may_stand_behind_a_prefix() -> None:
    app = Kui(routes=[Mount("/m", Hosts(("testserver", tell)))])
    assert '"root_path": "/m"' in (await ask(app, "/m/x"))[1]


def test_search_tells_which_app_it_would_be() -> None:
    found = applications().search("api.example.com:80")
    assert isinstance(found, Named) and found.name == "api_app"
    assert applications().search("é") is None
