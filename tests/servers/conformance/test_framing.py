"""Where a request ends and a response ends: RFC 9112 and RFC 9110, seen from a socket."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.wire import Cut, request

from .servers import Site


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
def test_a_body_with_a_length_reaches_the_app_whole(site: Site, size: int) -> None:
    body = bytes(index % 251 for index in range(size))
    with site.connect() as wire:
        assert wire.get("/echo/x", method="POST", body=body).body == body


@pytest.mark.parametrize("path", ["/echo/x", "/flow/x"])
def test_a_chunked_body_reaches_the_app_whole(site: Site, path: str) -> None:
    with site.connect() as wire:
        wire.ask(path, "Transfer-Encoding: chunked", method="POST")
        for part in (
            b"5\r\nhello\r\n",
            b"1;name=value\r\n,\r\n",
            b"A\r\n wonderful\r\n",
            b"0\r\n\r\n",
        ):
            wire.send(part)
        assert wire.response().body == b"hello, wonderful"
        assert wire.get("/early/x").body == b"early"


def test_a_request_may_come_a_byte_at_a_time(site: Site) -> None:
    with site.connect() as wire:
        for byte in request("/echo/x", method="POST", body=b"slow"):
            wire.send(bytes([byte]))
        assert wire.response().body == b"slow"


def test_a_get_may_have_a_body(site: Site) -> None:
    with site.connect() as wire:
        assert wire.get("/echo/x", body=b"asked").body == b"asked"
        assert wire.get("/early/x").body == b"early"


def test_the_trailers_of_a_request_are_no_headers_and_no_body(site: Site) -> None:
    with site.connect() as wire:
        wire.ask("/echo/x", "Transfer-Encoding: chunked", "Trailer: X-Sum", method="POST")
        wire.send(b"4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n")
        assert wire.response().body == b"body"
        assert "x-sum" not in wire.get("/scope/x").body.decode()


def test_the_app_sees_the_request_as_it_came(site: Site) -> None:
    with site.connect() as wire:
        scope = json.loads(
            wire.get("/a%20b/%C3%BC%2F?q=%20&r", "X-Twice: 1", "X-Twice: 2", "X-Latin: \xfc").body
        )
    assert scope["path"] == "/a b/ü/"
    assert scope["raw_path"] == "/a%20b/%C3%BC%2F"
    assert scope["query_string"] == "q=%20&r"
    assert (scope["type"], scope["method"], scope["scheme"]) == ("http", "GET", "http")
    assert scope["http_version"] == "1.1"
    assert [value for name, value in scope["headers"] if name == "x-twice"] == ["1", "2"]
    assert ["x-latin", "\xfc"] in scope["headers"]
    assert ["host", "example.org"] in scope["headers"]


def test_white_space_around_a_value_is_no_part_of_it(site: Site) -> None:
    with site.connect() as wire:
        scope = json.loads(wire.get("/scope/x", "X-Spacious:\t  a b \t ", "X-Empty:  ").body)
    assert ["x-spacious", "a b"] in scope["headers"]
    assert ["x-empty", ""] in scope["headers"]


def test_options_may_ask_about_the_server(site: Site) -> None:
    with site.connect() as wire:
        assert json.loads(wire.get("*", method="OPTIONS").body)["path"] == "*"


def test_a_target_in_absolute_form_replaces_the_host(site: Site) -> None:
    with site.connect() as wire:
        scope = json.loads(wire.get("http://other.example:81/scope/x?q=1").body)
    assert (scope["path"], scope["query_string"]) == ("/scope/x", "q=1")
    assert [value for name, value in scope["headers"] if name == "host"] == ["other.example:81"]


def test_empty_lines_before_and_between_requests_are_skipped(site: Site) -> None:
    with site.connect() as wire:
        wire.send(b"\r\n")
        assert wire.get("/echo/x", method="POST", body=b"1").body == b"1"
        wire.send(b"\r\n")
        assert wire.get("/echo/x", method="POST", body=b"2").body == b"2"


# Responses.


def test_a_body_in_one_message_gets_a_length(site: Site) -> None:
    with site.connect() as wire:
        response = wire.get("/whole/x")
        assert (response.body, response.header("content-length")) == (b"wwwww", "5")
        assert wire.get("/whole/x?size=0").header("content-length") == "0"


def test_a_body_in_several_messages_is_chunked(site: Site) -> None:
    with site.connect() as wire:
        response = wire.get("/stream/x")
        assert response.body == b"000011112222"
        assert response.header("transfer-encoding") == "chunked"
        assert wire.get("/stream/x?length").header("content-length") == "12"


def test_the_response_to_head_has_no_body(site: Site) -> None:
    with site.connect() as wire:
        for path in ("/early/x", "/stream/x?length"):
            length = wire.get(path).header("content-length")
            assert wire.get(path, method="HEAD").header("content-length") == length
        wire.get("/stream/x", method="HEAD")
        assert wire.get("/early/x").body == b"early"


@pytest.mark.parametrize("code", [204, 304])
def test_a_status_without_a_body_has_none(site: Site, code: int) -> None:
    with site.connect() as wire:
        response = wire.get(f"/status/x?code={code}")
        assert response.status == code
        assert response.header("transfer-encoding") is None
        if code == 204:
            assert response.header("content-length") is None
        assert wire.get("/early/x").body == b"early"


@pytest.mark.parametrize(
    ("code", "reason"), [(200, "OK"), (404, "Not Found"), (418, "I'm a Teapot"), (299, "")]
)
def test_a_status_line_has_a_reason_phrase(site: Site, code: int, reason: str) -> None:
    with site.connect() as wire:
        response = wire.get(f"/status/x?code={code}")
    assert response.status == code
    assert response.reason.lower() == reason.lower()


def test_a_response_is_dated(site: Site) -> None:
    day = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] 20\d\d \d\d:\d\d:\d\d GMT"
    with site.connect() as wire:
        assert re.fullmatch(day, wire.get("/early/x").header("date") or "")


def test_the_date_of_the_app_is_kept(site: Site) -> None:
    with site.connect() as wire:
        response = wire.get("/header/x?name=date&value=yesterday")
    assert response.header("date") == "yesterday"


def test_a_response_has_its_trailers(site: Site) -> None:
    with site.connect() as wire:
        response = wire.get("/trailers/x", "TE: trailers")
        assert response.body == b"body"
        assert response.trailers == [("x-sum", "42")]
        assert wire.get("/early/x").body == b"early"


def test_an_early_hint_comes_before_the_response(site: Site) -> None:
    with site.connect() as wire:
        response = wire.get("/hints/x")
    assert response.body == b"hinted"
    (hint,) = response.interim
    assert hint.status == 103
    assert hint.header("link") == "</style.css>; rel=preload; as=style"


# HTTP/1.0.


def test_http_1_0_gets_a_body_that_ends_with_the_connection(site: Site) -> None:
    with site.connect() as wire:
        wire.ask("/stream/x", version="1.0")
        response = wire.response()
        assert response.body == b"000011112222"
        assert response.header("transfer-encoding") is None
        assert not wire.was_reset


def test_http_1_0_needs_no_host(site: Site) -> None:
    with site.connect() as wire:
        wire.send(b"GET /early/x HTTP/1.0\r\n\r\n")
        assert wire.response().body == b"early"
        assert wire.until_closed() == b""


def test_http_1_0_keeps_the_connection_if_it_asks_for_it(site: Site) -> None:
    with site.connect() as wire:
        for _ in range(2):
            wire.ask("/early/x", "Connection: keep-alive", version="1.0")
            response = wire.response()
            assert response.body == b"early"
            assert (response.header("connection") or "").lower() == "keep-alive"


def test_http_1_0_is_never_sent_a_1xx(site: Site) -> None:
    with site.connect() as wire:
        wire.ask("/echo/x", "Expect: 100-continue", method="POST", version="1.0", body=b"body")
        response = wire.response()
        assert (response.interim, response.body) == ([], b"body")
    with site.connect() as wire:
        wire.ask("/hints/x", version="1.0")
        assert wire.response().interim == []


def test_http_1_0_sees_that_a_body_without_a_length_was_cut(site: Site) -> None:
    with site.connect() as wire:
        wire.ask("/unfinished/x", version="1.0")
        with pytest.raises(Cut) as cut:
            wire.response()
    assert cut.value.by_reset
