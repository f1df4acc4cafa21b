"""Forms: urlencoded and multipart bodies become FormData, files become UploadFiles.

Carries rules 4 and 7 for uploads: whatever waits for the disk waits in a thread, on both loops, and
every temporary file is closed however the request ends. How a multipart body is split into parts is
left to kui.multipart; who closes the form at the end, to kui.requests.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, ParamSpec, TypeVar

from baize.datastructures import ContentType, Headers
from baize.datastructures import FormData as _FormData
from baize.datastructures import UploadFile as _UploadFile
from baize.exceptions import HTTPException

from .concurrency import UPLOADS, in_thread, shielded
from .http.charsets import codec_of
from .http.urls import parse_pairs
from .limits import DEFAULT_LIMITS, Limits
from .multipart import MultipartReader, Part, parse_multipart

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

_BATCH: Final = 256 * 1024


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

    async def _in_thread(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def work() -> T:
            try:
                with self._lock:
                    return func(*args, **kwargs)
            finally:
                if self._closing:
                    self._close_if_idle()

        return await in_thread(work, limiter=UPLOADS)

    def _close_if_idle(self) -> None:
        """Close the file, unless a thread is at work on it; that one closes it at its end."""
        if not self.file.closed and self._lock.acquire(blocking=False):
            try:
                self.file.close()
            finally:
                self._lock.release()


async def _close_all(files: Sequence[UploadFile]) -> None:
    for file in files:
        file._closing = True

    def close_each() -> None:
        for file in files:
            file._close_if_idle()

    try:
        if any(not (file.in_memory or file.file.closed) for file in files):
            with shielded():
                await in_thread(close_each, limiter=UPLOADS, abandon_on_cancel=True)
    finally:
        close_each()


class FormData(_FormData):
    """The fields and files of a form, in the order they were sent: a multi-value mapping.

    Example::

        form["name"]  # the last of that name
        form.getlist("photos")
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return _FormData(self.multi_items()) == other

    async def aclose(self) -> None:
        """Close all files; may be called any number of times. Not to be cancelled."""
        await _close_all([file for _, file in self.multi_items() if isinstance(file, UploadFile)])


class FormCollector:
    """Collects a multipart form, over as many calls of `read` as it takes.

    Where `read` is cancelled nothing is lost, and the next call goes on. `aclose` has to be called
    in the end, whatever happened, and closes every file. Files stay in memory while they are small
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
        "_batch",
        "_failure",
        "_file",
        "_form",
        "_items",
        "_limits",
        "_memory",
        "_part",
        "_parts",
        "_pending",
    )

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        content_type: ContentType,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._limits = limits
        self._parts = parse_multipart(chunks, content_type, self._limits)
        self._items: list[tuple[str, str | _UploadFile]] = []
        self._part: Part | None = None
        self._file: UploadFile | None = None
        self._memory = self._limits.body
        # What is to be written to the current file next, and what a thread is writing to it now.
        self._pending = bytearray()
        self._batch = bytearray()
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
                while await self._collect_part():
                    pass
            except Exception as error:
                self._failure = error
                await self.aclose()
                raise
            self._form = FormData(self._items)
        return self._form

    async def aclose(self) -> None:
        """Close all files; may be called at any time, any number of times. Not to be cancelled."""
        await _close_all([file for _, file in self._items if isinstance(file, UploadFile)])

    async def _collect_part(self) -> bool:
        """Collect one part, or what is left of it; False: there was none."""
        part = self._part
        if part is None:
            try:
                part = self._part = await anext(self._parts)
            except StopAsyncIteration:
                return False
            if part.filename is not None:
                self._file = UploadFile(part.filename, part.headers)
                self._items.append((part.name, self._file))
        if self._file is None:
            # The reader has counted it: this is no second limit.
            self._items.append((part.name, await part.text(self._limits.field_bytes)))
        else:
            await self._store(part, self._file)
            self._file = None
        self._part = None
        return True

    async def _store(self, part: Part, file: UploadFile) -> None:
        while True:
            if self._batch or len(self._pending) >= _BATCH:
                await self._flush(file)
            chunk = await part.next_chunk()
            if not chunk:
                break
            if (
                file.in_memory
                and not self._pending
                and len(chunk) <= self._memory
                and part.size <= file.spool_max_size
            ):
                file.write(chunk)
                self._memory -= len(chunk)
            else:
                if file.in_memory and not self._pending:
                    self._memory += file.file.tell()  # it moves to disk with the next batch
                self._pending += chunk
        while self._batch or self._pending:
            await self._flush(file)
        await file.aseek(0)

    async def _flush(self, file: UploadFile) -> None:
        # A batch leaves `pending` before it is written and is emptied by the thread that wrote it:
        # so it is written once, also when the wait for the thread was cancelled and begins again.
        if not self._batch:
            self._batch, self._pending = self._pending, bytearray()
        batch = self._batch

        def write() -> None:
            if batch:
                if file.in_memory:
                    file.file.rollover()
                file.file.write(batch)
                batch.clear()

        await file._in_thread(write)
