"""What an app does wrong never reaches the client as something right."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.support.wire import Cut, Wire

from .servers import Site


def refused(wire: Wire, path: str) -> bytes:
    """Ask, and get a 500 or a cut; everything that has come."""
    wire.ask(path)
    data = wire.until_closed()
    assert data == b"" or data.startswith((b"HTTP/1.1 500 ", b"HTTP/1.1 200 ")), data[:200]
    return data


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_body_longer_than_promised_is_not_sent_and_ends_the_connection(
    site: Site, pieces: int
) -> None:
    with site.connect() as wire:
        data = refused(wire, f"/promise/{site.name}?length=4&size=9&pieces={pieces}")
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500") or len(body) <= 4
        site.hears("refused")
        site.is_well()


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_body_shorter_than_promised_is_seen_to_be_cut(site: Site, pieces: int) -> None:
    with site.connect() as wire:
        wire.ask(f"/promise/{site.name}?length=10&size=9&pieces={pieces}")
        try:
            assert wire.response().status == 500
        except Cut:
            pass
        site.hears("refused")


@pytest.mark.parametrize("query", ["", "?fail=1"])
def test_a_response_that_ends_half_way_is_seen_to_be_cut(site: Site, query: str) -> None:
    with site.connect() as wire:
        wire.ask(f"/unfinished/x{query}")
        with pytest.raises(Cut) as cut:
            wire.response()
        assert b"0\r\n\r\n" not in cut.value.got
        site.is_well()


@pytest.mark.parametrize("path", ["/fails/x", "/fails/x?kind=group", "/silent/x", "/starts/x"])
def test_an_app_that_fails_before_it_has_sent_anything_is_a_500(site: Site, path: str) -> None:
    with site.connect() as wire:
        assert wire.get(path).status == 500
        site.is_well()


def test_a_system_exit_of_an_app_ends_its_request_and_nothing_else(site: Site) -> None:
    with site.connect() as other, site.connect() as wire:
        other.ask(f"/holds/{site.name}")
        site.hears("waits")
        wire.ask("/fails/x?kind=exit")
        data = wire.until_closed()
        assert data == b"" or data.startswith(b"HTTP/1.1 500 ")
        site.release()
        assert other.response().body == b"released"


BAD_HEADERS = {
    "line feed in a value": ("x-a", "1\nx-injected: 1"),
    "CRLF in a value": ("x-a", "1\r\nx-injected: 1"),
    "carriage return in a value": ("x-a", "1\rx-injected: 1"),
    "NUL in a value": ("x-a", "x-injected\0"),
    "CRLF in a name": ("x-a: 1\r\nx-injected", "1"),
    "space in a name": ("x-injected a", "1"),
    "colon in a name": ("x-injected:a", "1"),
    "empty name": ("", "x-injected"),
    "name outside ASCII": ("x-injected-\xfc", "1"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_header_that_is_none_never_leaves(site: Site, case: str) -> None:
    name, value = map(quote, BAD_HEADERS[case])
    with site.connect() as wire:
        wire.ask(f"/header/x?name={name}&value={value}", "Connection: close")
        data = wire.until_closed()
    assert b"x-injected" not in data
    assert data == b"" or data.startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("value", ["-1", "+5", "5, 5", "0x5", "5_0", "\xb2"])
def test_a_content_length_that_is_no_number_never_leaves(site: Site, value: str) -> None:
    with site.connect() as wire:
        wire.ask(f"/header/x?name=content-length&value={quote(value)}", "Connection: close")
        data = wire.until_closed()
    assert data == b"" or data.startswith(b"HTTP/1.1 500 ")


def test_the_app_has_no_say_in_the_transfer_encoding(site: Site) -> None:
    with site.connect() as wire:
        response = wire.get("/header/x?name=transfer-encoding&value=chunked")
        assert response.body == b"hello" or response.status == 500
