"""Reading off the loop: what is in memory at once, the rest in threads; nothing stays open."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from kui.responses import open_files
from kui.responses.open_files import FileShrank, NotRegularFile, OpenFile, open_file
from kui.testing import every_checkpoint

pytestmark = pytest.mark.anyio

Descriptors = Callable[[Path], int]

on_linux = pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="preadv2 is Linux's")


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a thread was asked")

    monkeypatch.setattr(open_files, "in_thread", refuse)


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Nothing is in memory. The offsets at which the page cache was asked."""
    asked: list[int] = []

    def preadv(descriptor: int, buffers: object, offset: int, flags: int) -> int:
        asked.append(offset)
        raise BlockingIOError(errno.EAGAIN, "would wait")

    monkeypatch.setattr(open_files.os, "preadv", preadv)
    monkeypatch.setattr(open_files, "open_cached", lambda path: None)
    return asked


async def read_all(file: OpenFile, chunk: int = 100) -> bytes:
    data = b""
    while len(data) < file.size:
        data += await file.read(len(data), min(chunk, file.size - len(data)))
    return data


# ---- where it is read


@on_linux
@pytest.mark.usefixtures("no_threads")
async def test_a_file_in_memory_is_read_without_a_thread(path: Path, content: bytes) -> None:
    with path.open("rb") as plain:
        try:
            os.preadv(plain.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except OSError:
            pytest.skip("this file system cannot say what is in memory")
    file = OpenFile(str(path))
    file.open_now()
    assert await read_all(file) == content
    file.close()


async def test_a_file_that_is_not_in_memory_is_read_in_threads(
    path: Path, content: bytes, cold: list[int]
) -> None:
    file = await open_file(path)
    assert await read_all(file, 512) == content
    assert cold == [0, 512]
    file.close()


@on_linux
@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ESPIPE, errno.EINVAL, errno.ENOSYS])
async def test_a_file_system_that_cannot_say_what_is_in_memory_is_asked_once(
    path: Path, content: bytes, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def preadv(descriptor: int, buffers: object, offset: int, flags: int) -> int:
        asked.append(offset)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(open_files.os, "preadv", preadv)
    file = await open_file(path)
    assert await read_all(file) == content
    assert asked == [0]
    file.close()


@on_linux
async def test_what_memory_has_of_a_chunk_is_taken_first(
    path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preadv(descriptor: int, buffers: Any, offset: int, flags: int) -> int:
        if offset:
            raise BlockingIOError(errno.EAGAIN, "would wait")
        buffers[0][:10] = content[:10]
        return 10

    monkeypatch.setattr(open_files.os, "preadv", preadv)
    file = await open_file(path)
    assert await file.read(0, 100) == content[:10]
    assert await file.read(10, 100) == content[10:110]
    file.close()


@on_linux
async def test_an_empty_answer_from_memory_is_not_believed(
    path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_files.os, "preadv", lambda *args: 0)
    file = await open_file(path)
    assert await file.read(0, 100) == content[:100]
    file.close()


@on_linux
async def test_a_failing_disk_is_heard(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def preadv(*args: object) -> int:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(open_files.os, "preadv", preadv)
    file = await open_file(path)
    with pytest.raises(OSError, match="broken"):
        await file.read(0, 100)
    file.close()


async def test_a_file_on_tmpfs_is_read(in_memory: Path, content: bytes) -> None:
    file = await open_file(in_memory)
    assert await read_all(file) == content
    file.close()


async def test_reading_from_memory_leaves_other_tasks_their_turn(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    with path.open("wb") as sparse:
        sparse.truncate(16 << 20)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    file = await open_file(path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for offset in range(0, file.size, 1 << 18):
            await file.read(offset, 1 << 18)
        tasks.cancel_scope.cancel()
    file.close()
    assert turns >= 14


# ---- what is opened


async def test_the_size_is_that_of_the_open_descriptor(path: Path) -> None:
    file = await open_file(path)
    os.replace(path, path.with_suffix(".old"))
    os.truncate(path.with_suffix(".old"), 10)
    assert file.size == 1024
    file.close()


@pytest.mark.parametrize("opener", ["memory", "thread"])
async def test_only_regular_files_are_opened(
    opener: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, descriptors: Descriptors
) -> None:
    if opener == "thread":
        monkeypatch.setattr(open_files, "open_cached", lambda path: None)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with anyio.fail_after(5):
            for name, error in (
                (tmp_path, IsADirectoryError),
                (fifo, NotRegularFile),
                (tmp_path / "socket", NotRegularFile),
                (Path("/dev/null"), NotRegularFile),
                (tmp_path / "missing", FileNotFoundError),
                (fifo / "below", NotADirectoryError),
                (tmp_path / ("x" * 300), OSError),
                (f"{tmp_path}\0", ValueError),
            ):
                before = descriptors(Path(name))
                with pytest.raises(error):
                    await open_file(name)
                assert descriptors(Path(name)) == before


async def test_a_name_is_not_cut_at_its_nul(path: Path) -> None:
    with pytest.raises(ValueError, match="null"):
        await open_file(f"{path}\0.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read_says_so(path: Path) -> None:
    os.chmod(path, 0)
    with pytest.raises(PermissionError):
        await open_file(path)


# ---- what ends


async def test_a_file_that_has_shrunk_is_an_error(path: Path) -> None:
    file = await open_file(path)
    os.truncate(path, 10)
    assert len(await file.read(0, 100)) == 10
    with pytest.raises(FileShrank):
        await file.read(10, 100)
    file.close()


async def test_closing_twice_closes_once(path: Path, descriptors: Descriptors) -> None:
    file = await open_file(path)
    file.close()
    file.close()
    assert descriptors(path) == 0
    with pytest.raises(ValueError, match="closed"):
        await file.read(0, 1)
    with pytest.raises(ValueError, match="closed"):
        file.fileno()


class Held:
    """A function that a thread is kept in."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func
        self.entered = threading.Event()
        self.released = threading.Event()

    def __call__(self, *args: Any) -> Any:
        result = self.func(*args)
        self.entered.set()
        assert self.released.wait(10)
        return result


async def until_closed(path: Path, descriptors: Descriptors) -> None:
    with anyio.fail_after(10):
        while descriptors(path):
            await anyio.lowlevel.checkpoint()


@pytest.mark.usefixtures("cold")
async def test_a_cancelled_opening_waits_for_its_thread_and_closes(
    path: Path, monkeypatch: pytest.MonkeyPatch, descriptors: Descriptors
) -> None:
    held = Held(os.open)
    monkeypatch.setattr(open_files.os, "open", held)

    async def use() -> None:
        file = await open_file(path)
        try:
            await file.read(0, 10)
        finally:
            file.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(use)
        await anyio.to_thread.run_sync(held.entered.wait)
        assert descriptors(path) == 1
        tasks.cancel_scope.cancel()
        held.released.set()
    assert descriptors(path) == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.usefixtures("cold")
async def test_an_opening_that_asyncio_tears_from_its_thread_is_closed_by_the_thread(
    path: Path, monkeypatch: pytest.MonkeyPatch, descriptors: Descriptors
) -> None:
    held = Held(os.open)
    monkeypatch.setattr(open_files.os, "open", held)
    task = asyncio.ensure_future(open_file(path))
    await anyio.to_thread.run_sync(held.entered.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert descriptors(path) == 1
    held.released.set()
    await until_closed(path, descriptors)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.usefixtures("cold")
async def test_a_descriptor_is_not_closed_under_the_thread_that_reads_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, descriptors: Descriptors
) -> None:
    held = Held(open_files._read)
    monkeypatch.setattr(open_files, "_read", held)
    file = await open_file(path)
    task = asyncio.ensure_future(file.read(0, 10))
    await anyio.to_thread.run_sync(held.entered.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    file.close()
    assert descriptors(path) == 1
    held.released.set()
    await until_closed(path, descriptors)


@pytest.mark.parametrize(
    ("anyio_backend", "how"), [("asyncio", "scope"), ("asyncio", "native"), ("trio", "scope")]
)
@pytest.mark.parametrize("where", ["memory", "disk"])
async def test_nothing_is_left_open_wherever_it_is_cancelled(
    how: Any, where: str, path: Path, descriptors: Descriptors, request: pytest.FixtureRequest
) -> None:
    if where == "disk":
        request.getfixturevalue("cold")

    async def scenario(state: SimpleNamespace) -> None:
        file = await open_file(path)
        try:
            await anyio.lowlevel.checkpoint()
            await read_all(file, 256)
            await anyio.lowlevel.checkpoint()
        finally:
            file.close()

    async def check(state: SimpleNamespace) -> None:
        if how == "scope":
            assert descriptors(path) == 0
        await until_closed(path, descriptors)

    assert await every_checkpoint(scenario, check, how=how) >= 2
