"""Urlencoded forms: what browsers send, and what they never would."""

from __future__ import annotations

import tracemalloc
from urllib.parse import urlencode

import pytest
from baize.exceptions import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from kui.forms import parse_urlencoded


@given(st.lists(st.tuples(st.text(), st.text()), max_size=10))
def test_what_was_encoded_is_read_back(fields: list[tuple[str, str]]) -> None:
    wanted = [
        (name.encode("utf-8", "replace").decode(), value.encode("utf-8", "replace").decode())
        for name, value in fields
    ]
    assert parse_urlencoded(urlencode(wanted).encode()) == wanted


def test_blank_values_are_kept_and_empty_fields_are_not() -> None:
    assert parse_urlencoded(b"a=&b&&=&c=1=2&") == [
        ("a", ""),
        ("b", ""),
        ("", ""),
        ("c", "1=2"),
    ]
    assert parse_urlencoded(b"") == []


def test_a_plus_is_a_space_and_an_encoded_plus_is_none() -> None:
    assert parse_urlencoded(b"a+b=c+%2B+d") == [("a b", "c + d")]


def test_bytes_that_do_not_fit_the_charset_are_replaced() -> None:
    assert parse_urlencoded(b"a=%ff&b=\xe9") == [("a", "�"), ("b", "�")]


@pytest.mark.parametrize(
    ("charset", "body"),
    [("iso-8859-1", b"a=%E9"), ("windows-1252", b"a=\xe9"), ("UTF-8", b"a=%C3%A9")],
)
def test_the_charset_of_the_content_type_is_honoured(charset: str, body: bytes) -> None:
    assert parse_urlencoded(body, charset=charset) == [("a", "é")]


@pytest.mark.parametrize("charset", ["klingon", "utf-16", ""])
def test_a_charset_that_cannot_be_used_is_400(charset: str) -> None:
    with pytest.raises(HTTPException) as caught:
        parse_urlencoded(b"a=1", charset=charset)
    assert caught.value.status_code == 400


def test_the_charset_field_means_nothing() -> None:
    body = b"_charset_=iso-8859-1&a=%C3%A9"
    assert parse_urlencoded(body) == [("_charset_", "iso-8859-1"), ("a", "é")]


def test_fields_are_counted_before_they_are_parsed() -> None:
    body = b"a&" * (8 * 2**20)
    tracemalloc.start()
    with pytest.raises(HTTPException) as caught:
        parse_urlencoded(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.status_code == 413
    assert peak < 100_000


def test_as_many_fields_as_the_limit_says() -> None:
    assert len(parse_urlencoded(b"a&" * 9 + b"a", max_fields=10)) == 10
    with pytest.raises(HTTPException):
        parse_urlencoded(b"a&" * 10 + b"a", max_fields=10)


@pytest.mark.parametrize("piece", [b"%41", b"%", b"%z", b"%4", b"+", b"%%\n", b"=", b"\xff"])
def test_16_mib_of_escapes_take_linear_time_and_bounded_memory(piece: bytes) -> None:
    body = b"a=" + piece * (16 * 2**20 // len(piece))
    tracemalloc.start()
    fields = parse_urlencoded(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(fields) == 1
    assert peak < 16 * len(body)
