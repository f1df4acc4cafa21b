"""What the tests of forms share: bodies as browsers build them, and sources that give them out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from baize.datastructures import ContentType

from kui.forms import FormCollector, FormData
from kui.http.media import parse_content_type
from kui.limits import DEFAULT_LIMITS, Limits

T = TypeVar("T")

BOUNDARY = "----Boundary0"
FORM: ContentType = parse_content_type(f"multipart/form-data; boundary={BOUNDARY}")


class Field(NamedTuple):
    name: str
    body: bytes
    filename: str | None = None
    content_type: str | None = None


def encode(*fields: Field, boundary: str = BOUNDARY) -> bytes:
    """Encode a form as browsers do (WHATWG HTML, multipart/form-data encoding algorithm)."""

    def escape(text: str) -> str:
        return text.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22")

    body = b""
    for field in fields:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{escape(field.name)}"'
        if field.filename is not None:
            head += f'; filename="{escape(field.filename)}"'
        if field.content_type is not None:
            head += f"\r\nContent-Type: {field.content_type}"
        body += head.encode() + b"\r\n\r\n" + field.body + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


class Chunks:
    """A source of chunks that are there already: nothing waits for it."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.given = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            self.given += 1
            return chunk
        raise StopAsyncIteration


def cut(body: bytes, *sizes: int) -> Chunks:
    """Give out `body` in pieces of `sizes`, again and again."""

    def pieces() -> Iterator[bytes]:
        start = 0
        while start < len(body):
            for size in sizes:
                yield body[start : start + size]
                start += size

    return Chunks(pieces())


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never has to wait, without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError("it waited")


async def collect_form(
    chunks: AsyncIterator[bytes], content_type: ContentType, limits: Limits = DEFAULT_LIMITS
) -> FormData:
    """A multipart form in one go, closed if that fails, as a request does it; else to be closed."""
    collector = FormCollector(chunks, content_type, limits)
    try:
        return await collector.read()
    except BaseException:
        await collector.aclose()
        raise
