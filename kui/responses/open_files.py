"""Read files without blocking the event loop.

Names and pages that the kernel has in memory are opened and read in the event loop, which costs a tenth of a thread.
Otherwise a thread does it. The callers decide which bytes are read.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from collections.abc import Callable, Sequence
from typing import Final, ParamSpec, TypeVar

import anyio.lowlevel

from kui.concurrency.threads import FILE_THREADS, in_thread

__all__ = [
    "FileBelow",
    "FileShrank",
    "NotRegularFile",
    "OpenFile",
    "open_file",
    "open_first",
]

P = ParamSpec("P")
T = TypeVar("T")

_FAIR_SHARE: Final = 1 << 20  # bytes read in the loop, in 0.1 ms, before other tasks get a turn

# Opening must not wait for the writer of a FIFO, nor adopt a terminal (POSIX open). Windows has
# neither flag, but needs one for binary files.
_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


_NO_SUCH_NAME: Final = (errno.ENAMETOOLONG, errno.ELOOP)


class NotRegularFile(OSError):
    """Raised if a path is neither a regular file nor a directory: a FIFO, a socket, a device."""


class FileShrank(OSError):
    """Raised if a file ends before the bytes that were promised."""


class OpenFile:
    """A regular file that is open for reading. `open_file` opens it, and `close` closes it.

    `stat` and `size` (in bytes) are those of the open descriptor when it was opened. There is no read position: any
    task may read at any offset, one at a time.
    """

    __slots__ = ("_closed", "_held", "_read_in_loop", "_try_cache", "path", "stat")
    stat: os.stat_result

    def __init__(self, path: str | bytes) -> None:
        self.path = path
        # The descriptor, unless a thread has borrowed it. After `close`, the first that finds it here closes
        # it. So the number is never closed, and used for another file, while a thread reads from it.
        self._held: list[int] = []
        self._closed = False
        self._try_cache = sys.platform == "linux"
        self._read_in_loop = 0

    @property
    def size(self) -> int:
        """The size in bytes when the file was opened."""
        return self.stat.st_size

    def fileno(self) -> int:
        """Return the descriptor.

        :raises ValueError: the file is closed.
        """
        if self._closed:
            raise ValueError("the file is closed")
        return self._held[0]

    async def read(self, offset: int, count: int) -> bytes:
        """Read at least one and at most `count` bytes at `offset`.

        It is a checkpoint if it waits for the disk, and otherwise once for each MiB. If cancelled by a scope, it still
        waits for the disk; asyncio's `task.cancel()` does not wait, and closing the file is safe then too.

        :param count: more than 0.
        :raises FileShrank: the file ends before `offset`.
        :raises OSError: the disk fails.
        :raises ValueError: the file is closed.
        """
        if self._read_in_loop >= _FAIR_SHARE:
            self._read_in_loop = 0
            await anyio.lowlevel.checkpoint()
        data = self.read_cached(offset, count)
        if data is None:
            data = await in_thread(self._borrow, _read, offset, count, limiter=FILE_THREADS)
            if not data:
                raise FileShrank(
                    errno.EIO, f"the file ends before byte {offset} of {self.size}", self.path
                )
        return data

    def read_cached(self, offset: int, count: int) -> bytes | None:
        """Read without waiting. Return None if that is not possible, or at the end of the file."""
        if sys.platform != "linux" or not self._try_cache:
            return None
        # A `BytesIO` returns its buffer as bytes without a copy, unlike a bytearray.
        buffer = io.BytesIO(bytes(count))
        try:
            with buffer.getbuffer() as view:
                length = os.preadv(self.fileno(), (view,), offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ESPIPE, errno.EINVAL, errno.ENOSYS):
                raise
            self._try_cache = False
            return None
        self._read_in_loop += length
        if length == count:
            return buffer.getvalue()
        # Linux 5.9 and 5.10 may return 0 before the end; a thread then reads again.
        return buffer.getvalue()[:length] or None

    def close(self) -> None:
        """Close the file, as soon as no thread reads from it. May be called again."""
        self._closed = True
        self._settle()

    def _settle(self) -> None:
        try:
            descriptor = self._held.pop()
        except IndexError:
            return  # a thread has borrowed it, and calls this again
        os.close(descriptor)

    def _borrow(self, func: Callable[..., T], *args: object) -> T:
        """Call `func(descriptor, *args)` in a thread, which borrows the descriptor."""
        try:
            descriptor = self._held.pop()
        except IndexError:
            raise ValueError("the file is closed") from None
        try:
            return func(descriptor, *args)
        finally:
            self._give(descriptor)

    def _give(self, descriptor: int) -> None:
        self._held.append(descriptor)
        if self._closed:
            self._settle()

    def open_cached(self) -> bool:
        """Open the file and return True if that needs no waiting. Otherwise, and after an error, a thread must try."""
        descriptor = self._descriptor_cached()
        if descriptor is None:
            return False
        self._held.append(descriptor)
        self._look(descriptor)
        return True

    def open_now(self) -> None:
        """Open the file, in a thread, and close it again if `close` was called meanwhile."""
        try:
            descriptor = self._descriptor()
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, a device without a driver
                raise NotRegularFile(error.errno, "not a regular file", self.path) from error
            raise
        try:
            self._look(descriptor)
        finally:
            self._give(descriptor)

    def try_cached(self) -> bool:
        """Do what `open_cached` does, and return False for a path that is no regular file."""
        try:
            return self.open_cached()
        except (IsADirectoryError, NotRegularFile):
            os.close(self._held.pop())
        except ValueError:  # a surrogate that no name can have
            pass
        return False

    def _descriptor_cached(self) -> int | None:
        return open_cached(self.path)

    def _descriptor(self) -> int:
        return os.open(self.path, _FLAGS)

    def _look(self, descriptor: int) -> None:
        self.stat = os.fstat(descriptor)
        refuse_irregular(self.stat, self.path)


class FileBelow(OpenFile):
    """A file below a directory, opened without following a symbolic link on the way down from it."""

    __slots__ = ("_names", "_root")

    def __init__(self, root: str, names: Sequence[str]) -> None:
        super().__init__(os.path.join(root, *names))
        self._root = root
        self._names = names

    def _descriptor_cached(self) -> int | None:
        return open_cached(self.path, follow=False)

    def _descriptor(self) -> int:
        if os.open not in os.supports_dir_fd:  # Windows
            if os.path.normcase(os.path.realpath(self.path)) != os.path.normcase(self.path):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self.path)
            return os.open(self.path, _FLAGS)
        *above, name = self._names
        place = os.open(self._root, _FLAGS | os.O_DIRECTORY)
        try:
            for each in above:
                below = os.open(each, _FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
                os.close(place)
                place = below
            return os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=place)
        finally:
            os.close(place)


def refuse_irregular(status: os.stat_result, path: str | bytes) -> None:
    """Check that a path is a regular file.

    :raises IsADirectoryError: it is a directory.
    :raises NotRegularFile: it is something else.
    """
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise NotRegularFile(errno.EINVAL, "not a regular file", path)


async def open_first(files: Sequence[OpenFile]) -> int | None:
    """Open the first file that exists, and return its index; return None if none exists.

    A path that is no regular file, or that no file can have, does not exist. If cancelled, no file is left open.

    :raises OSError: a file cannot be opened, for example PermissionError; no file is left open.
    """
    chosen: int | None = None
    try:
        if files and files[0].try_cached():
            chosen = 0
        else:
            chosen = await in_thread(_open_first, files, limiter=FILE_THREADS)
    finally:
        for number, file in enumerate(files):
            if number != chosen:
                file.close()
    return chosen


def _open_first(files: Sequence[OpenFile]) -> int | None:
    for number, file in enumerate(files):
        try:
            file.open_now()
        except ValueError:  # a NUL, or a surrogate that no name can have
            pass
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, NotRegularFile):
            pass
        except OSError as error:
            if error.errno not in _NO_SUCH_NAME:
                raise
        else:
            return number
    return None


async def open_file(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> OpenFile:
    """Open a regular file for reading. The caller must close it. If cancelled, no file is left open.

    :raises OSError: the file cannot be opened, for example FileNotFoundError or PermissionError.
    :raises IsADirectoryError: it is a directory.
    :raises NotRegularFile: it is a FIFO, a socket or a device; it never waits for the writer of a FIFO.
    :raises ValueError: the path has a NUL.

    Example::

        file = await open_file("video.mp4")
        try:
            head = await file.read(0, 4096)
        finally:
            file.close()
    """
    file = OpenFile(os.fspath(path))
    opened = False
    try:
        if not file.open_cached():
            await in_thread(file.open_now, limiter=FILE_THREADS)
        opened = True
    finally:
        if not opened:
            file.close()
    return file


def _read(descriptor: int, offset: int, count: int) -> bytes:
    if sys.platform == "win32":
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, count)
    return os.pread(descriptor, count, offset)


if sys.platform == "linux":
    import ctypes

    _RESOLVE_NO_SYMLINKS: Final = 0x04
    _RESOLVE_CACHED: Final = 0x20  # only if the path is in memory (Linux 5.12, openat2(2))
    _SYS_OPENAT2: Final = 437
    _AT_FDCWD: Final = -100

    class _OpenHow(ctypes.Structure):
        _fields_ = (
            ("flags", ctypes.c_uint64),
            ("mode", ctypes.c_uint64),
            ("resolve", ctypes.c_uint64),
        )

    _how: Final = _OpenHow(_FLAGS, 0, _RESOLVE_CACHED)
    _how_at: Final = ctypes.addressof(_how)
    _how_without_links: Final = _OpenHow(_FLAGS, 0, _RESOLVE_CACHED | _RESOLVE_NO_SYMLINKS)
    _how_without_links_at: Final = ctypes.addressof(_how_without_links)
    _how_size: Final = ctypes.sizeof(_how)
    _syscall: Final = ctypes.CDLL(None).syscall
    _syscall.restype = ctypes.c_long
    _syscall.argtypes = (
        ctypes.c_long,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
    )

    def open_cached(path: str | bytes, *, follow: bool = True) -> int | None:
        raw = os.fsencode(path)
        if b"\0" in raw:
            return None
        how = _how_at if follow else _how_without_links_at
        descriptor: int = _syscall(_SYS_OPENAT2, _AT_FDCWD, raw, how, _how_size)
        return descriptor if descriptor >= 0 else None

else:

    def open_cached(path: str | bytes, *, follow: bool = True) -> int | None:
        return None
