"""Multipart forms as they arrive (RFC 7578): one part after the other, the body of each as a stream.

Carries the promise of linear time and bounded memory: at most 64 KiB of a body are looked at at
once, and nothing is kept. Finding boundaries and header lines is left to the package `multipart`,
which is loaded with the first form; collecting parts into a form, to kui.forms.
"""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from baize.datastructures import ContentType, Headers
from baize.exceptions import HTTPException

from .http.charsets import codec_of
from .http.media import parse_content_type
from .limits import DEFAULT_LIMITS, Limits

__all__ = ["MultipartReader", "Part", "parse_multipart"]

_SLICE: Final = 64 * 1024
_MOST_HEADERS: Final = 16
_MALFORMED: Final = "The multipart body is malformed"


class _End:
    """Stands for the end of the body among the events of the parser."""


_END: Final = _End()


class Part:
    """One part of a form: `async for chunk in part`, or `await part.read()`.

    `name` is the field's name; `filename` the last component of the file's name without control
    characters, None for a field; `headers` the part's own, and `content_type` the one among them,
    `""` where none was sent. `filename*` is ignored (RFC 7578 4.2).

    Its body can be read once, and until the next part is asked for. Where reading is cancelled,
    nothing is lost, and it can be read on.
    """

    __slots__ = ("_done", "_kept", "_reader", "content_type", "filename", "headers", "name", "size")

    def __init__(
        self, reader: MultipartReader, name: str, filename: str | None, headers: Headers
    ) -> None:
        self._reader = reader
        self._kept = bytearray()  # what a cancelled read has got so far
        self._done = False
        self.name = name
        self.filename = filename
        self.headers = headers
        self.content_type: str = headers.get("content-type", "")
        self.size = 0
        """How many bytes of its body have arrived so far."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if chunk := await self.next_chunk():
            return chunk
        raise StopAsyncIteration

    async def next_chunk(self) -> bytes:
        """Return the next bytes of the body as soon as they arrive, and `b""` after the last.

        Raises what `read` raises, but for its own limit.
        """
        if self._kept:
            chunk = bytes(self._kept)
            self._kept.clear()
            return chunk
        return await self._receive()

    async def _receive(self) -> bytes:
        if self._done:
            return b""
        chunk = await self._reader._next_chunk(self)
        self._done = not chunk
        return chunk

    async def read(self, limit: int | None = None) -> bytes:
        """Return what is left of this part's body.

        :param limit: the most bytes to keep in memory; None: `Limits.body` of the request.
        :raises HTTPException: 413 if there is more, or another limit was reached; 400 if the body
            is malformed or ends too early.
        :raises RuntimeError: if the next part was asked for before.
        """
        if limit is None:
            limit = self._reader.limits.body
        kept = self._kept
        while True:
            if len(kept) > limit:
                raise HTTPException(413, content=f"A part may have at most {limit} bytes here.")
            if self._done:
                break
            kept += await self._receive()
        body = bytes(kept)
        kept.clear()
        return body

    async def text(self, limit: int | None = None) -> str:
        """Return what is left of this part's body as text, in the part's charset, else UTF-8.

        What does not fit the charset becomes U+FFFD; a field `_charset_` has no meaning here.
        Raises what `read` raises, and HTTPException 400 for a charset that is not known.
        """
        codec = "utf-8"
        if ";" in self.content_type:
            charset = parse_content_type(self.content_type).options.get("charset")
            codec = codec_of(charset) if charset else codec
        return (await self.read(limit)).decode(codec, "replace")

    def __repr__(self) -> str:
        return f"<Part {self.name!r} filename={self.filename!r}>"


class MultipartReader:
    """The parts of one body, in order; an asynchronous iterator, and the only reader of `chunks`.

    There is nothing to close: leaving it in the middle leaves the rest of the body unread. See
    `parse_multipart`, which makes it.
    """

    __slots__ = (
        "_chunk",
        "_chunks",
        "_ended",
        "_error_type",
        "_events",
        "_failure",
        "_field_bytes",
        "_limit_type",
        "_offset",
        "_outside",
        "_parse_disposition",
        "_parser",
        "_part",
        "_passed",
        "_waiting",
        "limits",
    )

    def __init__(
        self, chunks: AsyncIterator[bytes], content_type: ContentType, limits: Limits
    ) -> None:
        from multipart import (  # type: ignore[import-untyped]  # one module cannot be marked typed
            MultipartError,
            ParserLimitReached,
            PushMultipartParser,
            parse_content_disposition,
        )

        self.limits = limits
        self._chunks = chunks
        self._error_type: type[Exception] = MultipartError
        self._limit_type: type[Exception] = ParserLimitReached
        self._parse_disposition = parse_content_disposition
        # Latin-1 keeps every byte of the headers; they are read as UTF-8 afterwards.
        self._parser = PushMultipartParser(
            _boundary(content_type),
            max_header_size=limits.part_headers,
            max_header_count=_MOST_HEADERS,
            max_segment_count=limits.parts,
            header_charset="latin-1",
        )
        self._events: Iterator[Any] = iter(())
        self._chunk = b""
        self._offset = 0
        self._part: Part | None = None  # the one whose body comes next
        self._passed = False  # and has the next one been asked for?
        self._field_bytes = 0
        self._outside = 0
        self._ended = False
        self._waiting = False
        self._failure: HTTPException[str] | None = None

    def __aiter__(self) -> AsyncIterator[Part]:
        return self

    async def __anext__(self) -> Part:
        if self._part is not None:
            self._passed = True  # even if this is cancelled before the rest of it was skipped
        while True:
            event = await self._next_event()
            if isinstance(event, _End):
                raise StopAsyncIteration
            if event is None:
                self._part = None
            elif self._part is not None:
                self._count(self._part, event)
            else:
                self._part, self._passed = self._open(event), False
                return self._part

    async def _next_chunk(self, part: Part) -> bytes:
        if self._part is not part or self._passed:
            raise RuntimeError("read a part before you ask for the next one; now it is gone")
        event = await self._next_event()
        if event is None:
            self._part = None
            return b""
        self._count(part, event)
        chunk: bytes = event
        return chunk

    async def _next_event(self) -> Any:
        """Return what the parser finds next: a part's head, bytes of a body, its end, or _END."""
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                for event in self._events:
                    self._outside = 0
                    return event
                if self._ended:
                    return _END
                if self._offset >= len(self._chunk):
                    chunk = await self._receive()
                    if chunk is None:
                        self._ended = True
                        self._parser.close()
                        return _END
                    if not chunk:
                        continue
                    self._chunk, self._offset = chunk, 0
                part = self._chunk[self._offset : self._offset + _SLICE]
                self._offset += _SLICE
                if self._part is None:
                    self._outside += len(part)
                    if self._outside > self.limits.part_headers + 2 * _SLICE:
                        raise self._fail(413, f"{_MALFORMED}: too much stands outside its parts.")
                self._events = self._parser.parse(part)
            except self._limit_type:
                raise self._fail(413, "The multipart body has too many parts or headers.") from None
            except self._error_type as error:
                sentence = _MALFORMED
                if self._ended:
                    sentence = "The multipart body ends before its last boundary"
                raise self._fail(400, f"{sentence}.") from error

    async def _receive(self) -> bytes | None:
        if self._waiting:
            raise RuntimeError("two tasks read the parts of one form")
        self._waiting = True
        try:
            return await anext(self._chunks, None)
        finally:
            self._waiting = False

    def _fail(self, status: int, sentence: str) -> HTTPException[str]:
        self._failure = HTTPException(status, content=sentence)
        return self._failure

    def _open(self, segment: Any) -> Part:
        lines = [(name, _text(value)) for name, value in segment.headerlist]
        if sum(len(name) + len(value) + 4 for name, value in lines) > self.limits.part_headers:
            raise self._fail(413, "The headers of a part are too large.")
        name, filename = _text(segment.name), segment.filename
        if not name and self._parse_disposition(segment["Content-Disposition"])[1] is None:
            raise self._fail(400, "A part has no name.")
        part = Part(
            self, name, None if filename is None else _clean(_text(filename)), Headers(lines)
        )
        if filename is None:
            self._count_field(len(name))
        return part

    def _count(self, part: Part, chunk: bytes) -> None:
        part.size += len(chunk)
        if part.filename is None:
            self._count_field(len(chunk))
        elif part.size > self.limits.file_bytes:
            limit = self.limits.file_bytes
            raise self._fail(413, f"A file may have at most {limit} bytes.")

    def _count_field(self, size: int) -> None:
        self._field_bytes += size
        if self._field_bytes > self.limits.field_bytes:
            limit = self.limits.field_bytes
            raise self._fail(413, f"The fields of a form may have at most {limit} bytes in total.")


def parse_multipart(
    chunks: AsyncIterator[bytes], content_type: ContentType, limits: Limits = DEFAULT_LIMITS
) -> MultipartReader:
    """Return the parts of a multipart form, each as soon as it arrives.

    :param chunks: the body, in chunks of any size; read no further than needed, and to its end
        before the iteration ends.
    :param content_type: the request's Content-Type, which has the boundary.
    :param limits: they hold however the parts are read; a part without a filename is a field, and
        counts towards `field_bytes`.
    :raises HTTPException: at once: 415 if it is no form, 400 if there is no (valid) boundary. While
        iterating: 413 beyond a limit, 400 if the body is malformed, a part has no name, or the body
        ends before the last boundary.

    What `chunks` raises is raised. Asking for the next part skips what is left of this one. A
    cancelled wait loses nothing: ask again.

    Example::

        async for part in parse_multipart(request.stream(), request.content_type):
            async for chunk in part:
                await store(part.filename, chunk)
    """
    return MultipartReader(chunks, content_type, limits)


def _boundary(content_type: ContentType) -> bytes:
    if content_type.type.lower() != "multipart/form-data":
        raise HTTPException(
            415,
            headers={"accept": "multipart/form-data"},
            content="A multipart form is wanted here.",
        )
    boundary = content_type.options.get("boundary", "")
    # RFC 2046 5.1.1; any visible ASCII will do, since some clients do not keep to its list.
    if not (0 < len(boundary) <= 70 and boundary.isascii() and boundary.isprintable()):
        raise HTTPException(400, content="The multipart body has no valid boundary.")
    return boundary.encode("ascii")


def _text(raw: str) -> str:
    return raw if raw.isascii() else raw.encode("latin-1").decode("utf-8", "replace")


def _clean(filename: str) -> str:
    """Return the last component of a file's name, with no control characters; never `.` or `..`."""
    visible = "".join([char for char in filename if unicodedata.category(char) != "Cc"])
    last = visible.replace("\\", "/").rpartition("/")[2].strip()
    return "" if last in (".", "..") else last
