"""Cookies: what is set, what is refused, and that what is set comes back."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kui.http.cookies import SetCookie, parse_cookies
from kui.responses import HttpResponse, PlainTextResponse
from tests.support.sending import send


def line(*args: Any, **kwargs: Any) -> str:
    response = HttpResponse()
    response.set_cookie(*args, **kwargs)
    (cookie,) = response.cookies
    return str(cookie)


def expires(cookie: str) -> datetime:
    found = re.search("Expires=([^;]*)", cookie)
    assert found is not None
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", found[1])
    return parsedate_to_datetime(found[1])


def test_the_signatures_are_those_of_the_reference_and_partitioned() -> None:
    assert list(inspect.signature(HttpResponse.set_cookie).parameters) == (
        "self key value max_age expires path domain secure httponly samesite partitioned".split()
    )
    assert list(inspect.signature(HttpResponse.delete_cookie).parameters) == (
        "self key path domain secure httponly samesite partitioned".split()
    )


def test_a_plain_cookie_is_for_the_session_and_all_paths() -> None:
    assert line("theme", "dark") == "theme=dark; Path=/; SameSite=Lax"


def test_every_attribute_by_position() -> None:
    cookie = line("a", "b", 60, 0, "/x", "example.com", True, True, "strict")
    assert cookie == (
        "a=b; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Domain=example.com; Path=/x;"
        " Secure; HttpOnly; SameSite=Strict"
    )


@pytest.mark.parametrize("max_age", [0, -1, -(10**9)])
def test_a_max_age_of_none_or_less_discards_the_cookie(max_age: int) -> None:
    cookie = line("a", "b", max_age)
    assert "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT;" in cookie


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC-8")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
def test_expires_is_in_seconds_from_now_and_in_gmt() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    until = expires(line("a", expires=3600))
    assert before <= until - timedelta(hours=1) <= datetime.now(UTC)


def test_an_aware_date_is_written_in_gmt() -> None:
    moment = datetime.fromisoformat("2026-11-20T01:02:03+08:00")
    assert "Expires=Thu, 19 Nov 2026 17:02:03 GMT" in str(SetCookie("a", expires=moment))


def test_a_past_expires_discards_the_cookie_whatever_the_clocks_say() -> None:
    assert expires(line("a", expires=-5)) == datetime(1970, 1, 1, tzinfo=UTC)


def test_an_expires_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot expire in"):
        line("a", expires=10**12)


def test_a_max_age_that_is_no_int_is_refused() -> None:
    with pytest.raises(TypeError):
        line("a", max_age=1.5)


def test_a_deleted_cookie_is_discarded_where_it_was_set() -> None:
    response = HttpResponse()
    response.delete_cookie("a", "/x", "example.com", True, True, "none")
    assert str(response.cookies[0]) == (
        "a=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Domain=example.com; Path=/x;"
        " Secure; HttpOnly; SameSite=None"
    )


@pytest.mark.anyio
async def test_several_cookies_are_several_lines() -> None:
    response = PlainTextResponse("ok", headers={"X-A": "b"})
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", path="")
    assert (await send(response)).getlist("set-cookie") == [
        "a=1; Path=/; SameSite=Lax",
        "b=2; SameSite=Lax",
    ]


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "a,b", "a\r\n", "é", '"a"', "\0"])
def test_a_name_is_a_token(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a cookie"):
        line(name)


@pytest.mark.parametrize("text", ["/a;b", "/\r\nX: y", "/\n", "/\0", "/\x7f", "/é"])
@pytest.mark.parametrize("attribute", ["path", "domain"])
def test_neither_path_nor_domain_takes_controls_or_a_semicolon(attribute: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"the {attribute} .* ASCII text without controls and ';'"):
        line("a", **{attribute: text})


def test_samesite_none_needs_secure() -> None:
    with pytest.raises(ValueError, match="without secure=True"):
        line("a", samesite="none")
    assert line("a", secure=True, samesite="none").endswith("Secure; SameSite=None")


def test_a_partitioned_cookie_needs_secure() -> None:
    with pytest.raises(ValueError, match="partitioned=True without secure=True"):
        line("a", partitioned=True)
    with pytest.raises(ValueError, match="partitioned=True without secure=True"):
        HttpResponse().delete_cookie("a", partitioned=True)
    assert line("__Host-a", "b", secure=True, samesite="none", partitioned=True) == (
        "__Host-a=b; Path=/; Secure; SameSite=None; Partitioned"
    )


def test_a_partitioned_cookie_is_deleted_in_its_own_jar() -> None:
    response = HttpResponse()
    response.delete_cookie("a", secure=True, partitioned=True)
    assert str(response.cookies[0]).endswith("; Secure; SameSite=Lax; Partitioned")


def test_another_samesite_is_refused() -> None:
    with pytest.raises(ValueError, match="'lax', 'strict' or 'none', not 'maybe'"):
        line("a", samesite="maybe")


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"secure": True, "domain": "example.com"},
        {"secure": True, "path": "/x"},
        {"secure": True, "path": ""},
    ],
)
@pytest.mark.parametrize("name", ["__Host-id", "__host-id"])
def test_a_host_cookie_that_browsers_refuse_is_refused(
    name: str, attributes: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="a __Host- cookie needs"):
        line(name, **attributes)


def test_a_secure_cookie_needs_secure() -> None:
    with pytest.raises(ValueError, match="a __Secure- cookie needs"):
        line("__Secure-id")
    assert line("__Secure-id", secure=True, domain="example.com")
    assert line("__Host-id", secure=True)


def returned(cookie: str) -> str:
    """What a browser that was given this line sends back."""
    return cookie.partition(";")[0]


@given(st.text())
@example('"quoted"')
@example("a;b,c d\\e=f")
@example("100%")
@example("%41")
@example("\r\n\0")
@example("中文 🐍")
@example(" spaces ")
def test_any_text_survives_the_round_trip(value: str) -> None:
    sent = str(SetCookie("a", value))
    assert sent.isascii() and sent.isprintable()
    assert parse_cookies(f"x=1; {returned(sent)}; y=2") == {"x": "1", "a": value, "y": "2"}


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E)))
def test_a_value_that_cookies_allow_is_sent_as_it_is(value: str) -> None:
    if not set(value) & set('",;\\'):
        assert returned(str(SetCookie("a", value))) == f"a={value}"


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    assert parse_cookies(str(SetCookie("a", "\ud800b")).partition(";")[0]) == {"a": "\ufffdb"}


def test_equal_cookies_are_one_in_a_set() -> None:
    assert {SetCookie("a", "1"), SetCookie("a", "1"), SetCookie("a", "2")} == {
        SetCookie("a", "1"),
        SetCookie("a", "2"),
    }


@given(st.text(alphabet=st.characters(max_codepoint=0xFF)))
def test_what_the_standard_library_wrote_is_read(value: str) -> None:
    jar: SimpleCookie = SimpleCookie()
    jar["a"] = value
    read = parse_cookies(jar["a"].OutputString())["a"]
    assert read in (value, _as_utf8(value))


def _as_utf8(value: str) -> str | None:
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return None


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1;b=2;  c=3 ;", {"a": "1", "b": "2", "c": "3"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=", {"a": ""}),
        ('a=""; b="; c="d"', {"a": "", "b": '"', "c": "d"}),
        ("a=1; a=2", {"a": "1"}),
        ("A=1; a=2", {"A": "1", "a": "2"}),
        ("alone; =nameless; a=1", {"a": "1"}),
        ("a=%41%20+b", {"a": "%41%20+b"}),
        ('a="x\\"y\\073z\\\\"', {"a": 'x"y;z\\'}),
        ("a[b]=1; c:d=2", {"a[b]": "1", "c:d": "2"}),
        ("a=\xe4\xb8\xad", {"a": "中"}),
        ("a=caf\xe9", {"a": "café"}),
        ('a="%FF"', {"a": "\xff"}),
        (";;; ; =;", {}),
    ],
)
def test_a_cookie_header_is_read(header: str, cookies: dict[str, str]) -> None:
    assert parse_cookies(header) == cookies


@pytest.mark.parametrize("piece", ["a=1;", ";", '"\\', "\\0", "=", 'a="\\073', "% "])
def test_a_long_cookie_header_takes_linear_time(piece: str) -> None:
    parse_cookies(piece * 200_000)
    parse_cookies('a="' + piece.replace(";", "") * 200_000 + '"')


@given(st.text(alphabet=st.characters(max_codepoint=0xFF)))
def test_no_cookie_header_is_an_error(header: str) -> None:
    parse_cookies(header)
