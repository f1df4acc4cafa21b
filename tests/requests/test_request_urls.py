"""The URL of a request, the path to route on, the query; on servers that differ in root_path."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

import pytest
from baize.datastructures import URL, QueryParams
from baize.exceptions import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from kui.http.urls import (
    base_url,
    build_url,
    parse_pairs,
    parse_query,
    parse_referrer,
    percent_decode,
    route_path,
)


def scope(path: str = "/", **more: Any) -> dict[str, Any]:
    host = more.pop("host", b"example.com")
    return {
        "type": "http",
        "scheme": "https",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": b"",
        "headers": [] if host is None else [(b"accept", b"*/*"), (b"host", host)],
        "server": ("127.0.0.1", 8000),
        "root_path": "",
        **more,
    }


def hypercorn(root: str, sent: str) -> dict[str, Any]:
    """The scope as hypercorn makes it: root_path stands for itself."""
    return scope(unquote_to_bytes(sent).decode(), raw_path=sent.encode(), root_path=root)


def uvicorn(root: str, sent: str) -> dict[str, Any]:
    """The scope as uvicorn makes it: root_path in front of path and raw_path."""
    path = unquote_to_bytes(sent).decode()
    return scope(root + path, raw_path=root.encode() + sent.encode(), root_path=root)


def test_a_url_is_scheme_host_path_and_query() -> None:
    url = build_url(scope("/a/b", query_string=b"x=1"))
    assert isinstance(url, URL)
    assert str(url) == "https://example.com/a/b?x=1"
    assert (url.scheme, url.hostname, url.path, url.query) == (
        "https",
        "example.com",
        "/a/b",
        "x=1",
    )


def test_percent_encoding_stays_as_it_was_sent() -> None:
    sent = b"/a%2Fb/%3F%e9/%C3%A9;x=1,2"
    url = build_url(scope("/", raw_path=sent, query_string=b"q=%E9+%20&%c3"))
    assert str(url) == "https://example.com/a%2Fb/%3F%e9/%C3%A9;x=1,2?q=%E9+%20&%c3"


def test_what_is_illegal_is_escaped() -> None:
    url = build_url(
        scope("/", raw_path=b'/a b"<\xff>#c%zz%', query_string=b"q=\xff\xfe#[x]&a b%G1&?/")
    )
    assert url.path == "/a%20b%22%3C%FF%3E%23c%25zz%25"
    assert url.query == "q=%FF%FE%23%5Bx%5D&a%20b%25G1&?/"
    assert url.fragment == ""


def test_without_a_raw_path_the_path_is_quoted() -> None:
    assert build_url(scope("/a?b#c/é/100%", raw_path=None)).path == "/a%3Fb%23c/%C3%A9/100%25"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (b"example.com:8443", "https://example.com:8443"),
        (b"[::1]:8000", "https://[::1]:8000"),
        (b"[", "https://127.0.0.1:8000"),
        (b"a b", "https://127.0.0.1:8000"),
        (b"user@example.com", "https://127.0.0.1:8000"),
        (b"example.com:99999", "https://127.0.0.1:8000"),
        (b"[v1.a]", "https://127.0.0.1:8000"),
        (b"[V1.a]", "https://127.0.0.1:8000"),
        (b"\xff", "https://127.0.0.1:8000"),
        (b"", "https://127.0.0.1:8000"),
        (None, "https://127.0.0.1:8000"),
    ],
)
def test_a_host_that_is_none_gives_way_to_the_servers_address(
    host: bytes | None, origin: str
) -> None:
    assert str(build_url(scope("/x", host=host))) == f"{origin}/x"
    assert base_url(scope("/x", host=host)) == origin


@pytest.mark.parametrize(
    ("server", "origin"),
    [
        (("127.0.0.1", 443), "https://127.0.0.1"),
        (("::1", 8000), "https://[::1]:8000"),
        (("/run/kui.sock", None), ""),
        (None, ""),
    ],
)
def test_the_servers_address_may_be_of_any_kind(server: Any, origin: str) -> None:
    assert base_url(scope("/x", host=None, server=server)) == origin
    assert str(build_url(scope("/x", host=None, server=server))) == f"{origin}/x"


def test_a_path_of_two_slashes_never_becomes_a_host() -> None:
    url = build_url(scope("//evil.example/x", host=None, server=None))
    assert url.netloc == ""
    assert url.path == "//evil.example/x"
    assert build_url(scope("//evil.example/x")).netloc == "example.com"


def test_a_target_in_absolute_form_has_only_its_path_counted() -> None:
    absolute = scope("http://other.example/a?b", raw_path=b"http://other.example/a")
    assert str(build_url(absolute)) == "https://example.com/a"
    assert route_path(scope("http://other.example/a/b")) == "/a/b"
    assert route_path(scope("http://other.example")) == "/"


def test_the_asterisk_of_options_is_no_path() -> None:
    assert str(build_url(scope("*", raw_path=b"*"))) == "https://example.com"
    assert route_path(scope("*")) == "*"


@pytest.mark.parametrize("server", [hypercorn, uvicorn])
@pytest.mark.parametrize("sent", ["/", "/users", "/a%2Fb/%C3%A9", "/apiary", "/a//b/"])
@pytest.mark.parametrize("root", ["", "/api", "/v 1/ü"])
def test_behind_a_prefix_all_is_right_on_both_servers(server: Any, sent: str, root: str) -> None:
    if server is uvicorn and not root.isascii():
        root = "/v1.0"  # uvicorn takes nothing but ASCII there
    made = server(root, sent)
    assert route_path(made) == unquote_to_bytes(sent).decode()
    assert str(build_url(made)) == f"https://example.com{quote(root)}{sent}"
    assert base_url(made) == f"https://example.com{quote(root)}"


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/api", "/api", "/"),
        ("/api", "/api/", "/"),
        ("/api/", "/api/x", "/x"),
        ("/api", "/api/api/x", "/api/x"),
        ("/api", "/apiary", "/apiary"),
        ("/api", "/x", "/x"),
        ("/", "/x", "/x"),
    ],
)
def test_a_root_is_taken_away_at_the_border_of_a_segment(
    root: str, path: str, expected: str
) -> None:
    made = scope(path, root_path=root)
    assert route_path(made) == expected
    assert build_url(made).path in (path, root.rstrip("/") + path)


def test_a_scope_of_the_bare_minimum_will_do() -> None:
    bare = {"type": "http", "path": "/x", "headers": []}
    assert str(build_url(bare)) == "/x"
    assert route_path(bare) == "/x"
    assert base_url(bare) == ""


LEGAL = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")


@given(
    st.binary(max_size=60),
    st.binary(max_size=60),
    st.binary(max_size=30) | st.none(),
    st.text(max_size=20),
    st.text(max_size=10),
)
def test_every_request_has_a_legal_url(
    raw: bytes, query: bytes, host: bytes | None, path: str, root: str
) -> None:
    made = scope(
        path, raw_path=raw, query_string=query, host=host, root_path=root.encode().decode()
    )
    url = build_url(made)
    assert LEGAL.fullmatch(str(url))
    assert url.fragment == ""
    assert url.netloc in (host.decode("latin-1") if host else "", "127.0.0.1:8000")
    _ = url.port, url.hostname, url.replace(scheme="http")
    route_path(made)


@given(st.binary())
def test_percent_decoding_is_that_of_the_standard_library(data: bytes) -> None:
    assert percent_decode(data) == unquote_to_bytes(data)


@given(st.text("%=2345dDzZ\r\n_&+", max_size=40).map(str.encode))
def test_percent_decoding_knows_every_corner(data: bytes) -> None:
    assert percent_decode(data) == unquote_to_bytes(data)


PAIRS = st.lists(st.tuples(st.text(), st.text()), max_size=8)


@given(PAIRS)
def test_fields_that_were_encoded_are_read_back(pairs: list[tuple[str, str]]) -> None:
    pairs = [(n.encode("utf-8", "replace").decode(), v) for n, v in pairs]
    encoded = urlencode(pairs, errors="replace").encode()
    assert parse_pairs(encoded) == parse_qsl(encoded.decode(), keep_blank_values=True)


@given(st.binary())
def test_fields_are_read_as_the_standard_library_reads_them(data: bytes) -> None:
    in_ascii = re.sub("[^\0-\x7f]", lambda c: f"%{ord(c[0]):02x}", data.decode("latin-1"))
    assert parse_pairs(data) == parse_qsl(in_ascii, keep_blank_values=True)


def test_a_query_is_a_mapping_of_several_values() -> None:
    query = parse_query(b"a=1&b=x+y%20z&a=2&empty=&bare&&%C3%A9=\xc3\xa9")
    assert isinstance(query, QueryParams)
    assert query == QueryParams(
        [("a", "1"), ("b", "x y z"), ("a", "2"), ("empty", ""), ("bare", ""), ("é", "é")]
    )
    assert query["a"] == "2"
    assert query.getlist("a") == ["1", "2"]
    assert len(parse_query(b"")) == 0


def test_a_query_of_invalid_utf_8_has_replacement_characters() -> None:
    assert parse_query(b"a=%FF\xfe&b=%E9x").multi_items() == [("a", "��"), ("b", "�x")]


def test_ten_thousand_query_fields_are_right() -> None:
    query = parse_query(b"&".join(b"k%d=%d" % (n, n) for n in range(10_000)))
    assert len(query) == 10_000
    assert query["k9999"] == "9999"


def test_more_query_fields_than_allowed_are_400() -> None:
    with pytest.raises(HTTPException) as caught:
        parse_query(b"a&" * 10_000)
    assert caught.value.status_code == 400
    assert len(parse_query(b"a&b", max_fields=2)) == 2
    with pytest.raises(HTTPException):
        parse_query(b"a&b&c", max_fields=2)


@pytest.mark.parametrize(
    "text",
    [None, "", "http://[::1", "http://h:99999/", "http://h:port/", "no url", "a\x00b", "a\r\nb"],
)
def test_a_referrer_that_is_no_url_is_none(text: str | None) -> None:
    assert parse_referrer(text) is None


@pytest.mark.parametrize("text", ["https://example.com/a?b#c", "/relative", "about:blank"])
def test_a_referrer_may_be_absolute_or_partial(text: str) -> None:
    assert str(parse_referrer(text)) == text
