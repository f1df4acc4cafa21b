"""Forms: urlencoded and multipart bodies become FormData, files become UploadFiles.

Every access to the disk waits in a thread, on both loops, and every temporary file is closed however
the request ends. `kui.forms.multipart` splits a multipart body into parts; the request closes the form.
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
"""Bytes that a thread is woken up to write: as many as a file may have in memory, so that none has more."""
_LARGE: Final = 4 * 1024
"""Bytes of a piece that is kept as it is: what the object takes beside them is nothing then."""


def parse_urlencoded(
    body: bytes, *, max_fields: int = 1000, charset: str | None = None
) -> list[tuple[str, str]]:
    """Return the fields of an `application/x-www-form-urlencoded` body (WHATWG URL 5.1).

    :param max_fields: how many fields there may be; they are counted before they are parsed.
    :param charset: the charset of the Content-Type; None: UTF-8. What does not fit it becomes
        U+FFFD. A field `_charset_` has no meaning here.
    :raises HTTPException: 413 for too many fields, 400 for a charset that is not known.

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
    """A file of a form: in memory up to `spool_max_size` bytes (1 MiB), beyond on disk.

    The methods that begin with `a` run on asyncio and on trio. They wait for the disk in a thread;
    when one is cancelled there, its thread finishes what it is doing. The others, without the `a`,
    are for `def` handlers. `filename` is what the client says; it has no directory in it, and may
    be empty.

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
        """Let a declared parameter, or a model, have it as a type; only what a form has is one."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe it in an API (OpenAPI 3.1: a file of a form)."""
        return {"type": "string", "format": "binary"}

    async def awrite(self, data: bytes) -> None:
        """Write `data` at the file's position.

        :raises OSError: if the disk does not take it. :raises ValueError: if the file is closed.
        """
        # The spool itself would move to disk after this write, on the loop.
        if self.in_memory and self.file.tell() + len(data) <= self.spool_max_size:
            self.file.write(data)
        else:
            await self._in_thread(self.write, data)

    async def aread(self, size: int = -1) -> bytes:
        """Read and return up to `size` bytes from the file's position; all of them if negative."""
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
        """Write the whole file to `filepath`, replacing what is there; the position stays.

        When cancelled while it copies, the copy is completed first (but asyncio's own
        `task.cancel()` does not wait for it).

        :raises OSError: if `filepath` cannot be written.
        """
        await self._in_thread(self.save, os.fspath(filepath))

    async def aclose(self) -> None:
        """Close the file, and give back its memory or disk space; it may be closed before.

        Not to be cancelled: waits for the disk for at most five seconds, and then lets go of it.
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
        """Close the file, unless a thread is at work on it; that one closes it at its end."""
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
    """The fields and files of a form, in the order they were sent: a multi-value mapping.

    Example::

        form["name"]  # the last of that name
        form.getlist("photos")
    """

    __slots__ = ()

    if TYPE_CHECKING:  # the files are of this module's class, and not only of its base

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
        """Close all files; may be called any number of times. Not to be cancelled."""
        await _close_all([file for _, file in self.multi_items() if isinstance(file, UploadFile)])


class _Pending:
    """Bytes of a part that are not stored yet, in the pieces that came; small ones are joined."""

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
    """Collects a multipart form, over as many calls of `read` as it takes.

    If `read` is cancelled, nothing is lost, and the next call continues. The creator must call `aclose`
    in a `finally`; it closes every file. Files stay in memory while they are small
    and all of them together have no more than `limits.body` bytes.

    Parameters and errors of the constructor are those of `parse_multipart`.

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
        self._file: UploadFile | None = None  # what this part is, if it is no field
        self._pending = _Pending()  # of this part: the field so far, or what is not written yet
        self._job: Callable[[], Awaitable[None]] | None = None  # to be done before anything else
        self._memory = limits.body
        self._form: FormData | None = None
        self._failure: Exception | None = None

    async def read(self) -> FormData:
        """Return the form: fields as str, files as UploadFile at their start.

        :raises HTTPException: 413 beyond a limit, 400 if the body is malformed, a part has no name,
            or the body ends too early; then, as after every error, all files are closed.
        :raises OSError: if the disk does not take a file.

        What the chunks raise is raised too. Calls after an error raise it again.
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
        """Close all files; may be called at any time, any number of times. Not to be cancelled."""
        await _close_all([file for _, file in self._items if isinstance(file, UploadFile)])

    async def _collect(self) -> None:
        """Collect all parts, or what is left of them where this was cancelled before."""
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
        """Have a thread write what is pending, and go to the file's start if it is the last.

        Where the wait for that thread is cancelled, the next one is sent to do the same: it writes
        what is not written, at its place, and nothing twice.
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
