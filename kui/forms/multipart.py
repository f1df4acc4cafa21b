"""Parse a multipart form as it arrives (RFC 7578): one part after the other, the body of each as a stream.

This takes linear time and bounded memory: at most 64 KiB of a body are parsed at once, and nothing is kept. The package
`multipart`, which is imported with the first form, finds the parts, after `kui.forms.boundaries` has rewritten the
body. `kui.forms.disposition` parses the heads, and `kui.forms.collector` collects the parts into a form.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Generator
from functools import cache
from typing import Any, Final, TypeAlias

from baize.datastructures import ContentType, Headers

from kui.http.charsets import codec_of
from kui.http.exceptions import HTTPException
from kui.http.media import parse_content_length, parse_content_type
from kui.limits import DEFAULT_LIMITS, Limits

from .boundaries import BoundaryRepair
from .disposition import clean_filename, parse_disposition
from .refusals import malformed, too_large

__all__ = ["MultipartEvents", "MultipartReader", "Part", "Token", "parse_multipart"]

_SLICE: Final = 64 * 1024
_MOST_HEADERS: Final = 16


class Token(enum.Enum):
    """Events of the parser besides parts, bytes of their bodies, and their ends."""

    NOTHING = "the next chunk must be received"
    END = "the end of the body"


NOTHING: Final = Token.NOTHING
END: Final = Token.END


# A part begins, a piece of its body, its end; or none of them.
_Event: TypeAlias = "Part | bytes | Token | None"


class _PartHeaders(Headers):
    """Headers that are made of lines, which is faster than the general constructor."""

    __slots__ = ()

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        values = self._dict = {}
        for name, value in lines:
            name = name.lower()
            values[name] = f"{values[name]}, {value}" if name in values else value


class Part:
    """One part of a form: `async for chunk in part`, or `await part.read()`.

    Its body can be read once, and only until the next part is requested. If reading is cancelled, nothing is lost.

    - `name`: the name of the field.
    - `filename`: the last component of the file's name, without control characters; None for a field. `filename*` is
      used if there is no `filename` (RFC 7578, section 4.2).
    """

    __slots__ = ("_done", "_headers", "_kept", "_lines", "_reader", "filename", "name", "size")

    _reader: MultipartReader  # set by it

    def __init__(self, name: str, filename: str | None, lines: list[tuple[str, str]]) -> None:
        self.name = name
        self.filename = filename
        self.size = 0
        """How many bytes of its body have arrived so far."""
        self._lines = lines
        self._headers: Headers | None = None
        self._kept = bytearray()  # what a cancelled `read` has received
        self._done = False

    @property
    def headers(self) -> Headers:
        """The part's own headers."""
        if self._headers is None:
            self._headers = _PartHeaders(self._lines)
        return self._headers

    def _check_size(self) -> None:
        """Refuse a body whose length differs from the Content-Length in its head."""
        if len(self._lines) > 1 and "content-length" in self.headers:
            length = self.headers["content-length"]
            if parse_content_length(length) != self.size:
                raise malformed("has a part of another length than it says")

    @property
    def content_type(self) -> str:
        """The part's Content-Type; "" if there is none."""
        return self.headers.get("content-type", "")

    @property
    def codec(self) -> str:
        """The codec of the charset in the part's Content-Type; by default UTF-8.

        :raises HTTPException: 400, if the charset is unknown.
        """
        # One header is the Content-Disposition, and most fields have no other.
        if len(self._lines) > 1 and ";" in self.content_type:
            charset = parse_content_type(self.content_type).options.get("charset")
            if charset:
                return codec_of(charset)
        return "utf-8"

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if chunk := await self.next_chunk():
            return chunk
        raise StopAsyncIteration

    async def next_chunk(self) -> bytes:
        """Return the next bytes of the body as soon as they arrive, and `b""` at the end.

        Raises what `read` raises, except for the limit of `read`.
        """
        if self._kept:
            chunk = bytes(self._kept)
            self._kept.clear()
            return chunk
        return await self._receive()

    async def _receive(self) -> bytes:
        if self._done:
            return b""
        chunk = await self._reader._next_chunk(self)  # noqa: SLF001  # of this module
        self._done = not chunk
        return chunk

    async def read(self, limit: int | None = None) -> bytes:
        """Return the rest of this part's body.

        :param limit: how many bytes may be kept in memory; None for the request's `Limits.body`.
        :raises HTTPException: 413 if there is more, or another limit is exceeded; 400 if the body is malformed or ends
            too early.
        :raises RuntimeError: the next part was requested before.
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
        """Return the rest of this part's body as text, in the part's charset, by default UTF-8.

        Bytes that do not fit the charset become U+FFFD. A field `_charset_` has no effect. Raises what `read` raises.

        :raises HTTPException: also 400 if the charset is unknown.
        """
        codec = self.codec
        return (await self.read(limit)).decode(codec, "replace")

    def __repr__(self) -> str:
        return f"<Part {self.name!r} filename={self.filename!r}>"


class MultipartEvents:
    """The events of a multipart body, for callers that keep the parts. It alone reads `chunks`.

    `send(None)` returns the next event: a `Part` that begins, bytes of its body, None at its end, or a `Token`. After
    NOTHING, the caller must call `send(await receive())` with the next chunk. It raises the exceptions of
    `parse_multipart`, and must not be called again then.
    """

    __slots__ = ("_chunks", "_waiting", "send")

    def __init__(
        self, chunks: AsyncIterator[bytes], content_type: ContentType, limits: Limits
    ) -> None:
        boundary = _boundary(content_type)
        self._chunks = chunks
        self._waiting = False
        self.send = _events(boundary, limits).send

    async def receive(self) -> bytes:
        """Return the next chunk that is not empty; `b""` at the end. If cancelled, no chunk is lost."""
        if self._waiting:
            raise RuntimeError("two tasks read the parts of one form")
        self._waiting = True
        try:
            async for chunk in self._chunks:
                if chunk:
                    return chunk
            return b""
        finally:
            self._waiting = False


def _events(boundary: bytes, limits: Limits) -> Generator[_Event, bytes | None, None]:
    """Yield the events of `MultipartEvents`, and check the limits. After the end, yield END each time."""
    library = _library()
    repair = BoundaryRepair(boundary, most_head=limits.part_headers)
    # Latin-1 keeps each byte of the headers; they are decoded as UTF-8 afterwards.
    parser = library.PushMultipartParser(
        boundary,
        max_header_size=limits.part_headers,
        max_header_count=_MOST_HEADERS,
        max_segment_count=limits.parts,
        header_charset="latin-1",
    )
    part: Part | None = None  # the part whose body is being parsed
    outside = field_bytes = 0
    problem = "is malformed"
    try:
        while True:
            chunk = yield NOTHING
            if chunk is None:
                continue
            for start in range(0, len(chunk) or 1, _SLICE):
                piece = chunk[start : start + _SLICE]
                repaired = repair.feed(piece) if piece else repair.close()
                if part is None:
                    outside += len(piece)
                    if outside > limits.part_headers + 2 * _SLICE:
                        raise too_large("has too much outside its parts")
                for found in parser.parse(repaired) if repaired else ():
                    outside = 0
                    event: Part | bytes | None
                    if found is None:
                        if part is not None:
                            part._check_size()  # noqa: SLF001  # of this module
                        part = event = None
                    elif part is None:
                        part = event = _part(found, limits)
                        if part.filename is None:
                            field_bytes += len(part.name)
                    else:
                        event = found
                        part.size += len(found)
                        if part.filename is None:
                            field_bytes += len(found)
                        elif part.size > limits.file_bytes:
                            raise _refusal(f"A file may have at most {limits.file_bytes} bytes.")
                    if field_bytes > limits.field_bytes:
                        raise _refusal(
                            f"The fields of a form may have at most {limits.field_bytes} bytes in"
                            " total."
                        )
                    yield event
            if not chunk:
                break
        problem = "ends before its last boundary"
        parser.close()
    except library.ParserLimitReached:
        raise too_large("has too many parts or headers") from None
    except library.MultipartError as error:
        raise malformed(problem) from error
    while True:
        yield END


@cache
def _library() -> Any:
    import multipart  # type: ignore[import-untyped]  # it has no types

    return multipart


def _part(segment: Any, limits: Limits) -> Part:
    """Return the part with a head.

    :raises HTTPException: 413 if the head is too large, 400 if it names no field.
    """
    lines = [(name.lower(), _text(value)) for name, value in segment.headerlist]
    if sum(len(name) + len(value) + 4 for name, value in lines) > limits.part_headers:
        raise too_large("has a part whose headers are too large")
    if any("\r" in value or "\n" in value for _, value in lines):
        raise malformed("has a line end in a header")
    dispositions = [value for name, value in lines if name == "content-disposition"]
    disposition = parse_disposition(dispositions[0]) if len(dispositions) == 1 else None
    if disposition is None:
        raise malformed("has a part without a name")
    name, filename = disposition
    return Part(name, None if filename is None else clean_filename(filename), lines)


def _text(raw: str) -> str:
    return raw if raw.isascii() else raw.encode("latin-1").decode("utf-8", "replace")


def _refusal(sentence: str) -> HTTPException[str]:
    return HTTPException(413, content=sentence)


class MultipartReader:
    """Iterates over the parts of one body, in order. It alone reads `chunks`. `parse_multipart` makes it.

    It need not be closed: leaving the loop leaves the rest of the body unread.
    """

    __slots__ = ("_events", "_failure", "_part", "limits")

    def __init__(
        self, chunks: AsyncIterator[bytes], content_type: ContentType, limits: Limits
    ) -> None:
        self.limits = limits
        self._events = MultipartEvents(chunks, content_type, limits)
        self._part: Part | None = None  # the one whose body can be read
        self._failure: HTTPException[str] | None = None

    def __aiter__(self) -> AsyncIterator[Part]:
        return self

    async def __anext__(self) -> Part:
        self._part = None  # set before the rest of it is skipped, which may be cancelled
        while True:
            event = await self._next_event()
            if isinstance(event, Part):
                event._reader = self  # noqa: SLF001  # of this module
                self._part = event
                return event
            if event is END:
                raise StopAsyncIteration

    async def _next_chunk(self, part: Part) -> bytes:
        if self._part is not part:
            raise RuntimeError("read a part before you ask for the next one; now it is gone")
        event = await self._next_event()
        if isinstance(event, bytes):
            return event
        self._part = None
        return b""

    async def _next_event(self) -> _Event:
        """Return the next event that is not NOTHING."""
        if self._failure is not None:
            raise self._failure
        events = self._events
        chunk = None
        while True:
            try:
                event = events.send(chunk)
            except HTTPException as failure:
                self._failure = failure
                raise
            if event is not NOTHING:
                return event
            chunk = await events.receive()


def parse_multipart(
    chunks: AsyncIterator[bytes], content_type: ContentType, limits: Limits = DEFAULT_LIMITS
) -> MultipartReader:
    """Return the parts of a multipart form, each as soon as it arrives.

    The next part skips the rest of the one before. If a wait is cancelled, nothing is lost.

    :param chunks: the body, in chunks of any size. No more is read than needed; at the end of the iteration the whole
        body was read.
    :param content_type: the request's Content-Type, which has the boundary.
    :param limits: the limits on all parts. A part without a filename is a field, and counts for `field_bytes`.
    :raises HTTPException: at once: 415 if it is no form, 400 if there is no valid boundary. While iterating: 413 if a
        limit is exceeded, 400 if the body is malformed or ends before the last boundary, or a part has no name.
    :raises Exception: what `chunks` raises.

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
    # RFC 2046, section 5.1.1. Any visible ASCII is accepted, because some clients use other characters.
    if not (0 < len(boundary) <= 70 and boundary.isascii() and boundary.isprintable()):
        raise HTTPException(400, content="The multipart body has no valid boundary.")
    return boundary.encode("ascii")
