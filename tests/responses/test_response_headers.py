"""What gets into a header, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from baize.datastructures import MutableHeaders

from kui.http.headers import ResponseHeaders, content_type, encode_location, merge_headers
from kui.responses import HttpResponse, JSONResponse, PlainTextResponse, RedirectResponse
from tests.support.sending import send

WAYS_IN: dict[str, Callable[[str, str], Any]] = {
    "constructor": lambda name, value: HttpResponse(headers={name: value}),
    "pairs": lambda name, value: ResponseHeaders([(name, value)]),
    "text": lambda name, value: PlainTextResponse("", headers={name: value}),
    "json": lambda name, value: JSONResponse("", 200, {name: value}),
    "redirect": lambda name, value: RedirectResponse("/", 302, {name: value}),
    "item": lambda name, value: HttpResponse().headers.__setitem__(name, value),
    "update": lambda name, value: HttpResponse().headers.update({name: value}),
    "setdefault": lambda name, value: HttpResponse().headers.setdefault(name, value),
    "append": lambda name, value: HttpResponse().headers.append(name, value),
    "amended": lambda name, value: HttpResponse().amended(None, {name: value}),
}


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize(
    "value",
    ["a\r\nSet-Cookie: b=c", "a\rb", "a\nb", "a\0b", "a\x1fb", "a\x7fb", "\n", "caf\u00e9 \u4e2d"],
)
def test_no_way_in_takes_a_value_that_cannot_stand_in_a_header(way: str, value: str) -> None:
    with pytest.raises(ValueError, match="control character or one outside latin-1"):
        WAYS_IN[way]("x-name", value)


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "a\0", "é", "a,b", "(a)"])
def test_no_way_in_takes_a_name_that_is_no_token(way: str, name: str) -> None:
    with pytest.raises(ValueError, match="is no header name"):
        WAYS_IN[way](name, "value")


@pytest.mark.parametrize("way", WAYS_IN)
def test_no_way_in_takes_what_is_no_text(way: str) -> None:
    with pytest.raises(TypeError, match="is a str, not 7"):
        WAYS_IN[way]("x-name", 7)  # type: ignore[arg-type]


def test_headers_are_those_of_baize() -> None:
    assert isinstance(HttpResponse().headers, MutableHeaders)


def test_names_have_no_case() -> None:
    headers = ResponseHeaders({"X-Name": "a"})
    headers["x-nAME"] = "b"
    assert (headers["X-NAME"], list(headers), "X-Name" in headers) == ("b", ["x-name"], True)


def test_what_latin_1_has_is_taken_and_sent_as_latin_1() -> None:
    assert ResponseHeaders({"X-Name": "café\tau lait"}).encode() == [
        (b"x-name", b"caf\xe9\tau lait")
    ]


def test_spaces_around_a_value_are_dropped() -> None:
    assert ResponseHeaders({"X-Name": " \ta b "})["x-name"] == "a b"


def test_an_empty_value_is_a_value() -> None:
    assert ResponseHeaders({"location": ""}).encode() == [(b"location", b"")]


def test_append_joins_with_a_comma() -> None:
    headers = ResponseHeaders({"Vary": "Accept"})
    headers.append("vary", "Origin")
    assert headers["Vary"] == "Accept, Origin"


@pytest.mark.anyio
async def test_each_set_cookie_stays_a_line_of_its_own() -> None:
    response = HttpResponse(headers={"Set-Cookie": "a=1"})
    response.headers.append("Set-Cookie", "b=2; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    response.set_cookie("c", "3")
    assert (await send(response)).getlist("set-cookie") == [
        "a=1",
        "b=2; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "c=3; Path=/; SameSite=Lax",
    ]


def test_set_cookie_lines_are_listed_copied_replaced_and_deleted_together() -> None:
    headers = ResponseHeaders([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X", "y")])
    copied = ResponseHeaders(headers)
    assert headers["set-cookie"] == "b=2"
    assert headers.getlist("Set-Cookie") == ["a=1", "b=2"]
    assert (headers.getlist("x"), headers.getlist("z")) == (["y"], [])
    headers["Set-Cookie"] = "c=3"
    assert headers.getlist("set-cookie") == ["c=3"]
    del headers["Set-Cookie"]
    assert headers.encode() == [(b"x", b"y")]
    assert copied.getlist("set-cookie") == ["a=1", "b=2"]


def test_merging_replaces_by_name_and_joins_vary() -> None:
    headers = [(b"vary", b"Accept, Origin"), (b"a", b"1"), (b"set-cookie", b"x"), (b"b", b"2")]
    added = [(b"vary", b"origin, Cookie"), (b"a", b"3"), (b"set-cookie", b"y")]
    assert merge_headers(headers, added) == [
        (b"set-cookie", b"x"),
        (b"b", b"2"),
        (b"a", b"3"),
        (b"set-cookie", b"y"),
        (b"vary", b"Accept, Origin, Cookie"),
    ]


def test_merging_keeps_a_vary_on_everything() -> None:
    assert merge_headers([(b"vary", b"*")], [(b"vary", b"Origin")]) == [(b"vary", b"*")]


def test_merging_without_a_vary_leaves_that_of_the_response() -> None:
    assert merge_headers([(b"vary", b"A"), (b"vary", b"B")], [(b"c", b"d")]) == [
        (b"vary", b"A"),
        (b"vary", b"B"),
        (b"c", b"d"),
    ]


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("text/html", "text/html; charset=utf-8"),
        ("TEXT/CSV", "TEXT/CSV; charset=utf-8"),
        ("text/csv; header=present", "text/csv; header=present; charset=utf-8"),
        ("text/plain; charset=gbk", "text/plain; charset=gbk"),
        ('text/plain;Charset="gbk"', 'text/plain;Charset="gbk"'),
        ("application/json", "application/json"),
        ("application/vnd.api+json", "application/vnd.api+json"),
        ('multipart/mixed; boundary="a; b"', 'multipart/mixed; boundary="a; b"'),
    ],
)
def test_text_says_its_charset(media_type: str, expected: str) -> None:
    assert content_type(media_type, "utf-8") == expected


@pytest.mark.parametrize(
    "media_type",
    [
        "text",
        "text/",
        "/html",
        "text/ht ml",
        "text/html\r\nX: y",
        "a/b; c",
        "a/b; c=\x01",
        "a/b,c/d",
    ],
)
def test_what_is_no_media_type_is_refused(media_type: str) -> None:
    with pytest.raises(ValueError, match="is no media type"):
        content_type(media_type, "utf-8")
    with pytest.raises(ValueError, match="is no media type"):
        PlainTextResponse("", media_type=media_type)


def test_what_is_no_charset_is_refused() -> None:
    with pytest.raises(ValueError, match="is no charset"):
        PlainTextResponse("", charset="utf-8\r\nX: y")


def test_a_media_type_of_many_semicolons_takes_linear_time() -> None:
    with pytest.raises(ValueError, match="is no media type"):
        content_type("a/b" + " ; " * 100_000 + "=", "utf-8")


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("/plain/path?a=b&c=d#e", "/plain/path?a=b&c=d#e"),
        ("https://user:pw@example.com:8000/;p=1", "https://user:pw@example.com:8000/;p=1"),
        ("http://[::1]:8000/", "http://[::1]:8000/"),
        ("/a b", "/a%20b"),
        ("/中?q=é#ü", "/%E4%B8%AD?q=%C3%A9#%C3%BC"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("\\\\evil.example", "%5C%5Cevil.example"),
        ("/a\r\nSet-Cookie: b=c", "/a%0D%0ASet-Cookie:%20b=c"),
        ("/\t/evil.example", "/%09/evil.example"),
        ("/a\0b\x7f", "/a%00b%7F"),
        ('/<"{|}^`>', "/%3C%22%7B%7C%7D%5E%60%3E"),
        ("/%20%E4%B8%AD", "/%20%E4%B8%AD"),
        ("/100%", "/100%25"),
        ("/%zz%2f", "/%25zz%2f"),
        ("", ""),
    ],
)
def test_a_location_is_encoded_once(url: str, location: str) -> None:
    assert encode_location(url) == location
    assert RedirectResponse(url).headers["location"] == location
    assert encode_location(location) == location
