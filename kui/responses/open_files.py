"""Files that are read without blocking the event loop.

Names and pages that the kernel has in memory are opened and read in the loop, for a tenth of the cost of a thread;
for all others a thread waits. The callers decide which bytes are read.
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

_FAIR_SHARE: Final = 1 << 20  # bytes read in the loop before other tasks have their turn: 0.1 ms

# A FIFO without a writer and a terminal must not hold the opening up (POSIX open); Windows knows
# neither, but text mode.
_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


_NO_SUCH_NAME: Final = (errno.ENAMETOOLONG, errno.ELOOP)


class NotRegularFile(OSError):
    """What was asked for is neither a file nor a directory: a FIFO, a socket, a device."""


class FileShrank(OSError):
    """The file ends before the bytes that were promised."""


class OpenFile:
    """A regular file that is open for reading; `open_file` makes it, `close` ends it.

    `stat` is the state of the open descriptor when it was opened, `size` its bytes then. Reading
    has no position: any task may read anywhere, one at a time.
    """

    __slots__ = ("_closed", "_held", "_read_in_loop", "_try_cache", "path", "stat")
    stat: os.stat_result

    def __init__(self, path: str | bytes) -> None:
        self.path = path
        # The descriptor, unless a thread has borrowed it: the one that finds it here when the file has
        # been closed closes it. So its number is never closed, and used again, under a read.
        self._held: list[int] = []
        self._closed = False
        self._try_cache = sys.platform == "linux"
        self._read_in_loop = 0

    @property
    def size(self) -> int:
        """The size in bytes, when it was opened."""
        return self.stat.st_size

    def fileno(self) -> int:
        """Return the descriptor. Raises ValueError where the file is closed."""
        if self._closed:
            raise ValueError("the file is closed")
        return self._held[0]

    async def read(self, offset: int, count: int) -> bytes:
        """Read at `offset` at least one byte and at most `count`, which is more than 0.

        Raises FileShrank where there is none, OSError where the disk fails, ValueError where the
        file is closed. It is a checkpoint where it waits for the disk, and once for each MiB that
        it need not wait for. When cancelled it waits for the disk all the same, and closing the
        file is safe even where it did not (asyncio's `task.cancel()`).
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
        """Read without waiting; return None if that is not possible, or at the end of the file."""
        if sys.platform != "linux" or not self._try_cache:
            return None
        # A `BytesIO` gives its buffer away as bytes, unlike a bytearray, without another copy.
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
        # Linux 5.9 and 5.10 may say 0 before the end: a thread will know.
        return buffer.getvalue()[:length] or None

    def close(self) -> None:
        """Close the file, once a thread that reads it has come back. Closing again does nothing."""
        self._closed = True
        self._settle()

    def _settle(self) -> None:
        try:
            descriptor = self._held.pop()
        except IndexError:
            return  # a thread has it, and will be here
        os.close(descriptor)

    def _borrow(self, func: Callable[..., T], *args: object) -> T:
        """Call `func(descriptor, *args)`; for a thread."""
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
        """Open it if that needs no waiting, and return True; errors are left to the thread that opens it otherwise."""
        descriptor = self._descriptor_cached()
        if descriptor is None:
            return False
        self._held.append(descriptor)
        self._look(descriptor)
        return True

    def open_now(self) -> None:
        """Open it, for a thread, and close it again if the file was closed meanwhile."""
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
        """Do as `open_cached`, and return False for what is no regular file."""
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
    """A file of a tree, reached without following a symbolic link on the way down from its root."""

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
    """Raise IsADirectoryError or NotRegularFile for what is no regular file."""
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise NotRegularFile(errno.EINVAL, "not a regular file", path)


async def open_first(files: Sequence[OpenFile]) -> int | None:
    """Open the first of some files that can be opened, and return which; None if none is there.

    What is no regular file, or has a name that no file can have, is not there. Raises PermissionError
    and other OSErrors as `open` does. When it is cancelled, or raises, nothing is left open.
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
    """Open a regular file for reading, to be closed by the caller.

    Raises FileNotFoundError, PermissionError and other OSErrors as `open` does, IsADirectoryError
    and NotRegularFile for what cannot be read by position, ValueError for a path with a NUL. Never
    waits for a FIFO's writer. When it is cancelled, or raises, nothing is left open.

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
