"""A request of HTTP/1.1, and the checks of RFC 9112 that httptools does not make."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from kui.http.hosts import valid_host

from .responses import Headers

__all__ = ["Malformed", "Request", "check"]

_SCHEMES: Final = (b"http://", b"https://")


class Malformed(Exception):
    """Raised if a request is malformed or not served. `status` is that of the response."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Request:
    """A request whose head is complete.

    - `target`: as it was sent.
    - `path`: the path of the target, not decoded, without the query.
    - `expects`: True while the client waits for 100 Continue.
    - `websocket`: True if the request opens a WebSocket.
    - `complete`: True once the whole body has arrived.
    """

    __slots__ = (
        "body",
        "complete",
        "expects",
        "headers",
        "keep_alive",
        "length",
        "method",
        "path",
        "query",
        "target",
        "version",
        "websocket",
    )

    def __init__(self, method: str, target: bytes, version: str, headers: Headers) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.path, _, self.query = target.partition(b"?")
        self.keep_alive = False
        self.expects = False
        self.websocket = False
        self.length: int | None = 0
        """The Content-Length; None for a body in chunks."""
        self.body: bytes | bytearray = b""
        """The part of the body that has arrived and was not taken."""
        self.complete = False

    @property
    def decoded_path(self) -> str:
        """The path as ASGI has it: percent-decoded, as UTF-8."""
        path = self.path.decode("ascii")
        return unquote(path) if "%" in path else path

    def take_body(self) -> bytes:
        """Return the part of the body that has arrived, and keep it no longer."""
        body, self.body = self.body, b""
        return bytes(body)


def check(request: Request) -> None:
    """Check a request by RFC 9112, and set the attributes that its headers decide.

    :raises Malformed: the request is not allowed, or not served.
    """
    version, hosts = request.version, 0
    if version != "1.1" and version != "1.0":
        raise Malformed(505, "the version is neither HTTP/1.1 nor HTTP/1.0")
    for name, value in request.headers:
        if name in _NOTED:
            hosts += name == b"host"
            _NOTED[name](request, value)
    if hosts > 1 or (not hosts and version == "1.1"):
        raise Malformed(400, "there is not one Host")
    if request.path[:1] != b"/" or b"#" in request.target:
        _check_target(request)
    if request.websocket:
        request.websocket = request.method == "GET" and version == "1.1" and request.length == 0


def _check_target(request: Request) -> None:
    """Check a target that is not a path: `*`, or the absolute form, which replaces Host (RFC 9112, 3.2)."""
    target = request.target
    if request.method == "CONNECT":
        raise Malformed(501, "this is no proxy: CONNECT is not served")
    if b"#" in target:
        raise Malformed(400, "the target has a fragment")
    if target == b"*" and request.method == "OPTIONS":
        return
    for scheme in _SCHEMES:
        if target[: len(scheme)].lower() == scheme:
            break
    else:
        raise Malformed(400, "the target is neither a path nor a URL")
    authority, slash, path = request.path[len(scheme) :].partition(b"/")
    if not _known_host(authority):
        raise Malformed(400, "the host of the target is malformed")
    request.path = slash + path or b"/"
    others = [header for header in request.headers if header[0] != b"host"]
    request.headers = [(b"host", authority), *others]


def _note_host(request: Request, value: bytes) -> None:
    if value and not _known_host(value):
        raise Malformed(400, "the Host is malformed")


def _note_length(request: Request, value: bytes) -> None:
    if not value.isdigit() or len(value) > 19:
        raise Malformed(400, "the Content-Length is no number")
    request.length = int(value)


def _note_encoding(request: Request, value: bytes) -> None:
    if request.version == "1.0":
        raise Malformed(400, "HTTP/1.0 knows no Transfer-Encoding")
    if value.lower() != b"chunked":
        raise Malformed(501, "no Transfer-Encoding but chunked is served")
    request.length = None


def _note_expect(request: Request, value: bytes) -> None:
    request.expects = value.lower() == b"100-continue" and request.version == "1.1"


def _note_upgrade(request: Request, value: bytes) -> None:
    offers = (offer.strip() for offer in value.lower().split(b","))
    request.websocket = request.websocket or b"websocket" in offers


_NOTED: Final[dict[bytes, Callable[[Request, bytes], None]]] = {
    b"host": _note_host,
    b"content-length": _note_length,
    b"transfer-encoding": _note_encoding,
    b"expect": _note_expect,
    b"upgrade": _note_upgrade,
}
_known_host = lru_cache(256)(valid_host)
