"""JSON bodies: what is JSON is decoded, everything else is the client's mistake."""

from __future__ import annotations

import codecs
import json
import subprocess
import sys
from typing import Any, NoReturn

import pytest
from baize.exceptions import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from kui.http.json import decode_json, json_charset


def refusal(body: bytes, charset: str | None = None) -> HTTPException[Any]:
    with pytest.raises(HTTPException) as caught:
        decode_json(body, charset)
    return caught.value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
)


@st.composite
def nearly_json(draw: st.DrawFn) -> bytes:
    """A JSON text with a few bytes in the place of others."""
    text = json.dumps(draw(JSON), ensure_ascii=draw(st.booleans())).encode()
    begin = draw(st.integers(0, len(text)))
    end = draw(st.integers(begin, min(begin + 3, len(text))))
    between = st.binary(max_size=3) | st.sampled_from(
        [b"\\ud800", b"NaN", b"1e400", b"\xed\xa0\x80"]
    )
    return text[:begin] + draw(between) + text[end:]


def outcome(body: bytes) -> str:
    try:
        return repr(decode_json(body))
    except HTTPException as error:
        return f"{error.status_code} {error.content}"


def outcome_of_the_standard_library(body: bytes) -> str:
    def refuse(body: bytes) -> NoReturn:
        raise LookupError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kui.http.json._quick", lambda: (refuse, (LookupError,)))
        return outcome(body)


@given(nearly_json() | st.binary(max_size=8) | st.builds(str.encode, NUMBERS | st.text()))
def test_the_quick_codec_says_what_the_standard_library_says(body: bytes) -> None:
    assert outcome(body) == outcome_of_the_standard_library(body)


@pytest.mark.parametrize(
    "body",
    [
        b"18446744073709551616", b"19446744073709551617", b"19933688932870350000",  # 65 bits
        b"19999999999999999999", b"-9223372036854775809", b"9" * 4300, b"9" * 4301,
        b"1e308", b"1e309", b"-1e309", b"1" * 309 + b".0", b"1" * 310 + b".0", b"-0", b"-0.0",
        b"2.2250738585072011e-308", b"9007199254740993.0", b"1e-400", b"0." + b"1" * 800,
        b'{"a":1,"a":2}', b'"\\ud800"', b'{"\\udfff":0}', b'"\\ud83d\\ude00"', b'"\xed\xa0\x80"',
        b'"\x00"', b'"\x7f"', b"\xc2\xa01", b"\xef\xbb\xbf1", b"1\x00", b"[1,]", b"NaN", b"[" * 100_000,
        b"[" * 200 + b"]" * 200,
    ],
)  # fmt: skip
def test_the_corners_of_json_are_those_of_the_standard_library(body: bytes) -> None:
    assert outcome(body) == outcome_of_the_standard_library(body)


@given(JSON, st.booleans())
def test_what_was_encoded_is_decoded(value: Any, ascii_only: bool) -> None:
    assert decode_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(JSON, st.sampled_from(["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32",
                              "utf-32-le", "utf-32-be"]))  # fmt: skip
def test_the_other_encodings_of_unicode_are_recognised(value: Any, codec: str) -> None:
    assert decode_json(json.dumps(value).encode(codec)) == value


def test_big_endian_byte_order_marks_are_recognised() -> None:
    assert decode_json(codecs.BOM_UTF16_BE + "[1]".encode("utf-16-be")) == [1]
    assert decode_json(codecs.BOM_UTF32_BE + "[1]".encode("utf-32-be")) == [1]


def test_a_charset_that_is_named_is_used() -> None:
    assert decode_json('"é"'.encode("latin-1"), "ISO-8859-1") == "é"
    assert decode_json('"é"'.encode(), "UTF-8") == "é"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is empty"),
        (b"{", "line 1, column 2"),
        (b'{"a":\n 1 2}', "line 2, column 4"),
        (b"[1] 2", "line 1, column 5"),
        (b"'a'", "line 1, column 1"),
        (b'"a\x00"', "line 1"),
        (b"NaN", "has NaN"),
        (b"[-Infinity]", "has -Infinity"),
        (b'{"a": Infinity}', "has Infinity"),
        (b"[1e999]", "infinite number"),
        (b"[1.5e999]", "infinite number"),
        (b"[1.5E+999]", "infinite number"),
        (b"9" * 309 + b".0", "infinite number"),
        (b" " * 57 + b"9" * 309 + b".0", "infinite number"),
        (b"-1" + b"0" * 400 + b".0", "infinite number"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b"9" * 5_000, "too many digits"),
        (b"[-" + b"9" * 1_000_000 + b"]", "too many digits"),
        (b'"\xff"', "charset"),
        (b'"\xed\xa0\x80"', "charset"),
        (b"\xff\xfe\x00", "charset"),
        (codecs.BOM_UTF8, "line 1"),
    ],
)
def test_what_is_no_json_is_400_with_a_sentence(body: bytes, reason: str) -> None:
    error = refusal(body)
    assert error.status_code == 400
    assert error.content is not None
    assert reason in error.content
    assert error.content.endswith(".")
    assert len(error.content) < 100


def test_an_unknown_charset_is_400() -> None:
    assert refusal(b"{}", "klingon").status_code == 400
    assert refusal(b"\xff", "ascii").status_code == 400


@given(st.binary(), st.sampled_from([None, "utf-8", "utf-16", "utf-32", "latin-1", "shift_jis"]))
def test_no_bytes_raise_anything_else(body: bytes, charset: str | None) -> None:
    try:
        decode_json(body, charset)
    except HTTPException as error:
        assert error.status_code == 400


@given(st.text('[]{}",:0123456789eE+-.truefalsn\\ NaIity \n', max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        value = decode_json(text.encode())
    except HTTPException:
        return
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("header", "charset"),
    [
        ("application/json", None),
        ("APPLICATION/JSON", None),
        ("application/json;", None),
        ('application/json; Charset="UTF-8"', "UTF-8"),
        ("application/problem+json", None),
        ("application/ld+JSON; charset=utf-8", "utf-8"),
    ],
)
def test_json_is_announced(header: str, charset: str | None) -> None:
    assert json_charset(header) == charset
    assert json_charset(header, "identity") == charset


@pytest.mark.parametrize(
    "header",
    [None, "", "text/json", "application/x-json", "text/plain", "image/x+json", "application/jsonp",
     "application/x-www-form-urlencoded", "x" * 100_000],
)  # fmt: skip
def test_another_content_type_or_none_is_415(header: str | None) -> None:
    with pytest.raises(HTTPException) as caught:
        json_charset(header)
    assert caught.value.status_code == 415
    assert caught.value.headers == {"accept": "application/json"}


def test_a_compressed_body_is_415() -> None:
    with pytest.raises(HTTPException) as caught:
        json_charset("application/json", "gzip")
    assert caught.value.status_code == 415


def test_a_failure_says_nothing_of_what_went_before() -> None:
    assert refusal(b"{").__context__ is None


def test_the_standard_library_is_still_found() -> None:
    code = "import json, kui.http.json; assert json.dumps([]) == '[]' and kui.http.json is not json"
    subprocess.run([sys.executable, "-c", code], check=True)
