"""Make FormData of urlencoded and multipart bodies, and UploadFiles of their files.

A thread waits for each access to the disk, on both loops. Each temporary file is closed at the end of the request.
`kui.forms.multipart` splits a multipart body into parts; the request closes the form.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, ItemsView, Iterable, ValuesView
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from baize.datastructures import ContentType, Headers
from baize.datastructures import FormData as _FormData
from baize.datastructures import UploadFile as _UploadFile

from kui.concurrency import UPLOAD_THREADS, in_thread, shielded
from kui.http.charsets import codec_of
from kui.http.exceptions import HTTPException
from kui.http.urls import parse_pairs
from kui.limits import DEFAULT_LIMITS, Limits

from .multipart import NOTHING, MultipartEvents, MultipartReader, Part, parse_multipart

__all__ = [
    "FormCollector",
    "FormData",
    "MultipartReader",
    "Part",
    "UploadFile",
    "parse_multipart",
    "parse_urlencoded",
]

P = ParamSpec("P")
T = TypeVar("T")

_BATCH: Final = 1024 * 1024
"""How many pending bytes are written by a thread at once: as many as a file may have in memory."""
_LARGE: Final = 4 * 1024
"""The smallest piece, in bytes, that is kept without joining it to others."""


def parse_urlencoded(
    body: bytes, *, max_fields: int = 1000, charset: str | None = None
) -> list[tuple[str, str]]:
    """Return the fields of an `application/x-www-form-urlencoded` body (WHATWG URL 5.1).

    :param max_fields: the limit of fields, which are counted before they are parsed.
    :param charset: the charset of the Content-Type; None for UTF-8. Bytes that do not fit the charset become U+FFFD. A
        field `_charset_` has no effect.
    :raises HTTPException: 413 if there are too many fields, 400 if the charset is unknown.

    Example::

        parse_urlencoded(b"name=Ada+Lovelace&year=1815")
        # [("name", "Ada Lovelace"), ("year", "1815")]
    """
    codec = "utf-8" if charset is None else codec_of(charset, ascii_based=True)
    if not body:
        return []
    if body.count(b"&") >= max_fields:
        raise HTTPException(413, content=f"A form may have at most {max_fields} fields.")
    return parse_pairs(body, codec)


class UploadFile(_UploadFile):
    """A file of a form. It is in memory up to `spool_max_size` bytes (1 MiB), and on disk if it is larger.

    The methods whose names begin with `a` are for `async def` handlers, on asyncio and trio. They wait for the disk in
    a thread; if one is cancelled, its thread still completes the operation. The other methods are for `def` handlers.
    `filename` is the name that the client has sent. It has no directory, and may be empty.

    Example::

        form = await request.form
        await form["photo"].asave("photo.jpg")
    """

    __slots__ = ("_closing", "_lock")

    def __init__(self, filename: str, headers: Headers) -> None:
        super().__init__(filename, headers)
        self._lock = threading.Lock()
        self._closing = False

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Return the pydantic schema, so that it may be the type of a parameter or of a model's field."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Return the JSON Schema of a file in a form (OpenAPI 3.1)."""
        return {"type": "string", "format": "binary"}

    async def awrite(self, data: bytes) -> None:
        """Write `data` at the file's position.

        :raises OSError: the disk refuses it.
        :raises ValueError: the file is closed.
        """
        # The spool itself would move to disk after this write, on the loop.
        if self.in_memory and self.file.tell() + len(data) <= self.spool_max_size:
            self.file.write(data)
        else:
            await self._in_thread(self.write, data)

    async def aread(self, size: int = -1) -> bytes:
        """Return up to `size` bytes from the file's position; all bytes if `size` is negative."""
        if self.in_memory:
            return self.read(size)
        return await self._in_thread(self.read, size)

    async def aseek(self, offset: int) -> None:
        """Set the file's position to `offset` bytes from its start."""
        if self.in_memory:
            self.seek(offset)
        else:
            await self._in_thread(self.seek, offset)

    async def asave(self, filepath: str | os.PathLike[str]) -> None:
        """Write the whole file to `filepath`, and replace an existing file. The position does not change.

        If cancelled by a scope, the copy is completed first; asyncio's own `task.cancel()` does not wait for it.

        :raises OSError: `filepath` cannot be written.
        """
        await self._in_thread(self.save, os.fspath(filepath))

    async def aclose(self) -> None:
        """Close the file and free its memory or disk space. May be called again.

        It is shielded from cancellation, and waits for the disk for at most five seconds.
        """
        await _close_all([self])

    async def _in_thread(self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        def work() -> T:
            try:
                with self._lock:
                    return func(*args, **kwargs)
            finally:
                if self._closing:
                    self._close_if_idle()

        return await in_thread(work, limiter=UPLOAD_THREADS)

    def _close_if_idle(self) -> None:
        """Close the file, unless a thread uses it; then that thread closes it."""
        if not self.file.closed and self._lock.acquire(blocking=False):
            try:
                self.file.close()
            finally:
                self._lock.release()


async def _close_all(files: Iterable[UploadFile]) -> None:
    on_disk = []
    for file in files:
        file._closing = True  # noqa: SLF001  # of this module
        if file.in_memory or file.file.closed:
            file._close_if_idle()  # noqa: SLF001  # of this module
        else:
            on_disk.append(file)
    if not on_disk:
        return

    def close_each() -> None:
        for file in on_disk:
            file._close_if_idle()  # noqa: SLF001  # of this module

    try:
        with shielded():
            await in_thread(close_each, limiter=UPLOAD_THREADS, abandon_on_cancel=True)
    finally:
        close_each()


class FormData(_FormData):
    """The fields and files of a form in the order in which they were sent: a mapping with several values for a key.

    Example::

        form["name"]  # the last of that name
        form.getlist("photos")
    """

    __slots__ = ()

    if TYPE_CHECKING:
        # The files are of this module's class, and not only of its base. mypy refuses a list of narrower items as the
        # result of an override, because a caller might append to it; each call makes a new list.

        def __getitem__(self, key: str) -> str | UploadFile: ...
        @overload
        def get(self, key: str, /) -> str | UploadFile | None: ...
        @overload
        def get(self, key: str, /, default: T) -> str | UploadFile | T: ...
        def get(self, key: str, /, default: Any = None) -> Any: ...
        def getlist(self, key: str) -> list[str | UploadFile]: ...  # type: ignore[override]
        def multi_items(self) -> list[tuple[str, str | UploadFile]]: ...  # type: ignore[override]
        def items(self) -> ItemsView[str, str | UploadFile]: ...
        def values(self) -> ValuesView[str | UploadFile]: ...

    def __eq__(self, other: object) -> bool:
        return _FormData(self.multi_items()) == other

    async def aclose(self) -> None:
        """Close all files. May be called again. It is shielded from cancellation."""
        await _close_all([file for _, file in self.multi_items() if isinstance(file, UploadFile)])


class _Pending:
    """The bytes of a part that are not stored yet, in pieces. Small pieces are joined."""

    __slots__ = ("pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes | bytearray] = []
        self.size = 0

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if len(chunk) >= _LARGE:
            self.pieces.append(chunk)
        elif self.pieces and isinstance(last := self.pieces[-1], bytearray):
            last += chunk
        else:
            self.pieces.append(bytearray(chunk))


class FormCollector:
    """Collects a multipart form.

    If `read` is cancelled, nothing is lost, and the next call continues. The creator must call `aclose` in a `finally`,
    which closes all files. Small files stay in memory while all of them together have at most `limits.body` bytes.

    Parameters and errors are those of `parse_multipart`.

    Example::

        collector = FormCollector(request.stream(), request.content_type, limits)
        try:
            form = await collector.read()
        finally:
            await collector.aclose()
    """

    __slots__ = (
        "_events",
        "_failure",
        "_file",
        "_form",
        "_items",
        "_job",
        "_memory",
        "_part",
        "_pending",
    )

    _part: Part  # the one whose body comes, or came last

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        content_type: ContentType,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._events = MultipartEvents(chunks, content_type, limits)
        self._items: list[tuple[str, str | _UploadFile]] = []
        self._file: UploadFile | None = None  # the file of this part; None for a field
        # The field so far, or the bytes of the file that are not written yet.
        self._pending = _Pending()
        # Must be awaited before anything else.
        self._job: Callable[[], Awaitable[None]] | None = None
        self._memory = limits.body
        self._form: FormData | None = None
        self._failure: Exception | None = None

    async def read(self) -> FormData:
        """Return the form: fields as str, files as UploadFile with their position at the start.

        After an error all files are closed, and later calls raise the same exception.

        :raises HTTPException: 413 if a limit is exceeded, 400 if the body is malformed or ends too early, or a part has
            no name.
        :raises OSError: the disk refuses a file.
        :raises Exception: what the chunks raise.
        """
        if self._failure is not None:
            raise self._failure
        if self._form is None:
            try:
                await self._collect()
            except Exception as error:
                self._failure = error
                await self.aclose()
                raise
            self._form = FormData(self._items)
        return self._form

    async def aclose(self) -> None:
        """Close all files. May be called at any time, and again. It is shielded from cancellation."""
        await _close_all([file for _, file in self._items if isinstance(file, UploadFile)])

    async def _collect(self) -> None:
        """Collect all parts, or the remaining ones after a cancellation."""
        events = self._events
        while True:
            if self._job is not None:
                await self._job()
                self._job = None
            event = events.send(None)
            while event is NOTHING:
                event = events.send(await events.receive())
            if isinstance(event, bytes):
                self._store(event)
            elif isinstance(event, Part):
                self._begin(event)
            elif event is None:
                self._end()
            else:
                return

    def _begin(self, part: Part) -> None:
        self._part = part
        if part.filename is None:
            self._file = None
        else:
            self._file = UploadFile(part.filename, part.headers)
            self._items.append((part.name, self._file))

    def _store(self, chunk: bytes) -> None:
        file, pending = self._file, self._pending
        if file is not None and not pending.size and file.in_memory:
            if len(chunk) <= self._memory and self._part.size <= file.spool_max_size:
                file.write(chunk)
                self._memory -= len(chunk)
                return
            self._memory += file.file.tell()  # it moves to disk with the next batch
        pending.add(chunk)
        if file is not None and pending.size >= _BATCH:
            self._write(file)

    def _end(self) -> None:
        file = self._file
        if file is None:
            body = b"".join(self._pending.pieces)
            self._pending = _Pending()
            self._items.append((self._part.name, body.decode(self._part.codec, "replace")))
        elif self._pending.size or not file.in_memory:
            self._write(file, last=True)
        else:
            file.seek(0)

    def _write(self, file: UploadFile, last: bool = False) -> None:
        """Set a job: a thread writes what is pending, and after the last bytes sets the position to the start.

        If the wait for that thread is cancelled, the job is repeated. It writes only bytes that are not written yet.
        """
        batch, self._pending = self._pending, _Pending()
        place = self._part.size - batch.size
        done = False

        def write() -> None:
            nonlocal done
            if not done:
                if file.in_memory:
                    file.file.rollover()
                file.file.seek(place)
                file.file.writelines(batch.pieces)
                if last:
                    file.file.seek(0)
                done = True

        self._job = partial(file._in_thread, write)  # noqa: SLF001  # of this module
