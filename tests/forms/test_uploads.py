"""Uploaded files: where they are kept, which thread touches the disk, and that they go away."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import baize.datastructures
import pytest
from baize.datastructures import Headers
from baize.exceptions import HTTPException

from kui.forms import FormCollector, FormData, UploadFile
from kui.limits import DEFAULT_LIMITS, Limits
from kui.testing import every_checkpoint
from tests.support.form_bodies import BOUNDARY, FORM, Chunks, Field, collect_form, cut, encode

pytestmark = pytest.mark.anyio

MIB = 2**20


class Disk:
    """Stands for the temporary directory: which files were opened, and who touched them."""

    def __init__(self) -> None:
        self.loop = threading.get_ident()
        self.files: list[Any] = []
        self.touched_on_the_loop: list[str] = []
        self.before_write = lambda: None

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return File(self, self._touch("open") or self._open(*args, **kwargs))

    def _touch(self, what: str) -> None:
        if threading.get_ident() == self.loop:
            self.touched_on_the_loop.append(what)

    _open = staticmethod(tempfile.TemporaryFile)

    @property
    def all_closed(self) -> bool:
        return all(file.closed for file in self.files)


class File:
    """A temporary file that knows who touches it."""

    def __init__(self, disk: Disk, file: Any) -> None:
        self._disk = disk
        self._file = file
        disk.files.append(file)

    def __getattr__(self, name: str) -> Any:
        if name not in ("closed", "tell"):
            self._disk._touch(name)
        if name in ("write", "writelines"):
            self._disk.before_write()
        return getattr(self._file, name)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, anyio_backend: str) -> Iterator[Disk]:
    made = Disk()
    monkeypatch.setattr(tempfile, "TemporaryFile", made.open)
    yield made
    for file in made.files:
        file.close()


def an_upload(name: str = "a.txt") -> UploadFile:
    return UploadFile(name, Headers({"content-type": "text/plain"}))


async def collect(chunks: Chunks, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    form = await collect_form(chunks, FORM, limits)
    assert isinstance(form, baize.datastructures.FormData)
    return dict(form)


# ---- one file


async def test_an_upload_is_one_of_baize_with_all_its_attributes(anyio_backend: str) -> None:
    file = an_upload()
    assert isinstance(file, baize.datastructures.UploadFile)
    assert (file.filename, file.content_type) == ("a.txt", "text/plain")
    assert isinstance(file.file, tempfile.SpooledTemporaryFile)
    await file.aclose()


@pytest.mark.parametrize("size", [10, MIB, MIB + 1, 3 * MIB])
async def test_what_was_written_is_read(disk: Disk, size: int) -> None:
    file = an_upload()
    await file.awrite(b"x" * size)
    await file.awrite(b"end")
    await file.aseek(size)
    assert await file.aread() == b"end"
    await file.aseek(0)
    assert await file.aread(5) == b"xxxxx"
    assert len(await file.aread()) == size - 2
    await file.aclose()
    await file.aclose()
    assert disk.all_closed
    assert disk.touched_on_the_loop == []


async def test_a_small_file_stays_in_memory(disk: Disk) -> None:
    file = an_upload()
    await file.awrite(b"x" * MIB)
    assert file.in_memory
    assert disk.files == []
    await file.awrite(b"y")
    assert not file.in_memory
    assert len(disk.files) == 1
    await file.aclose()


async def test_a_file_is_saved_wherever_it_is_kept(disk: Disk, tmp_path: Path) -> None:
    for size in (10, 2 * MIB):
        file = an_upload()
        await file.awrite(b"x" * size)
        await file.aseek(3)
        (tmp_path / "saved").write_bytes(b"what was there before")
        await file.asave(str(tmp_path / "saved"))
        assert (tmp_path / "saved").stat().st_size == size
        assert await file.aread(1) == b"x"
        await file.asave(tmp_path / "by its path")
        assert (tmp_path / "by its path").stat().st_size == size
        assert len(await file.aread()) == size - 4
        await file.aclose()


async def test_a_place_that_cannot_be_written_is_an_error(anyio_backend: str) -> None:
    file = an_upload()
    with pytest.raises(OSError, match="nowhere"):
        await file.asave("/nowhere/at/all")
    await file.aclose()


async def test_a_closed_file_says_so(disk: Disk) -> None:
    for size in (1, 2 * MIB):
        file = an_upload()
        await file.awrite(b"x" * size)
        await file.aclose()
        with pytest.raises(ValueError, match="closed"):
            await file.aread()
        with pytest.raises(ValueError, match="closed"):
            await file.awrite(b"x")


# ---- a whole form


async def test_a_form_has_fields_and_files(disk: Disk) -> None:
    form = await collect_form(
        cut(
            encode(
                Field("name", "Zoë".encode()),
                Field("name", b"second"),
                Field("photo", b"\x89PNG", "photo.png", "image/png"),
                Field("empty", b"", ""),
            ),
            50,
        ),
        FORM,
    )
    assert form["name"] == "second"
    assert form.getlist("name") == ["Zoë", "second"]
    photo = form["photo"]
    assert isinstance(photo, UploadFile)
    assert (photo.filename, photo.content_type) == ("photo.png", "image/png")
    assert photo.headers["content-type"] == "image/png"
    assert await photo.aread() == b"\x89PNG"
    empty = form["empty"]
    assert isinstance(empty, UploadFile)
    assert (empty.filename, await empty.aread()) == ("", b"")
    await form.aclose()
    assert photo.file.closed
    assert disk.files == []


@pytest.mark.parametrize("chunk", [1000, 64 * 1024, 10 * MIB])
@pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 3 * MIB + 17])
async def test_a_big_file_goes_to_disk_off_the_loop(disk: Disk, size: int, chunk: int) -> None:
    content = os.urandom(1021) * (size // 1021 + 1)
    content = content[:size]
    form = await collect(cut(encode(Field("a", content, "a"), Field("b", b"1")), chunk))
    assert form["a"].in_memory is (size <= MIB)
    assert await form["a"].aread() == content
    assert form["b"] == "1"
    await form["a"].aclose()
    assert len(disk.files) == (size > MIB)
    assert disk.all_closed
    assert disk.touched_on_the_loop == []


async def test_many_small_files_share_the_memory_that_a_body_may_have(disk: Disk) -> None:
    fields = [Field(str(n), b"x" * 1000, "f") for n in range(10)]
    form = await collect(cut(encode(*fields), 300), Limits(body=4500))
    kept = [file for file in form.values() if file.in_memory]
    assert len(kept) == 4
    assert [len(await file.aread()) for file in form.values()] == [1000] * 10
    for file in form.values():
        await file.aclose()
    assert disk.all_closed
    assert disk.touched_on_the_loop == []


async def test_a_file_that_moved_to_disk_gives_its_memory_back(disk: Disk) -> None:
    fields = [Field("big", b"x" * (2 * MIB), "f"), Field("small", b"x" * 1000, "f")]
    form = await collect(cut(encode(*fields), 1000), Limits(body=MIB))
    assert [file.in_memory for file in form.values()] == [False, True]
    for file in form.values():
        await file.aclose()


async def test_a_form_of_64_mib_takes_little_memory(disk: Disk) -> None:
    def chunks() -> Iterator[bytes]:
        head, tail = encode(Field("a", b"|", "a")).split(b"|")
        yield head
        for _ in range(1024):
            yield b"x" * 65536
        yield tail

    await collect(Chunks([encode()]))  # load what is loaded with the first form
    tracemalloc.start()
    form = await collect(Chunks(chunks()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB
    await form["a"].aseek(64 * MIB - 1)
    assert await form["a"].aread() == b"x"
    await form["a"].aclose()


async def test_tiny_chunks_of_a_file_are_kept_as_one(disk: Disk) -> None:
    def chunks() -> Iterator[bytes]:
        head, tail = encode(Field("a", b"|", "a")).split(b"|")
        yield head
        for n in range(20_000):
            yield b"%04d" % (n % 10_000)
        yield tail

    await collect(Chunks([encode()]))  # load what is loaded with the first form
    tracemalloc.start()
    form = await collect(Chunks(chunks()), Limits(body=0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 80_000  # a bytes object for each would take 10 times as much as they have
    assert await form["a"].aread() == b"".join(b"%04d" % n for n in range(10_000)) * 2
    await form["a"].aclose()


async def test_pieces_of_all_sizes_are_written_in_their_order(disk: Disk) -> None:
    content = os.urandom(100_000)
    body = encode(Field("a", content, "a"), Field("b", content.hex().encode()))
    form = await collect(cut(body, 150, 5000, 3, 7, 20_000, 4096, 4095, 1), Limits(body=0))
    assert await form["a"].aread() == content
    assert form["b"] == content.hex()
    await form["a"].aclose()


async def test_a_big_file_is_written_a_mebibyte_at_a_time(disk: Disk) -> None:
    writes = 0

    def count() -> None:
        nonlocal writes
        writes += 1

    disk.before_write = count
    form = await collect(cut(encode(Field("a", b"x" * (8 * MIB), "a")), 10_000))
    assert writes == 9  # what was in memory, seven times a mebibyte, and the rest
    await form["a"].aclose()


# ---- however it ends

BIG = Field("big", b"x" * (2 * MIB), "big")
SMALL = Field("small", b"x" * 10, "small")
BODY = encode(SMALL, BIG, Field("note", b"hello"), BIG, SMALL)


@pytest.mark.parametrize(
    ("body", "limits", "status"),
    [
        (BODY[:-10], Limits(), 400),
        (BODY[: 3 * MIB], Limits(), 400),
        (BODY.replace(b'name="note"', b"noname"), Limits(), 400),
        (BODY, Limits(file_bytes=2 * MIB - 1), 413),
        (BODY, Limits(field_bytes=3), 413),
        (BODY, Limits(parts=4), 413),
        (BODY, Limits(part_headers=10), 413),
    ],
)
async def test_a_form_that_fails_leaves_no_file(
    disk: Disk, body: bytes, limits: Limits, status: int
) -> None:
    collector = FormCollector(cut(body, 50_000), FORM, limits)
    for _ in range(2):
        with pytest.raises(HTTPException) as caught:
            await collector.read()
        assert caught.value.status_code == status
        assert disk.all_closed
        assert all(file.file.closed for _, file in collector._items if not isinstance(file, str))
    await collector.aclose()


async def test_a_client_that_leaves_leaves_no_file(disk: Disk) -> None:
    class Left(Exception):
        pass

    def chunks() -> Iterator[bytes]:
        yield BODY[: 3 * MIB]
        raise Left

    with pytest.raises(Left):
        await collect(Chunks(chunks()))
    assert disk.files
    assert disk.all_closed


async def test_a_full_disk_is_the_servers_failure_and_leaves_no_file(disk: Disk) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    disk.before_write = full
    with pytest.raises(OSError, match="No space"):
        await collect(cut(BODY, 50_000))
    assert disk.files
    assert disk.all_closed


class Cancelling:
    """A source that has the task cancelled, while it waits for each chunk or wherever it waits next."""

    def __init__(self, chunks: Iterable[bytes], afterwards: bool = False) -> None:
        self._chunks = iter(chunks)
        self._asked = False
        self._afterwards = afterwards
        self.scope = anyio.CancelScope()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._asked = not self._asked
        if self._afterwards:
            self.scope.cancel()
        elif self._asked:
            self.scope.cancel()
            await anyio.sleep_forever()
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


PIECES = [BODY[n : n + 300_000] for n in range(0, len(BODY), 300_000)]


async def test_a_form_that_is_cancelled_leaves_no_file(disk: Disk) -> None:
    for last in range(len(PIECES) + 1):
        source = Cancelling(PIECES[last:])
        with anyio.CancelScope() as source.scope:

            async def chunks(last: int = last, source: Cancelling = source) -> Any:
                for piece in PIECES[:last]:
                    yield piece
                await anext(source)

            stream = chunks()
            try:
                await collect_form(stream, FORM)
            finally:
                await stream.aclose()
        assert source.scope.cancelled_caught
        assert disk.all_closed
    assert disk.files
    assert disk.touched_on_the_loop == []


@pytest.mark.parametrize("afterwards", [False, True])
async def test_collecting_goes_on_where_it_was_cancelled(disk: Disk, afterwards: bool) -> None:
    source = Cancelling(PIECES, afterwards)
    collector = FormCollector(source, FORM)
    cancelled, form = 0, None
    while form is None:
        with anyio.CancelScope() as source.scope:
            form = await collector.read()
            break
        cancelled += 1
    assert cancelled >= (2 if afterwards else len(PIECES))  # each big file waits for a thread
    assert form is await collector.read()
    assert [name for name, _ in form.multi_items()] == ["small", "big", "note", "big", "small"]
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            assert await value.aread() == (BIG if name == "big" else SMALL).body
    await collector.aclose()
    assert disk.all_closed


@pytest.mark.parametrize("how", ["scope", "native"])
async def test_a_form_that_is_cut_at_any_checkpoint_leaves_no_file(
    disk: Disk, anyio_backend: str, how: Any
) -> None:
    if how == "native" and anyio_backend == "trio":
        how = "scope"  # trio has no other cancellation

    async def chunks() -> Any:
        for piece in PIECES[::4], [encode(BIG, SMALL)]:
            await anyio.lowlevel.checkpoint()
            yield b"".join(piece)

    async def scenario(state: SimpleNamespace) -> None:
        async with aclosing(chunks()) as stream:
            with suppress(HTTPException):
                await (await collect_form(stream, FORM)).aclose()

    async def check(state: SimpleNamespace) -> None:
        while not disk.all_closed:  # a thread that was left to itself closes what it has opened
            await anyio.to_thread.run_sync(lambda: None)

    assert await every_checkpoint(scenario, check, how=how) > 5
    assert disk.files
    if how == "scope":
        assert disk.touched_on_the_loop == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_native_cancellation_while_a_form_is_closed_closes_all_of_it(disk: Disk) -> None:
    form = await collect_form(cut(BODY, 50_000), FORM)
    closing = asyncio.ensure_future(form.aclose())
    await asyncio.wait([closing], timeout=0)
    closing.cancel()
    await asyncio.wait([closing])
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    while not all(file.file.closed for file in files):
        await anyio.to_thread.run_sync(lambda: None)
    assert len(files) == 4
    assert disk.all_closed


async def test_forms_are_equal_as_those_of_baize_are(anyio_backend: str) -> None:
    form = await collect_form(cut(encode(Field("a", b"1"), Field("b", b"2")), 50), FORM)
    assert form == FormData([("b", "2"), ("a", "1")])
    assert FormData([("b", "2"), ("a", "1")]) == form
    assert form == baize.datastructures.FormData([("a", "1"), ("b", "2")])
    assert form != FormData([("a", "1")])
    assert form != {"a": "1", "b": "2"}


async def test_closing_cannot_be_cancelled(disk: Disk) -> None:
    file = an_upload()
    await file.awrite(b"x" * (2 * MIB))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await file.aclose()
    assert disk.all_closed
    assert disk.touched_on_the_loop == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_native_cancellation_while_a_thread_writes_leaves_no_file(disk: Disk) -> None:
    at_work, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        at_work.set()
        go_on.wait(10)

    disk.before_write = wait
    task = asyncio.ensure_future(collect(cut(BODY, 300_000)))
    await anyio.to_thread.run_sync(at_work.wait)
    task.cancel()
    await asyncio.wait([task], timeout=0)
    go_on.set()
    await asyncio.wait([task])
    assert task.cancelled()
    while not disk.all_closed:  # by the thread, when it has finished
        await anyio.to_thread.run_sync(lambda: None)
    assert len(disk.files) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_native_cancellation_while_a_thread_writes_loses_nothing(disk: Disk) -> None:
    at_work, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        at_work.set()
        go_on.wait(10)

    disk.before_write = wait
    collector = FormCollector(cut(BODY, 300_000), FORM)
    task = asyncio.ensure_future(collector.read())
    await anyio.to_thread.run_sync(at_work.wait)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    again = asyncio.ensure_future(collector.read())
    await asyncio.wait([again], timeout=0)
    go_on.set()
    form = await again
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            assert await value.aread() == (BIG if name == "big" else SMALL).body
    await collector.aclose()
    assert disk.all_closed


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_an_abandoned_thread_failed_to_write_is_written_at_its_place(disk: Disk) -> None:
    at_work, go_on = threading.Event(), threading.Event()

    def write_some_and_fail() -> None:
        disk.before_write = lambda: None
        disk.files[-1].write(b"some")
        at_work.set()
        go_on.wait(10)
        raise OSError(5, "Input/output error")

    def fail_next() -> None:
        disk.before_write = write_some_and_fail  # but not what moves to disk

    disk.before_write = fail_next
    collector = FormCollector(cut(encode(BIG), 300_000), FORM)
    task = asyncio.ensure_future(collector.read())
    await anyio.to_thread.run_sync(at_work.wait)
    task.cancel()
    await asyncio.wait([task])
    again = asyncio.ensure_future(collector.read())
    await asyncio.wait([again], timeout=0)
    go_on.set()
    form = await again
    assert await dict(form)["big"].aread() == BIG.body  # type: ignore[union-attr]  # it is a file
    await collector.aclose()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
async def test_no_descriptor_is_left(anyio_backend: str, tmp_path: Path) -> None:
    await (await collect_form(cut(encode(BIG), 50_000), FORM)).aclose()
    tempdir, tempfile.tempdir = tempfile.tempdir, str(tmp_path)
    try:
        before = os.listdir("/proc/self/fd")
        form = await collect_form(cut(BODY, 50_000), FORM)
        assert len(os.listdir("/proc/self/fd")) > len(before)
        await form.aclose()
        with pytest.raises(HTTPException):
            await collect_form(cut(BODY[:-10], 50_000), FORM)
        assert len(os.listdir("/proc/self/fd")) == len(before)
        assert os.listdir(tmp_path) == []
    finally:
        tempfile.tempdir = tempdir


def test_the_boundary_of_these_tests_is_in_none_of_their_bodies() -> None:
    assert BODY.count(BOUNDARY.encode()) == 6
