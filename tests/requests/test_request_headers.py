"""The headers of a request as a mapping without case."""

from __future__ import annotations

import baize.datastructures
import pytest

from kui.http.media import RequestHeaders

SENT = [
    (b"host", b"example.com"),
    (b"accept", b"text/html"),
    (b"x-name", "Zoë".encode("latin-1")),
]


def test_a_header_is_found_in_any_case() -> None:
    headers = RequestHeaders(SENT)
    assert headers["Host"] == headers["HOST"] == headers["host"] == "example.com"
    assert headers.get("ACCEPT") == "text/html"
    assert "hOst" in headers


def test_a_header_that_was_not_sent_is_missing() -> None:
    headers = RequestHeaders(SENT)
    assert headers.get("cookie") is None
    assert headers.get("cookie", "none") == "none"
    assert "cookie" not in headers
    assert "hé\ud800" not in headers
    assert 7 not in headers
    with pytest.raises(KeyError, match="Cookie"):
        headers["Cookie"]


def test_keys_are_in_lower_case_whatever_the_server_says() -> None:
    headers = RequestHeaders([(b"X-Name", b"a"), (b"HOST", b"b")])
    assert list(headers) == ["x-name", "host"]
    assert dict(headers.items()) == {"x-name": "a", "host": "b"}
    assert headers["x-name"] == "a"
    assert headers.getlist("X-NAME") == ["a"]


def test_values_are_latin_1() -> None:
    assert RequestHeaders(SENT)["x-name"] == "Zoë"
    assert RequestHeaders([(b"a", bytes(range(33, 256)))])["a"] == bytes(range(33, 256)).decode(
        "latin-1"
    )


def test_repeated_headers_are_joined() -> None:
    headers = RequestHeaders([(b"accept", b"a/b"), (b"x", b"1"), (b"Accept", b"c/d")])
    assert headers["accept"] == "a/b, c/d"
    assert len(headers) == 2
    assert headers.getlist("accept") == ["a/b", "c/d"]
    assert headers.getlist("none") == []
    assert headers.multi_items() == [("accept", "a/b"), ("x", "1"), ("accept", "c/d")]


def test_cookies_that_http_2_split_are_put_together_with_semicolons() -> None:
    headers = RequestHeaders([(b"cookie", b"a=1"), (b"cookie", b"b=2")])
    assert headers["cookie"] == "a=1; b=2"


def test_set_cookie_is_never_joined() -> None:
    headers = RequestHeaders([(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2, c")])
    assert headers["set-cookie"] == "b=2, c"
    assert headers.getlist("set-cookie") == ["a=1", "b=2, c"]


def test_any_iterable_of_pairs_will_do() -> None:
    headers = RequestHeaders(iter([(b"a", b"1"), (b"b", b"2")]))
    assert headers["a"] == "1"
    assert headers["b"] == "2"
    assert headers.getlist("a") == ["1"]
    lists = RequestHeaders([[b"a", b"1"]])  # type: ignore[list-item]  # granian sends lists
    assert lists["a"] == "1"


def test_headers_are_those_of_baize_and_compare_as_mappings() -> None:
    headers = RequestHeaders(SENT)
    assert isinstance(headers, baize.datastructures.Headers)
    assert headers == baize.datastructures.Headers(
        {"Host": "example.com", "Accept": "text/html", "X-Name": "Zoë"}
    )
    assert baize.datastructures.Headers(headers)["host"] == "example.com"
    assert RequestHeaders() == {}
    assert repr(RequestHeaders([(b"A", b"1")])) == "RequestHeaders([('a', '1')])"
