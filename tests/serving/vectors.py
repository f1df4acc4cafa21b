"""Requests that a strict server refuses, or takes: what they are, the bytes, how many requests they hold.

A count of None: the server refuses it. Several outcomes: RFC 9112 leaves the choice.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["VECTORS", "Vector"]

GET: Final = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST: Final = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED: Final = POST + b"Transfer-Encoding: chunked\r\n\r\n"
H2C: Final = POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"


class Vector(NamedTuple):
    name: str
    data: bytes
    outcomes: tuple[int | None, ...]


def _refused(name: str, data: bytes) -> Vector:
    return Vector(name, data, (None,))


def _taken(name: str, data: bytes, count: int = 1) -> Vector:
    return Vector(name, data, (count,))


def _either(name: str, data: bytes) -> Vector:
    return Vector(name, data, (None, 1))


def _length(value: bytes, body: bytes = b"hello") -> bytes:
    return POST + b"Content-Length: " + value + b"\r\n\r\n" + body


def _coding(value: bytes) -> bytes:
    return POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n"


VECTORS: Final = [
    # How long is the body? (RFC 9112, 6.3: what two readers may read differently is smuggled)
    _refused(
        "a length, then a coding",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    _refused(
        "a coding, then a length",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    _refused("two lengths", _length(b"5\r\nContent-Length: 6", b"hello!")),
    _refused("the same length twice", _length(b"5\r\nContent-Length: 5")),
    _refused("a list of lengths", _length(b"5, 5")),
    _refused("a length with a sign", _length(b"+5")),
    _refused("a length with an underscore", _length(b"1_0", b"hellohello")),
    _refused("a negative length", _length(b"-1", b"")),
    _refused("a length beyond 64 bits", _length(b"18446744073709551621")),
    _refused("no length in Content-Length", _length(b"")),
    _refused("a coding like chunked", _coding(b"xchunked")),
    _refused("a coding after chunked", _coding(b"chunked, identity")),
    _refused("a coding before chunked", _coding(b"gzip, chunked")),
    _refused("chunked twice", _coding(b"chunked\r\nTransfer-Encoding: chunked")),
    _refused(
        "chunked in HTTP/1.0",
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    _refused("a space before the colon", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    _refused("a vertical tab before chunked", _coding(b"\x0bchunked")),
    # Lines and characters (RFC 9112, 2.2 and 5)
    _refused("a folded line", GET + b"A: b\r\n c\r\n\r\n"),
    _refused("lines that end in LF", b"GET / HTTP/1.1\nHost: x\n\n"),
    _refused("a header line that ends in LF", b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n"),
    _refused("CR in a value", GET + b"A: b\rc\r\n\r\n"),
    _refused("NUL in a value", GET + b"A: b\0c\r\n\r\n"),
    _refused("NUL in a name", GET + b"A\0: b\r\n\r\n"),
    _refused("a space before the first name", b"GET / HTTP/1.1\r\n A: b\r\nHost: x\r\n\r\n"),
    _refused("a line without a colon", GET + b"foo\r\n\r\n"),
    # Chunks (RFC 9112, 7.1)
    _taken("a chunk extension", CHUNKED + b"5;a=b\r\nhello\r\n0\r\n\r\n"),
    _refused("LF in a chunk extension", CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    _refused("0x before a chunk's size", CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"),
    _refused("a space after a chunk's size", CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n"),
    _refused("LF after a chunk", CHUNKED + b"5\r\nhello\n0\r\n\r\n"),
    _refused("LF after a chunk's size", CHUNKED + b"5\nhello\r\n0\r\n\r\n"),
    _refused("no line end after a chunk", CHUNKED + b"5\r\nhelloXX0\r\n\r\n"),
    _refused("a chunk's size beyond 64 bits", CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    _refused(
        "a chunk extension of 100 KB", CHUNKED + b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n"
    ),
    _refused("100 KB of trailers", CHUNKED + b"0\r\n" + b"A: bcdefgh\r\n" * 9000 + b"\r\n"),
    _either("a length among the trailers", CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n"),
    # Sizes
    _refused("a value of 1 MB", GET + b"A: " + b"x" * 1_000_000 + b"\r\n\r\n"),
    _refused("20,000 headers", GET + b"A: b\r\n" * 20_000 + b"\r\n"),
    # The host (RFC 9112, 3.2)
    _refused("no Host", b"GET / HTTP/1.1\r\n\r\n"),
    _refused("two Hosts", GET + b"Host: y\r\n\r\n"),
    # The first line (RFC 9112, 2.3 and 3)
    _refused("HTTP/0.9", b"GET /\r\n"),
    _either("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: x\r\n\r\n"),
    _refused("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
    _either("a method in lower case", b"get / HTTP/1.1\r\nHost: x\r\n\r\n"),
    _either("an unknown method", b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n"),
    _either("two spaces in the first line", b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n"),
    _refused("a tab in the first line", b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    _refused("a byte beyond ASCII in the target", b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n"),
    _refused("a fragment in the target", b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"),
    # What must be taken
    _taken("a GET with a body", GET + b"Content-Length: 5\r\n\r\nhello"),
    _taken(
        "an Upgrade that is ignored, and its body",
        H2C + b"Content-Length: 5\r\n\r\nhello" + GET + b"\r\n",
        2,
    ),
    _taken("a request behind a close", GET + b"Connection: close\r\n\r\n" + GET + b"\r\n"),
    _taken("empty lines before a request", b"\r\n\r\n" + GET + b"\r\n"),
]
