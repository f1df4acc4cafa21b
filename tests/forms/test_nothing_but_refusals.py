"""Whatever a client sends, it gets an answer or a 4xx: nothing here raises anything but HTTPException."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from baize.exceptions import HTTPException
from hypothesis import example, given
from hypothesis import strategies as st

from kui.forms import parse_multipart, parse_urlencoded
from kui.http.dates import parse_date
from kui.http.json import decode_json, json_charset
from kui.http.media import (
    RequestHeaders,
    accepts,
    parse_accept,
    parse_content_length,
    parse_content_type,
    refuse_encoding,
)
from kui.http.urls import parse_query, parse_referrer
from kui.limits import Limits
from tests.support.form_bodies import (
    BOUNDARY,
    FORM,
    Chunks,
    Field,
    collect_form,
    cut,
    encode,
    finish,
)

# What a header may contain: any bytes, read as latin-1; and what makes parsers stumble.
HEADERS = st.text(st.characters(max_codepoint=255), max_size=60) | st.text(
    "\"\\;,=/*q.01 \tat\x00\xe9%-':+", max_size=60
)


def answered(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What it returns, or the refusal: a 4xx that has a sentence."""
    try:
        return function(*args, **kwargs)
    except HTTPException as error:
        assert 400 <= error.status_code < 500
        assert isinstance(error.content, str)
        assert error.content.endswith(".")
        assert "\n" not in error.content
        return error


@given(HEADERS, HEADERS)
def test_any_header(header: str, other: str) -> None:
    for media_type in parse_accept(header):
        assert 0.0 <= media_type.q <= 1.0
        assert str(media_type) == str(parse_accept(str(media_type))[0])
        media_type.match(other)
    assert accepts(parse_accept(header), other) in (True, False)
    content_type = parse_content_type(header)
    assert parse_content_type(str(content_type)) == content_type
    parse_date(header)
    parse_referrer(header)
    length = parse_content_length(header)
    assert length is None or length >= 0
    answered(refuse_encoding, header)
    answered(json_charset, header, other)
    answered(parse_multipart, Chunks([]), content_type)


@given(st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=5)), max_size=8), st.text())
def test_any_headers(raw: list[tuple[bytes, bytes]], name: str) -> None:
    headers = RequestHeaders(raw)
    assert len(headers) == len(set(headers)) <= len(raw)
    for key, value in headers.items():
        assert headers[key] == value
        assert headers.getlist(key)
    assert (name in headers) is (headers.get(name) is not None) is bool(headers.getlist(name))


@given(st.binary(max_size=100), HEADERS | st.sampled_from(["utf-8", "gbk", "shift_jis", "big5"]))
def test_any_urlencoded_body(body: bytes, charset: str) -> None:
    fields = answered(parse_urlencoded, body, max_fields=5, charset=charset)
    assert isinstance(fields, HTTPException) or len(fields) <= 5
    answered(parse_query, body, 5)


@given(st.binary(max_size=100), HEADERS)
def test_any_json_body(body: bytes, charset: str) -> None:
    answered(decode_json, body, charset)
    answered(decode_json, body)


LIMITS = Limits(body=60, parts=3, field_bytes=40, file_bytes=60, part_headers=200)
WHOLE = encode(
    Field("a", b"1", None, "text/plain; charset=latin-1"),
    Field("f", b"\r\n--x", "n"),
    Field("b", b""),
)
PIECES = st.sampled_from(
    [f"--{BOUNDARY}".encode(), b"--", b"\r\n", b"\r", b"\n", b": ", b'"', b";", b"\\", b"%22", b" ",
     b"Content-Disposition: form-data; ", b"name=", b"filename=", b"filename*=", b"a", b"\x00",
     b"Content-Length: ", b"1", b"Content-Type: text/plain; charset=", b"utf-16", b"\xff"]
)  # fmt: skip
BODIES = st.lists(PIECES | st.binary(max_size=4), max_size=40).map(b"".join)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A form with some places cut out, doubled or overwritten."""
    body = WHOLE
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(start + 20, len(body))))
        body = body[:start] + draw(PIECES | st.just(body[start:end] * 2)) + body[end:]
    return body


@given(BODIES | damaged(), st.lists(st.integers(1, 50), min_size=1, max_size=4))
@example(WHOLE, [1])
def test_any_multipart_body(body: bytes, sizes: list[int]) -> None:
    def read(*sizes: int) -> Any:
        async def collect() -> list[Any]:
            form = await collect_form(cut(body, *sizes), FORM, LIMITS)
            try:
                return [
                    (name, value if isinstance(value, str) else value.read())
                    for name, value in form.multi_items()
                ]
            finally:
                form.close()

        return answered(finish, collect())

    # What is found in a malformed body depends on the pieces it comes in (docs/dependencies.md); that
    # nothing but a refusal is raised does not. A well-formed one is the same in any pieces: test_multipart.
    in_pieces, whole = read(*sizes), read(len(body) + 1)
    if body == WHOLE:
        assert in_pieces == whole


@given(BODIES | damaged())
def test_any_multipart_body_part_by_part(body: bytes) -> None:
    async def read() -> None:
        async for part in parse_multipart(cut(body, 7), FORM, LIMITS):
            assert part.filename is None or not set(part.filename) & set("/\\\r\n\0")
            if part.name != "a":
                await part.text()

    answered(finish, read())


@pytest.mark.parametrize("size", range(len(WHOLE) - 2))  # the last line break may be missing
def test_a_form_that_breaks_off_anywhere(size: int) -> None:
    error = answered(finish, collect_form(cut(WHOLE[:size], 10), FORM))
    assert error.status_code == 400
