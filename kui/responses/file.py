"""Send a file: whole, in parts, or as "not modified" (RFC 9110, sections 13 to 15).

`kui.http.ranges` decides what a request gets, `open_files` reads the file, and `validators` makes its ETag. This module
makes the response and sends it.
"""

from __future__ import annotations

import errno
import io
import os
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Final, NamedTuple
from urllib.parse import quote

from baize.typing import Message, Receive, Scope, Send

from kui.concurrency.http.exchange import ClientDisconnect, Exchange, Gone
from kui.concurrency.http.ownership import exchange_of
from kui.concurrency.http.watched_send import watched_send
from kui.habits import FILE_PARAMETERS, told
from kui.http.dates import format_date, parse_date
from kui.http.exceptions import HTTPException
from kui.http.headers import RawHeaders
from kui.http.media_types import OCTETS, guess_content_type
from kui.http.ranges import ByteRange, Choice, Validators, choose, conditions
from kui.http.text import whole_text
from kui.responses.open_files import NotRegularFile, OpenFile, open_file, refuse_irregular

from .base import HttpResponse
from .validators import FileState, file_state

__all__ = ["FileResponse", "content_disposition"]

# These headers describe the bytes that are sent; a user's own are replaced.
_FRAMING: Final = frozenset((b"content-length", b"content-range", b"accept-ranges"))
# These describe a representation that a 304 does not have (RFC 9110, 15.4.5),
_NOT_IN_304: Final = _FRAMING | {
    b"content-type",
    b"content-encoding",
    b"content-language",
    b"content-disposition",
    b"last-modified",
}
# and these one that an error is not about.
_NOT_IN_ERRORS: Final = _NOT_IN_304 | {b"etag", b"cache-control", b"expires"}

# The characters that RFC 8187 allows in `filename*` besides letters and digits.
_ATTR_CHARS: Final = "!#$&+-.^_`|~"
# What a quoted filename may hold so that all browsers read it alike (RFC 6266, appendix D).
_PLAIN: Final = frozenset(map(chr, range(0x20, 0x7F))) - set('"%/\\')


class _Part(NamedTuple):
    """The bytes of the file from `start` to before `stop`, at least one, after the bytes of `head`."""

    head: bytes
    start: int
    stop: int


class _Body(NamedTuple):
    """The body: parts of the file, then `tail`, in all `length` bytes."""

    parts: tuple[_Part, ...] = ()
    tail: bytes = b""

    @property
    def length(self) -> int:
        inside = sum(len(head) + stop - start for head, start, stop in self.parts)
        return inside + len(self.tail)


class FileResponse(HttpResponse):
    """A file, sent without blocking the event loop and without holding it in memory.

    With status 200, it answers conditional requests, and GET answers one or several ranges, by RFC 9110: 304, 206, 412,
    416. Size, ETag and Last-Modified are those of the file at the moment when it was opened; an ETag or a Last-Modified
    among the headers replaces them. The ETag is a digest of the content up to 4 MiB, so that copies have the same one,
    and of size and mtime for larger files. It is weak while the file is younger than 2 s; in the first second there is
    no Last-Modified. If the server offers `zerocopysend` or `pathsend` (ASGI extensions), the file is sent by it.

    If the client leaves, sending ends. The descriptor is always closed.

    :param filepath: the path of the file.
    :param headers: as for HttpResponse.
    :param content_type: by default guessed from the name of the file, with UTF-8 for text. A Content-Type among the
        headers is preferred.
    :param download_name: the name under which a browser saves the file, any text; None to show it.
    :param stat_result: what the caller knows of the file already. If it is a directory or a device, nothing is opened.
    :param chunk_size: how many bytes are read and sent at once.
    :param status_code: as for HttpResponse.
    :raises ValueError: `chunk_size` is less than 1, or HttpResponse refuses an argument.
    :raises TypeError: `filepath` is no path.

    Sending it raises:

    :raises HTTPException: 404, if there is no such regular file; nothing was sent then.
    :raises OSError: the operating system refuses to open or read the file, for example with PermissionError.
    :raises FileShrank: the file has become shorter meanwhile; the connection is cut. If it has grown, only the promised
        bytes are sent.

    Example::

        return FileResponse("reports/7.pdf", download_name="Übersicht 2026.pdf")
    """

    __slots__ = ("chunk_size", "filepath", "stat_result")

    @told(FILE_PARAMETERS)
    def __init__(
        self,
        filepath: str | os.PathLike[str],
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        download_name: str | None = None,
        stat_result: os.stat_result | None = None,
        chunk_size: int = 262144,
        *,
        status_code: int = 200,
    ) -> None:
        super().__init__(status_code, headers)
        if chunk_size < 1:
            raise ValueError(f"chunk_size is a number of bytes, at least 1, not {chunk_size!r}")
        self.filepath = os.fsdecode(filepath)
        self.stat_result = stat_result
        self.chunk_size = chunk_size
        self.body = None
        own = self.headers
        if "content-type" not in own:
            own["content-type"] = content_type or self._guess(download_name)
        if download_name is not None:
            own["content-disposition"] = content_disposition(download_name)

    def _guess(self, download_name: str | None) -> str:
        encoded = "content-encoding" in self.headers
        if download_name and (kind := guess_content_type(download_name, encoded)) != OCTETS:
            return kind
        return guess_content_type(self.filepath, encoded)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file. This makes the response an ASGI application. See the class for what it raises."""
        async with exchange_of(scope, receive, send) as exchange:
            exchange.give_up_body()
            try:
                await self._send(scope, exchange)
            except ClientDisconnect:
                pass  # the server's `send` has raised; with other servers only the exchange knows

    async def _send(self, scope: Scope, exchange: Exchange) -> None:
        method = scope["method"]
        if self.status_code < 200 or self.status_code in (204, 205, 304):
            for message in self.messages(method, b""):
                await exchange.send(message)
            return
        file = await self._open()
        try:
            start, body = await self._answer(scope, file)
            extensions = scope.get("extensions") or ()
            if method == "HEAD" or not body.parts:
                file.close()
                await exchange.send(start)
                await exchange.send({"type": "http.response.body", "body": b""})
            elif "http.response.zerocopysend" in extensions:
                await _send_descriptor(start, body, file, exchange)
            elif "http.response.pathsend" in extensions and start["status"] != 206:
                file.close()
                await exchange.send(start)
                await exchange.send(_pathsend(self.filepath))
            else:
                await _send_chunks(start, body, file, exchange, self.chunk_size)
        finally:
            file.close()

    async def _open(self) -> OpenFile:
        try:
            if self.stat_result is not None:
                refuse_irregular(self.stat_result, self.filepath)
            return await open_file(self.filepath)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, NotRegularFile) as error:
            raise HTTPException(404) from error
        except ValueError as error:  # a NUL, or a surrogate that no name can have
            raise HTTPException(404) from error
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                raise HTTPException(404) from error
            raise

    async def _answer(self, scope: Scope, file: OpenFile) -> tuple[Message, _Body]:
        """Return the message that starts the response, and the body, by the request's method and headers."""
        raw = self.raw_headers()
        own = dict(raw)
        validators, last_modified = await _state(own, file)
        if b"etag" not in own:
            raw.append((b"etag", validators.etag.encode("latin-1")))
        if last_modified is not None:
            raw.append((b"last-modified", _http_date(last_modified)))
        choice = Choice(200)
        if self.status_code == 200 and (asked := conditions(scope["headers"])):
            choice = choose(scope["method"], asked, file.size, validators)
        status, ranges = choice
        if status == 200:
            status = self.status_code
            body = _Body((_Part(b"", 0, file.size),) if file.size else ())
        elif status == 206:
            raw, body = _partial(raw, ranges, file.size)
        else:
            return _refusal(status, raw, file.size), _Body()
        if not _FRAMING.isdisjoint(own):
            raw = [header for header in raw if header[0] not in _FRAMING]
        raw.append((b"accept-ranges", b"bytes"))
        raw.append((b"content-length", b"%d" % body.length))
        return {"type": "http.response.start", "status": status, "headers": raw}, body


async def _state(own: Mapping[bytes, bytes], file: OpenFile) -> FileState:
    """Return the validators among the headers, or by default those of the file."""
    etag = own[b"etag"].decode("latin-1") if b"etag" in own else None
    if b"last-modified" not in own:
        state = await file_state(file)
        return state if etag is None else state.with_etag(etag)
    date = parse_date(own[b"last-modified"].decode("latin-1"))
    if etag is None:
        etag = (await file_state(file)).validators.etag
    return FileState(Validators(etag, None if date is None else int(date.timestamp())), None)


def _refusal(status: int, raw: RawHeaders, size: int) -> Message:
    """Return the start of a response without content: 304, 412 or 416."""
    absent = _NOT_IN_304 if status == 304 else _NOT_IN_ERRORS
    raw = [header for header in raw if header[0] not in absent]
    if status == 416:
        raw.append((b"content-range", b"bytes */%d" % size))
    if status != 304:
        raw.append((b"content-length", b"0"))
    return {"type": "http.response.start", "status": status, "headers": raw}


def _partial(raw: RawHeaders, ranges: tuple[ByteRange, ...], size: int) -> tuple[RawHeaders, _Body]:
    """Return the headers and the body for these ranges of the file (RFC 9110, 14.6 and 15.3.7)."""
    if len(ranges) == 1:
        where = (b"content-range", ranges[0].content_range(size).encode())
        return [*raw, where], _Body((_Part(b"", *ranges[0]),))
    boundary = os.urandom(16).hex().encode()
    kind = dict(raw).get(b"content-type")  # None if the user has removed it
    described = b"" if kind is None else b"Content-Type: %s\r\n" % kind
    parts = []
    before = b""
    for part in ranges:
        head = b"%s--%s\r\n%sContent-Range: %s\r\n\r\n"
        values = (before, boundary, described, part.content_range(size).encode())
        parts.append(_Part(head % values, *part))
        before = b"\r\n"
    raw = [header for header in raw if header[0] != b"content-type"]
    raw.append((b"content-type", b"multipart/byteranges; boundary=" + boundary))
    return raw, _Body(tuple(parts), b"\r\n--%s--\r\n" % boundary)


async def _send_chunks(
    start: Message, body: _Body, file: OpenFile, exchange: Exchange, chunk_size: int
) -> None:
    chunks = _Chunks(body, file, chunk_size)
    first = await chunks.next()  # read before the start is sent, because it may fail
    await exchange.send(start)
    last: bytes | None = first
    if chunks.left:
        most = partial(chunks.send_all_but_the_last, first, exchange)
        last = await watched_send(exchange, most)
    if last is not None:
        file.close()
        await exchange.send({"type": "http.response.body", "body": last})


class _Chunks:
    """Reads the chunks of a body in order. `left` is the number of bytes that remain."""

    __slots__ = ("_chunk_size", "_file", "_head", "_parts", "_start", "_stop", "_tail", "left")

    def __init__(self, body: _Body, file: OpenFile, chunk_size: int) -> None:
        self._parts = iter(body.parts)
        self._head, self._start, self._stop = next(self._parts)
        self._tail = body.tail
        self._file = file
        self._chunk_size = chunk_size
        self.left = body.length

    async def next(self) -> bytes:
        """Return the next chunk; the last one ends with the tail. Raises what `OpenFile.read` raises."""
        if self._start == self._stop:
            self._head, self._start, self._stop = next(self._parts)
        wanted = min(self._chunk_size, self._stop - self._start)
        data = await self._file.read(self._start, wanted)
        self._start += len(data)
        chunk = self._head + data
        self._head = b""
        if len(chunk) + len(self._tail) == self.left:
            chunk += self._tail
        self.left -= len(chunk)
        return chunk

    async def send_all_but_the_last(self, chunk: bytes, exchange: Exchange) -> bytes | None:
        """Send this chunk and the next ones, and return the last; None if the client has left."""
        while self.left:
            await exchange.send_chunk(chunk)
            if exchange.gone is not None and exchange.gone is not Gone.DRAIN:
                return None
            chunk = await self.next()
        return chunk


def _pathsend(path: str) -> Message:
    return {"type": "http.response.pathsend", "path": os.path.abspath(path)}


class _Descriptor(io.FileIO):
    """A file descriptor object for `zerocopysend`: some servers use it as a file, others as an int."""

    def __index__(self) -> int:
        return self.fileno()


async def _send_descriptor(start: Message, body: _Body, file: OpenFile, exchange: Exchange) -> None:
    last = body.parts[-1]
    with _Descriptor(file.fileno(), "rb", closefd=False) as descriptor:
        await exchange.send(start)
        for part in body.parts:
            if part.head:
                await exchange.send(
                    {"type": "http.response.body", "body": part.head, "more_body": True}
                )
            await exchange.send(
                {
                    "type": "http.response.zerocopysend",
                    "file": descriptor,
                    "offset": part.start,
                    "count": part.stop - part.start,
                    "more_body": part is not last or bool(body.tail),
                }
            )
            if exchange.gone is not None:
                return
        if body.tail:
            await exchange.send({"type": "http.response.body", "body": body.tail})


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> bytes:
    return format_date(datetime.fromtimestamp(seconds, UTC)).encode()


def content_disposition(name: str) -> str:
    """Return the Content-Disposition with which a browser saves a response under a name (RFC 6266).

    A name that is not plain ASCII is given twice, the second time as `filename*` (RFC 8187), which today's browsers
    prefer. A lone surrogate becomes U+FFFD.

    :param name: any text.

    Example: `content_disposition("é.txt")` -> `attachment; filename="e.txt"; filename*=UTF-8''%C3%A9.txt`
    """
    if not name:
        return "attachment"
    if _PLAIN.issuperset(name):
        return f'attachment; filename="{name}"'
    letters = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    fallback = "".join(letter if letter in _PLAIN else "_" for letter in letters)
    encoded = quote(whole_text(name), safe=_ATTR_CHARS)
    return f"attachment; filename=\"{fallback}\"; filename*=UTF-8''{encoded}"
