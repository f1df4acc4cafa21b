"""Multipart forms as they arrive (RFC 7578): one part after the other, the body of each as a stream.

Takes linear time and bounded memory: at most 64 KiB of a body are parsed at once, and nothing is
kept. The package `multipart`, which is loaded with the first form, finds the parts, behind the
repairs of `kui.forms.boundaries`; what their heads say is read by `kui.forms.disposition`. Parts are
collected into a form by `kui.forms.collector`.
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
    """What the parser finds beside parts, bytes of their bodies, and their ends."""

    NOTHING = "the next chunk must be received"
    END = "the end of the body"


NOTHING: Final = Token.NOTHING
END: Final = Token.END


# A part begins, a piece of its body, its end; or none of them.
_Event: TypeAlias = "Part | bytes | Token | None"


class _PartHeaders(Headers):
    """Headers, made of lines without asking what else they may be made of."""

    __slots__ = ()

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        values = self._dict = {}
        for name, value in lines:
            name = name.lower()
            values[name] = f"{values[name]}, {value}" if name in values else value


class Part:
    """One part of a form: `async for chunk in part`, or `await part.read()`.

    `name` is the field's name; `filename` the last component of the file's name without control
    characters, None for a field. A `filename*` counts if there is no `filename` (RFC 7578, 4.2).

    Its body can be read once, and until the next part is asked for. Where reading is cancelled,
    nothing is lost, and it can be read on.
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
        self._kept = bytearray()  # what a cancelled read has got so far
        self._done = False

    @property
    def headers(self) -> Headers:
        """The part's own headers."""
        if self._headers is None:
            self._headers = _PartHeaders(self._lines)
        return self._headers

    def _check_size(self) -> None:
        """Refuse a body of another length than its head says, which a client cannot mean."""
        if len(self._lines) > 1 and "content-length" in self.headers:
            length = self.headers["content-length"]
            if parse_content_length(length) != self.size:
                raise malformed("has a part of another length than it says")

    @property
    def content_type(self) -> str:
        """The Content-Type among its headers, `""` where none was sent."""
        return self.headers.get("content-type", "")

    @property
    def codec(self) -> str:
        """The codec of the charset that its Content-Type names, else UTF-8.

        Raises HTTPException 400 for a charset that is not known.
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
        chunk = await self._reader._next_chunk(self)  # noqa: SLF001  # of this module
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
        codec = self.codec
        return (await self.read(limit)).decode(codec, "replace")

    def __repr__(self) -> str:
        return f"<Part {self.name!r} filename={self.filename!r}>"


class MultipartEvents:
    """The events of a body, and the only reader of `chunks`; for callers that keep parts.

    `send(None)` gives the next event that is there: a `Part` that begins, bytes of its body, None
    at its end, or one of `Token`. After NOTHING, `send(await receive())` gives it the next chunk.
    It raises what `parse_multipart` names, and must not be asked again then.
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
        """Return the next chunk that is not empty, `b""` after the last. Cancelled, it takes none."""
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
    """Return the events of `MultipartEvents`, with the limits held; the END again and again."""
    library = _library()
    repair = BoundaryRepair(boundary, most_head=limits.part_headers)
    # Latin-1 keeps every byte of the headers; they are read as UTF-8 afterwards.
    parser = library.PushMultipartParser(
        boundary,
        max_header_size=limits.part_headers,
        max_header_count=_MOST_HEADERS,
        max_segment_count=limits.parts,
        header_charset="latin-1",
    )
    part: Part | None = None  # whose body comes next
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
    """Return the part that a head announces.

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
    """The parts of one body, in order; an asynchronous iterator, and the only reader of `chunks`.

    There is nothing to close: leaving it in the middle leaves the rest of the body unread. See
    `parse_multipart`, which makes it.
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
        self._part = None  # also if this is cancelled before the rest of it was skipped
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
