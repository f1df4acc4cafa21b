"""Which Host headers are valid, and which are allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kui.http.hosts import AllowedHosts, split_host, valid_host


@pytest.mark.parametrize(
    "host",
    [
        b"example.com",
        b"EXAMPLE.com:8000",
        b"example.com:",
        b"example.com.",
        b"a_b",
        b"xn--bcher-kva.example",
        b"b%C3%BCcher.example",
        b"127.0.0.1:65535",
        b"[::1]",
        b"[2001:db8::7]:443",
        b"[::ffff:192.0.2.1]",
        b"[v7.a:b]",
        b"h" * 255,
    ],
)
def test_what_rfc_3986_calls_a_host_is_valid(host: bytes) -> None:
    assert valid_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b":80",
        b"[",
        b"[]",
        b"[::1",
        b"::1",
        b"[1::2::3]",
        b"[::1%25eth0]",
        b"[::12345]",
        b"exam ple.com",
        b"example.com ",
        b"example.com\n",
        b"example.com\x00",
        b"example.com/path",
        b"example.com?q",
        b"example.com#f",
        b"user@example.com",
        b"example.com:80:80",
        b"example.com:http",
        b"example.com:-1",
        b"example.com:65536",
        b"example.com:" + b"9" * 5000,
        b"b\xc3\xbccher.example",
        b"100%",
        b"%2",
        b"\\",
        b"<script>",
        b'"',
        b"h" * 256,
    ],
)
def test_everything_else_is_not(host: bytes) -> None:
    assert not valid_host(host)


def test_a_host_is_split_into_a_lower_case_name_and_a_port() -> None:
    assert split_host(b"Example.COM:80") == ("example.com", 80)
    assert split_host(b"[2001:DB8::1]") == ("[2001:db8::1]", None)
    assert split_host(b"example.com:") == ("example.com", None)


@given(st.binary(max_size=40))
def test_any_bytes_get_an_answer_and_no_exception(host: bytes) -> None:
    assert valid_host(host) == (split_host(host) is not None)
    assert AllowedHosts(["*.example.com"]).allows(host) in (False, b".example.com" in host.lower())


@pytest.mark.parametrize(
    ("pattern", "host", "allowed"),
    [
        ("example.com", b"example.com", True),
        ("example.com", b"EXAMPLE.com:8000", True),
        ("EXAMPLE.com", b"example.com", True),
        ("example.com", b"example.com.", True),
        ("example.com.", b"example.com", True),
        ("example.com", b".", False),
        ("example.com", b"www.example.com", False),
        ("example.com", b"example.com.evil.test", False),
        ("*.example.com", b"www.example.com", True),
        ("*.example.com", b"a.b.example.com:1", True),
        ("*.example.com", b"example.com", False),
        ("*.example.com", b"evilexample.com", False),
        ("*.example.com", b".example.com", False),
        ("[::1]", b"[::1]:8000", True),
        ("[::1]", b"[::2]", False),
        ("127.0.0.1", b"127.0.0.1:8000", True),
        ("*", b"whatever.test", True),
        ("*", b"[", False),
    ],
)
def test_a_pattern_is_compared_without_port_and_case(
    pattern: str, host: bytes, allowed: bool
) -> None:
    assert AllowedHosts([pattern]).allows(host) is allowed


def test_no_pattern_allows_no_host() -> None:
    assert not AllowedHosts([]).allows(b"example.com")


def test_without_a_list_every_valid_host_is_allowed() -> None:
    assert AllowedHosts().allows(b"example.com")
    assert not AllowedHosts().allows(b"exam ple.com")


@pytest.mark.parametrize(
    "pattern",
    ["http://example.com", "example.com:80", "a.*.b", "*example.com", "", "*.", "[::1]:80", "ü.de"],
)
def test_a_pattern_that_could_never_match_is_refused_in_words(pattern: str) -> None:
    with pytest.raises(ValueError, match="without scheme and port"):
        AllowedHosts([pattern])


def test_a_single_string_is_no_list() -> None:
    with pytest.raises(TypeError, match=r"\['example.com'\]"):
        AllowedHosts("example.com")
