"""Requests that could be read in two ways are refused, or request smuggling begins (RFC 9112, 11.2)."""

from __future__ import annotations

import pytest

from tests.support.wire import handshake, push

from .servers import Site

HOST = b"Host: x\r\n"
POST, GET = b"POST /echo/x HTTP/1.1\r\n" + HOST, b"GET /echo/x HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"

REFUSED = {
    "a length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
    "chunks and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + LAST,
    "two lengths that differ": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length +5": POST + b"Content-Length: +5\r\n\r\nhello",
    "length 1_0": POST + b"Content-Length: 1_0\r\n\r\nhellohello",
    "length -1": POST + b"Content-Length: -1\r\n\r\n",
    "length beyond 64 bits": POST + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    "empty length": POST + b"Content-Length: \r\n\r\n",
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + LAST,
    "chunked is not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + LAST,
    "gzip and chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST,
    "chunked twice": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
    + LAST,
    "chunks in HTTP 1.0": b"POST /echo/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
    "space before a colon": POST + b"Transfer-Encoding : chunked\r\n\r\n" + LAST,
    "vertical tab in a coding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + LAST,
    "folded line": GET + b"A: b\r\n c\r\n\r\n",
    "line feeds alone": b"GET /echo/x HTTP/1.1\nHost: x\n\n",
    "line feed alone in the headers": b"GET /echo/x HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
    "carriage return in a value": GET + b"A: b\rc\r\n\r\n",
    "NUL in a value": GET + b"A: b\0c\r\n\r\n",
    "NUL in a name": GET + b"A\0: b\r\n\r\n",
    "space before the first header": b"GET /echo/x HTTP/1.1\r\n A: b\r\n" + HOST + b"\r\n",
    "no colon": GET + b"foo\r\n\r\n",
    "line feed in a chunk extension": CHUNKED + b"5;a\nb\r\nhello\r\n" + LAST,
    "chunk size 0x5": CHUNKED + b"0x5\r\nhello\r\n" + LAST,
    "line feed behind a chunk": CHUNKED + b"5\r\nhello\n" + LAST,
    "line feed behind a chunk size": CHUNKED + b"5\nhello\r\n" + LAST,
    "chunk longer than its size": CHUNKED + b"5\r\nhelloXX" + LAST,
    "chunk size beyond 64 bits": CHUNKED + b"10000000000000005\r\nhello\r\n" + LAST,
    "100 KB of a chunk extension": CHUNKED + b"5;" + b"a" * 100_000 + b"\r\nhello\r\n" + LAST,
    "100 KB of trailers": CHUNKED + b"0\r\n" + b"A: bcdefgh\r\n" * 9000 + b"\r\n",
    "no Host": b"GET /echo/x HTTP/1.1\r\n\r\n",
    "two Hosts": GET + b"Host: y\r\n\r\n",
    "HTTP 0.9": b"GET /echo/x\r\n",
    "HTTP 2.0 with a Host": b"GET /echo/x HTTP/2.0\r\n" + HOST + b"\r\n",
    "tabs in the request line": b"GET\t/echo/x\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "target outside ASCII": b"GET /echo/\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "fragment in a target": b"GET /echo/x#b HTTP/1.1\r\n" + HOST + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40,
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused_and_ends_the_connection(
    site: Site, case: str
) -> None:
    with site.connect() as wire:
        push(wire, REFUSED[case])
        response = wire.response()
        assert 400 <= response.status < 500 or response.status in (501, 505), response
        assert response.closes
        wire.until_closed()


LONG = {
    "1 MB of a value": GET + b"A: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "1 MB of a target": b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "20,000 headers": GET + b"A: b\r\n" * 20_000 + b"\r\n",
    "101 headers": GET + b"A: b\r\n" * 100 + b"\r\n",
}


@pytest.mark.parametrize("case", LONG)
def test_a_head_that_is_too_large_gets_a_status_that_its_client_reads(
    site: Site, case: str
) -> None:
    """The client is still sending while it is refused: the close has to linger (RFC 9112, 9.6)."""
    with site.connect() as wire:
        push(wire, LONG[case])
        assert wire.response().status in ((414, 431) if "target" in case else (431,))
        wire.until_closed()


TAKEN = {
    "Upgrade to something unknown": ("Connection: Upgrade", "Upgrade: smoke-signals"),
    "Upgrade to HTTP/2": (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
    ),
    "Upgrade without Connection": ("Upgrade: websocket",),
}


@pytest.mark.parametrize("case", TAKEN)
def test_an_upgrade_that_is_not_wanted_is_ignored_and_its_body_kept(site: Site, case: str) -> None:
    with site.connect() as wire:
        response = wire.get("/echo/x", *TAKEN[case], method="POST", body=b"the body")
        assert (response.status, response.body) == (200, b"the body")
        assert wire.get("/early/x").body == b"early"


def test_a_websocket_cannot_be_asked_for_by_post(site: Site) -> None:
    with site.connect() as wire:
        wire.send(handshake("/echo/x", "Content-Length: 0").replace(b"GET", b"POST", 1))
        response = wire.response()
        assert response.status == 200 or 400 <= response.status < 500
