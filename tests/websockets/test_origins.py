"""Which pages may connect: their Origin is checked before accept."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kui.current import websocket
from kui.middlewares.origins import allow_origins
from tests.support.websocket_server import Server, session

pytestmark = pytest.mark.anyio


async def status(middleware: Any, *origins: str, host: str = "example.com") -> int:
    """What a page of these origins gets: 101, or the status of the refusal."""
    headers = [(b"host", host.encode()), *((b"origin", origin.encode()) for origin in origins)]
    server = Server("hypercorn", headers=headers)

    async def handler() -> None:
        await websocket.accept()

    async with session(server, middleware(handler)) as running:
        pass
    assert running.error is None
    return 101 if server.accepted else server.sent[0]["status"]


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://example.com", "example.com"),
        ("http://example.com:8000", "example.com:8000"),
        ("https://example.com", "Example.com:443"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
async def test_the_same_origin_may_connect(origin: str, host: str) -> None:
    assert await status(allow_origins(), origin, host=host) == 101
    assert await status(allow_origins(same_origin=False), origin, host=host) == 403


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.com",
        "https://example.com.evil.com",
        "https://evil.com/example.com",
        "https://example.com:8443",
        "https://user@example.com",
        "example.com",
        "null",
        "",
        "https://",
        "\xff",
    ],
)
async def test_others_get_403(origin: str) -> None:
    assert await status(allow_origins("https://friend.com"), origin) == 403


async def test_a_client_that_gives_two_origins_gets_403() -> None:
    friends = ("https://friend.com", "https://friend.com")
    assert await status(allow_origins("https://friend.com"), *friends) == 403


@pytest.mark.parametrize(
    "given",
    [
        "https://friend.com",
        "HTTPS://Friend.com:443",
        ["https://other.com", "https://friend.com"],
        re.compile(r"https://(\w+\.)?friend\.com"),
    ],
)
async def test_origins_are_given_as_texts_or_patterns(given: Any) -> None:
    assert await status(allow_origins(given), "https://friend.com") == 101
    assert await status(allow_origins(given), "https://friend.com.evil.com") == 403


async def test_a_client_without_an_origin_is_no_page_and_may_connect_by_default() -> None:
    assert await status(allow_origins()) == 101
    assert await status(allow_origins(without_origin=False)) == 403


@pytest.mark.parametrize("wrong", ["example.com", "https://example.com/", "*", "https://a b", ""])
def test_what_is_no_origin_is_refused_when_it_is_given(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        allow_origins(wrong)


def test_an_origin_is_text_or_a_pattern() -> None:
    with pytest.raises(TypeError, match="not 5"):
        allow_origins(5)  # type: ignore[arg-type]  # the mistake it is about
