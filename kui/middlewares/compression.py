"""Compression of responses while they are sent; handlers and responses are not involved.

The compression sits between the exchange and the server, after everything else that may change a message. The
choice of the coding, and the encoders, are in `http/codings.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Final

from baize.typing import Message, Send

from kui.concurrency import Limiter, in_thread
from kui.current import request_var
from kui.http.codings import Coder, available, compressible, maker, preferred
from kui.http.exceptions import HTTPException
from kui.http.headers import RawHeaders, merge_headers
from kui.http.media import parse_content_length
from kui.http.ranges import parse_etags
from kui.views import Endpoint

from .placement import makes_middleware, only_for

__all__ = ["compress"]

IN_LOOP: Final = 32 * 1024
"""How many bytes are compressed in the event loop, at most, in half a millisecond; more are compressed in a thread."""

_COMPRESSING: Final = Limiter(os.cpu_count() or 1)

_VARY: Final = (b"vary", b"Accept-Encoding")
_FILES: Final = ("http.response.pathsend", "http.response.zerocopysend")
# These headers describe the bytes that are sent, so they would be wrong afterwards.
_DIGESTS: Final = frozenset((b"digest", b"content-digest", b"content-md5", b"signature"))


@makes_middleware
def compress(
    *,
    minimum_size: int = 500,
    codings: Iterable[str] | None = None,
    levels: Mapping[str, int] | None = None,
    types: Callable[[str], bool] = compressible,
) -> Callable[[Endpoint], Endpoint]:
    """Make a middleware that compresses responses, including errors and the responses of mounted apps.

    The client's Accept-Encoding selects the coding, by weight; a client that accepts neither an offered
    coding nor `identity` gets 406 (RFC 9110, 12.5.3). A response that may be compressed has
    `Vary: Accept-Encoding`, and its ETag becomes weak. Streams and event streams are flushed with every
    chunk. Partial responses (206), responses with a Content-Encoding, with `no-transform` or with a
    digest are sent unchanged. Do not use it on routes whose responses contain both a secret and input
    of the client (BREACH).

    :param minimum_size: in bytes; a response of a known, smaller length is sent unchanged.
    :param codings: the codings to offer, the preferred first, of gzip, br and zstd; by default all whose
        packages are installed (the extra `compression`).
    :param levels: the level of each coding, from 1 to 9 (gzip), 11 (br) or 19 (zstd).
    :param types: a function of a media type, such as `text/html`; True if it is compressed.
    :raises ValueError: a number, coding or level makes no sense.
    :raises TypeError: an argument has a wrong type.
    :raises ImportError: the package of a coding is not installed.

    Example::

        app = Kui(http_middlewares=[compress()])
    """
    if isinstance(minimum_size, bool) or not isinstance(minimum_size, int) or minimum_size < 0:
        raise ValueError(f"minimum_size is a number of bytes, not {minimum_size!r}")
    levels = dict(levels or {})
    offered = _names(codings)
    makers = {name: maker(name, levels.pop(name, None)) for name in offered}
    if levels:
        raise ValueError(f"levels has {next(iter(levels))!r}, which is not offered")

    @only_for("HTTP", "compress()")
    def middleware(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def compressed() -> Any:
            request = request_var.get()
            coding, identity = preferred(request.headers.get("accept-encoding"), offered)
            if coding is None and not identity:
                raise HTTPException(406, content="No content coding is left that you accept.")
            scope = request.scope
            if coding is not None and scope.get("extensions"):
                # A file that the server itself reads would bypass the compression.
                scope["extensions"] = {
                    name: value for name, value in scope["extensions"].items() if name not in _FILES
                }
            exchange = request.exchange
            exchange.server_send = _Compression(
                exchange.server_send,
                None if coding is None else makers[coding],
                coding or "",
                identity,
                request.method == "HEAD",
                request.headers.get("if-none-match", ""),
                minimum_size,
                types,
            ).send
            return await endpoint()

        return compressed

    return middleware


def _names(names: Iterable[str] | None) -> list[str]:
    if names is None:
        return available()
    if isinstance(names, str):
        raise TypeError(f"codings is a list of names, such as [{names!r}]")
    return list(names)


class _Compression:
    """Compresses the messages of one response."""

    __slots__ = (
        "_coder",
        "_coding",
        "_flushes",
        "_head",
        "_held",
        "_identity",
        "_if_none_match",
        "_make",
        "_minimum_size",
        "_send",
        "_types",
    )

    def __init__(
        self,
        send: Send,
        make: Callable[[], Coder] | None,
        coding: str,
        identity: bool,
        head: bool,
        if_none_match: str,
        minimum_size: int,
        types: Callable[[str], bool],
    ) -> None:
        self._send = send
        self._make = make
        self._coding = coding.encode()
        self._identity = identity
        self._head = head
        self._if_none_match = if_none_match
        self._minimum_size = minimum_size
        self._types = types
        self._coder: Coder | None = None
        self._flushes = False
        self._held: Message | None = (
            None  # the start message, until the first body message shows whether others follow
        )

    async def send(self, message: Message) -> None:
        """Send a message; a part of a body that is compressed is compressed first."""
        kind = message["type"]
        if kind == "http.response.start":
            await self._begin(message)
        elif self._coder is None or kind != "http.response.body":
            await self._let_go()
            await self._send(message)
        else:
            await self._compress(message, self._coder)

    async def _begin(self, start: Message) -> None:
        headers: RawHeaders = list(start.get("headers", ()))
        fields = dict(headers)
        length = parse_content_length(fields.get(b"content-length", b"").decode("latin-1"))
        if start["status"] == 304:
            headers = self._not_modified(headers, fields)
        elif self._may_be(start["status"], fields, length):
            headers = merge_headers(headers, [_VARY])
            if self._make is not None and start["status"] != 206:
                headers = _described(headers, self._coding)
                self._coder = None if self._head else self._make()
                self._flushes = length is None
        start = {**start, "headers": headers}
        if self._coder is not None and length is not None:
            self._held = start
        else:
            await self._send(start)

    def _may_be(self, status: int, fields: Mapping[bytes, bytes], length: int | None) -> bool:
        """True if this response may be compressed for a client that accepts it."""
        if status < 200 or status in (204, 205) or length == 0 or fields.keys() & _DIGESTS:
            return False
        if fields.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            return False
        if b"no-transform" in fields.get(b"cache-control", b"").lower():
            return False
        if not self._identity and status != 206:
            return True  # the client refuses the uncompressed form
        if status != 206 and length is not None and length < self._minimum_size:
            return False
        media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        return self._types(media_type.decode("latin-1"))

    def _not_modified(self, headers: RawHeaders, fields: Mapping[bytes, bytes]) -> RawHeaders:
        """Return the headers of a 304; its ETag must be that of the response that the client has."""
        etag = fields.get(b"etag", b"")
        known = parse_etags(self._if_none_match)
        if etag.startswith(b'"') and etag.decode("latin-1") not in known:
            weak = b"W/" + etag
            if weak.decode("latin-1") in known:
                headers = merge_headers(headers, [(b"etag", weak)])
        return merge_headers(headers, [_VARY])

    async def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await self._send(held)

    async def _compress(self, message: Message, coder: Coder) -> None:
        more = message.get("more_body", False)
        body = message.get("body", b"")
        if len(body) > IN_LOOP:
            data = await in_thread(self._run, coder, body, more, limiter=_COMPRESSING)
        else:
            data = self._run(coder, body, more)
        if self._held is not None:
            if not more:
                length = (b"content-length", b"%d" % len(data))
                self._held["headers"] = [*self._held["headers"], length]
            await self._let_go()
        if data or not more:
            await self._send({**message, "body": data})

    def _run(self, coder: Coder, body: bytes, more: bool) -> bytes:
        data = coder.compress(body) if body else b""
        if not more:
            return data + coder.finish()
        return data + coder.flush() if self._flushes else data


def _described(headers: RawHeaders, coding: bytes) -> RawHeaders:
    """Return the headers of a response that is compressed."""
    described = [(b"content-encoding", coding)]
    for name, value in headers:
        if name == b"etag" and value.startswith(b'"'):
            described.append((name, b"W/" + value))
        elif name not in (b"content-length", b"accept-ranges", b"content-encoding"):
            described.append((name, value))
    return described
