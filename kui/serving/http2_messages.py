"""Make requests of the headers of HTTP/2, and headers of responses (RFC 9113, section 8). These are pure functions.

h2 keeps the frames in order and checks the length of a body. The headers of a request are checked here, so that a
malformed request gets a 400 and other streams go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from baize.typing import Message

from kui.http.hosts import valid_host

from .http1 import FIELDS
from .http1_request import Malformed
from .responses import Headers, Response, checked_headers

__all__ = ["HEADERS_SIZE", "Http2Response", "Request", "hints", "read_request", "trailers"]

HEADERS_SIZE: Final = 64 * 1024
"""Limit of the size of a request's headers, counted as in RFC 9113, section 6.5.2."""

_is_method = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_is_name = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch
_is_value = re.compile(
    rb"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?"
).fullmatch
_is_target = re.compile(rb"/[\x21\x22\x24-\x7e]*|\*").fullmatch
_PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_valid: Final[set[tuple[bytes, bytes]]] = set()
"""A bounded cache of fields that were found to be valid."""
_OF_A_CONNECTION: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)


class Request:
    """A request. Its `headers` have `:authority` as Host. `websocket` is True if it opens a WebSocket (RFC 8441)."""

    __slots__ = ("expects", "headers", "method", "path", "query", "websocket")

    def __init__(self, method: str, target: bytes, headers: Headers, websocket: bool) -> None:
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.websocket = websocket
        self.expects = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in headers
        )

    @property
    def decoded_path(self) -> str:
        """The path as ASGI has it: percent-decoded, as UTF-8."""
        path = self.path.decode("ascii")
        return unquote(path) if "%" in path else path


def read_request(fields: Iterable[tuple[bytes, bytes]]) -> Request:
    """Return a request made of header fields.

    :raises Malformed: the fields are malformed, or the request is not served.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: Headers = []
    cookies: list[bytes] = []
    host: bytes | None = None
    size = 0
    for name, value in fields:
        size += len(name) + len(value) + 32
        if (name, value) not in _valid:
            _check(name, value)
        if name.startswith(b":"):
            if headers or cookies or name not in _PSEUDO or name in pseudo:
                raise Malformed(400, "the pseudo-headers are not what they must be")
            pseudo[name] = value
            continue
        if name == b"cookie":
            cookies.append(value)
        elif name != b"host":
            headers.append((name, value))
        elif host is None:
            host = value
        else:
            raise Malformed(400, "there is more than one Host")
    if size > HEADERS_SIZE or len(headers) + len(cookies) > FIELDS:
        raise Malformed(431, "the headers are larger than 64 KiB, or more than 100")
    if cookies:
        headers.append((b"cookie", b"; ".join(cookies)))  # RFC 9113, 8.2.3
    authority = pseudo.get(b":authority", host)
    if authority is None or not valid_host(authority):
        raise Malformed(400, "there is no :authority that is a host")
    if host is not None and host.lower() != authority.lower():
        raise Malformed(400, "Host is not :authority")
    headers.insert(0, (b"host", authority))
    return _with_target(pseudo, headers)


def _check(name: bytes, value: bytes) -> None:
    """Check a field, and remember a valid one, because most requests have the same fields.

    :raises Malformed: HTTP/2 does not allow the field.
    """
    if not _is_value(value):
        raise Malformed(400, "a header has a value that is none")
    if not name.startswith(b":"):
        if not _is_name(name) or name in _OF_A_CONNECTION:
            raise Malformed(400, "there is a header that HTTP/2 does not have")
        if name == b"te" and value.lower() != b"trailers":
            raise Malformed(400, "TE is 'trailers' in HTTP/2")
    if len(_valid) < 1000 and len(name) + len(value) < 200:
        _valid.add((name, value))


def _with_target(pseudo: dict[bytes, bytes], headers: Headers) -> Request:
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    protocol = pseudo.get(b":protocol")
    if not _is_method(method):
        raise Malformed(400, "there is no :method")
    if method == b"CONNECT" and protocol is None:
        raise Malformed(501, "CONNECT is served for WebSockets only")
    if not _is_target(target) or (target == b"*" and method != b"OPTIONS"):
        raise Malformed(400, "the :path is no path")
    if b":scheme" not in pseudo:
        raise Malformed(400, "there is no :scheme")
    if protocol is not None and method != b"CONNECT":
        raise Malformed(400, ":protocol belongs to CONNECT")
    if protocol is not None and protocol != b"websocket":
        raise Malformed(501, "the only :protocol is 'websocket'")
    return Request(method.decode("ascii"), target, headers, protocol is not None)


class Http2Response(Response):
    """A response as headers for h2."""

    __slots__ = ()

    def start_headers(self, length: int | None, date: bytes) -> Headers:
        """Return the headers of the response.

        :param length: the length of the body, if the whole body is known.
        :param date: the value of the Date header, if the response has none.
        """
        headers = [(b":status", b"%d" % self.status), *[field.header for field in self.fields]]
        if length is not None and self.left is None and not self.bodiless:
            headers.append((b"content-length", b"%d" % length))
        if not self.dated:
            headers.append((b"date", date))
        return headers


def hints(message: Message) -> Headers:
    """Return the headers of 103 Early Hints (RFC 8297)."""
    links = checked_headers([(b"link", link) for link in message.get("links", ())])
    return [(b":status", b"103"), *links]


def trailers(message: Message) -> Headers:
    """Return the trailers of an `http.response.trailers` message."""
    return checked_headers(message.get("headers", ()))
