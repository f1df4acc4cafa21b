"""FileResponse in process: what a client gets, byte by byte, and what it gets when things go wrong."""

from __future__ import annotations

import email
import itertools
import mimetypes
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message as MimePart
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import anyio
import anyio.lowlevel
import pytest
from baize.exceptions import HTTPException
from baize.typing import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from kui.concurrency import Exchange, Gone
from kui.http.media_types import MEDIA_TYPES, guess_content_type
from kui.responses import file as module
from kui.responses import open_files, validators
from kui.responses.file import FileResponse, content_disposition
from kui.responses.open_files import FileShrank, OpenFile
from kui.responses.validators import DIGESTED, FileState, file_state
from kui.testing import every_checkpoint

pytestmark = pytest.mark.anyio

Descriptors = Callable[[Path], int]


@dataclass
class Answer:
    """What a server was given to send."""

    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        raw = self.messages[0]["headers"]
        found = {name.decode(): value.decode("latin-1") for name, value in raw}
        assert len(found) == len(raw), "a header twice"
        return found

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])

    @property
    def complete(self) -> bool:
        return not self.messages[-1].get("more_body", False)


async def ask(
    response: FileResponse,
    method: str = "GET",
    *,
    on_send: Callable[[Message], object] = lambda message: None,
    extensions: tuple[str, ...] = (),
    **headers: str,
) -> Answer:
    """What `response` sends in answer to a request with these headers."""
    answer = Answer()

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        answer.messages.append(message)
        on_send(message)

    raw = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "headers": raw,
        "extensions": {name: {} for name in extensions},
    }
    await response(scope, receive, send)
    return answer


# ---- the whole file


async def test_a_file_is_sent_with_what_describes_it(path: Path, content: bytes) -> None:
    os.utime(path, (784_111_777.5, 784_111_777.5))
    answer = await ask(FileResponse(str(path)))
    headers = answer.headers
    assert re.fullmatch('"[0-9a-f]+"', headers.pop("etag"))
    assert (answer.status, answer.body) == (200, content)
    assert headers == {
        "content-type": "application/octet-stream",
        "content-length": "1024",
        "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT",
        "accept-ranges": "bytes",
    }


async def test_a_small_file_takes_two_messages(path: Path) -> None:
    answer = await ask(FileResponse(path))
    assert [message["type"] for message in answer.messages] == [
        "http.response.start",
        "http.response.body",
    ]
    assert answer.complete


async def test_a_large_file_comes_in_chunks(path: Path, content: bytes) -> None:
    answer = await ask(FileResponse(path, chunk_size=300))
    assert [len(message["body"]) for message in answer.messages[1:]] == [300, 300, 300, 124]
    assert answer.body == content
    assert answer.complete


async def test_the_body_is_bytes(path: Path) -> None:
    answer = await ask(FileResponse(path, chunk_size=300))
    assert {type(message["body"]) for message in answer.messages[1:]} == {bytes}


async def test_an_empty_file_is_empty(path: Path) -> None:
    os.truncate(path, 0)
    answer = await ask(FileResponse(path))
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert answer.complete
    answer = await ask(FileResponse(path), range="bytes=0-")
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */0")


async def test_a_sparse_file_of_ten_gigabytes_is_read_where_it_is_asked_for(path: Path) -> None:
    size = 10 << 30
    os.truncate(path, size)
    answer = await ask(FileResponse(path), "HEAD")
    assert answer.headers["content-length"] == str(size)
    answer = await ask(FileResponse(path), range="bytes=-3")
    assert answer.headers["content-range"] == f"bytes {size - 3}-{size - 1}/{size}"
    assert answer.body == b"\0\0\0"


async def test_head_has_the_headers_of_get_and_ignores_ranges(path: Path) -> None:
    whole = await ask(FileResponse(path))
    head = await ask(FileResponse(path), "HEAD", range="bytes=0-9")
    assert (head.status, head.body) == (200, b"")
    assert head.headers == whole.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_ranges_are_for_get_only(method: str, path: Path, content: bytes) -> None:
    answer = await ask(FileResponse(path), method, range="bytes=0-9")
    assert (answer.status, answer.body) == (200, content)


async def test_another_status_is_sent_as_it_is_whatever_was_asked(
    path: Path, content: bytes
) -> None:
    response = FileResponse(path, status_code=404)
    answer = await ask(response, range="bytes=0-9", if_none_match="*", if_match='"x"')
    assert (answer.status, answer.body) == (404, content)


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_status_without_content_has_none(status: int, path: Path) -> None:
    answer = await ask(FileResponse(path, status_code=status))
    assert (answer.status, answer.body) == (status, b"")


async def test_a_response_may_be_sent_again(path: Path, content: bytes) -> None:
    response = FileResponse(path)
    for _ in range(2):
        part = await ask(response, range="bytes=0-9,20-29")
        assert part.headers["content-type"].startswith("multipart/byteranges")
        whole = await ask(response)
        assert (whole.headers["content-type"], whole.body) == ("application/octet-stream", content)


async def test_headers_and_cookies_of_the_user_are_kept(path: Path) -> None:
    response = FileResponse(path, {"Cache-Control": "no-cache", "Content-Length": "7"})
    response.set_cookie("a", "b")
    answer = await ask(response)
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-length"] == "1024"
    assert answer.headers["set-cookie"].startswith("a=b")


# ---- parts of it


async def test_one_range_is_one_part(path: Path, content: bytes) -> None:
    answer = await ask(FileResponse(path), range="bytes=10-19")
    assert (answer.status, answer.body) == (206, content[10:20])
    assert answer.headers["content-range"] == "bytes 10-19/1024"
    assert answer.headers["content-length"] == "10"
    assert answer.headers["content-type"] == "application/octet-stream"


def parts_of(answer: Answer) -> list[tuple[str, str, bytes]]:
    """Content-Type, Content-Range and body of each part, read by the standard library's parser."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parsed = email.message_from_bytes(head + answer.body)
    assert not parsed.defects
    found = []
    for part in parsed.get_payload():
        assert isinstance(part, MimePart)
        body = part.get_payload(decode=True)
        assert isinstance(body, bytes)
        found.append((str(part["content-type"]), str(part["content-range"]), body))
    return found


async def test_several_ranges_are_parts_between_crlf(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abcdefghijklmnopqrstuvwxyz")
    answer = await ask(FileResponse(path), range="bytes=-1,0-2,5-7")
    assert answer.status == 206
    assert "content-range" not in answer.headers
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.body.count(b"\n") == answer.body.count(b"\r\n")
    kind = "text/plain; charset=utf-8"
    assert parts_of(answer) == [
        (kind, "bytes 25-25/26", b"z"),
        (kind, "bytes 0-2/26", b"abc"),
        (kind, "bytes 5-7/26", b"fgh"),
    ]


async def test_parts_of_what_has_no_type_have_none(path: Path) -> None:
    response = FileResponse(path)
    del response.headers["content-type"]
    answer = await ask(response, range="bytes=0-1,5-6")
    assert b"Content-Type" not in answer.body
    assert answer.headers["content-length"] == str(len(answer.body))


async def test_parts_come_in_chunks_too(path: Path, content: bytes) -> None:
    answer = await ask(FileResponse(path, chunk_size=70), range="bytes=0-99,200-399")
    boundary = answer.headers["content-type"].partition("boundary=")[2].encode()
    assert answer.body.count(b"--" + boundary) == 3
    assert answer.headers["content-length"] == str(len(answer.body))
    assert content[0:100] in answer.body
    assert content[200:400] in answer.body
    assert len(answer.messages) == 1 + 2 + 3


async def test_each_boundary_is_another(path: Path) -> None:
    response = FileResponse(path)
    kinds = {(await ask(response, range="bytes=0-1,9-9")).headers["content-type"] for _ in "ab"}
    assert len(kinds) == 2


async def test_ranges_that_become_one_are_no_multipart(path: Path, content: bytes) -> None:
    answer = await ask(FileResponse(path), range="bytes=0-9,10-19")
    assert (answer.status, answer.body) == (206, content[:20])
    assert answer.headers["content-range"] == "bytes 0-19/1024"


async def test_a_range_beyond_the_end_is_416_and_says_the_size(path: Path) -> None:
    response = FileResponse(path, {"Cache-Control": "max-age=9", "X-Id": "1"})
    answer = await ask(response, range="bytes=1024-")
    assert answer.status == 416
    assert answer.headers == {
        "content-range": "bytes */1024",
        "content-length": "0",
        "x-id": "1",
    }


@pytest.mark.parametrize("header", ["bytes=9-1", "lines=1-2", "bytes=x", "bytes=" + "0-0," * 101])
async def test_a_range_that_is_none_gives_the_whole(
    header: str, path: Path, content: bytes
) -> None:
    answer = await ask(FileResponse(path), range=header)
    assert (answer.status, answer.body) == (200, content)


# ---- what the client has already


async def test_what_has_not_changed_is_304_with_what_caches_want(path: Path) -> None:
    response = FileResponse(
        path, {"Cache-Control": "no-cache", "Vary": "Cookie", "Content-Language": "de", "X": "1"}
    )
    first = await ask(response)
    again = await ask(response, if_none_match=first.headers["etag"])
    assert (again.status, again.body, again.complete) == (304, b"", True)
    assert again.headers == {
        "etag": first.headers["etag"],
        "cache-control": "no-cache",
        "vary": "Cookie",
        "x": "1",
    }


async def test_if_modified_since_is_asked_where_there_is_no_etag_to_ask(path: Path) -> None:
    date = (await ask(FileResponse(path))).headers["last-modified"]
    assert (await ask(FileResponse(path), if_modified_since=date)).status == 304
    answer = await ask(FileResponse(path), if_modified_since=date, if_none_match='"other"')
    assert answer.status == 200


async def test_a_failed_precondition_is_412(path: Path) -> None:
    answer = await ask(FileResponse(path), if_match='"other"')
    assert (answer.status, answer.body, answer.headers["content-length"]) == (412, b"", "0")
    assert "etag" not in answer.headers


async def test_if_range_gives_the_whole_of_what_has_changed(path: Path, content: bytes) -> None:
    response = FileResponse(path)
    etag = (await ask(response)).headers["etag"]
    assert (await ask(response, range="bytes=0-9", if_range=etag)).status == 206
    with path.open("ab") as more:
        more.write(b"!")
    answer = await ask(response, range="bytes=0-9", if_range=etag)
    assert (answer.status, answer.body) == (200, content + b"!")


@pytest.mark.parametrize("change", ["size", "content", "file"])
async def test_any_change_changes_the_etag(change: str, path: Path, content: bytes) -> None:
    before = os.stat(path)
    times = (before.st_atime_ns, before.st_mtime_ns)
    first = (await ask(FileResponse(path))).headers["etag"]
    if change == "size":
        os.truncate(path, 1000)
    elif change == "content":
        with path.open("r+b") as file:
            file.write(content[::-1])
    else:
        other = path.with_suffix(".new")
        other.write_bytes(content[::-1])
        os.replace(other, path)
    os.utime(path, ns=times)
    assert (await ask(FileResponse(path))).headers["etag"] != first


async def etag_of(path: Path) -> str:
    return (await ask(FileResponse(path), "HEAD")).headers["etag"]


async def test_copies_have_the_same_etag_whatever_their_age(
    path: Path, tmp_path: Path, age: Callable[[Path, int], None]
) -> None:
    copy = Path(shutil.copyfile(path, tmp_path / "copy.bin"))
    age(copy, 3600)
    assert await etag_of(copy) == await etag_of(path)
    assert re.fullmatch('"[0-9a-f]{24}"', await etag_of(path))


async def test_large_copies_that_keep_their_mtime_have_the_same_etag(tmp_path: Path) -> None:
    large, copy = tmp_path / "large.bin", tmp_path / "copy.bin"
    for size, alike in ((DIGESTED, True), (DIGESTED + 1, False)):
        for path, content in ((large, b"a"), (copy, b"a")):
            path.write_bytes(content * size)
            os.utime(path, ns=(10**18 + 7, 10**18 + 7))
        assert await etag_of(copy) == await etag_of(large)
        os.utime(copy, ns=(10**18 + 8, 10**18 + 8))
        assert (await etag_of(copy) == await etag_of(large)) is alike


async def test_the_content_of_a_file_that_stays_is_digested_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    class Counting(OpenFile):
        __slots__ = ()

        async def read(self, offset: int, count: int) -> bytes:
            read.append(offset)
            return await super().read(offset, count)

    async def state() -> FileState:
        file = Counting(str(path))
        file.open_now()
        try:
            return await file_state(file)
        finally:
            file.close()

    assert await state() == await state()
    assert len(read) == 2  # it was written just now, and may be again within the same tick
    later = time.time_ns() + 10**10
    monkeypatch.setattr(validators.time, "time_ns", lambda: later)
    states = {await state() for _ in range(3)}
    assert len(read) == 3
    os.truncate(path, 5)
    assert await state() not in states
    assert len(read) == 4


async def test_the_digests_that_are_kept_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validators, "_MOST_KEPT", 3)
    monkeypatch.setattr(validators, "_kept", kept := {})
    later = time.time_ns() + 10**10
    monkeypatch.setattr(validators.time, "time_ns", lambda: later)
    for number in range(5):
        (tmp_path / "a").write_bytes(b"%d" % number * (number + 1))
        await etag_of(tmp_path / "a")
    assert [key[2] for key in kept] == [3, 4, 5]


async def test_a_young_file_has_a_weak_etag_and_at_first_no_date(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = os.stat(path).st_mtime_ns
    for nanoseconds, weak, dated in (
        (0, True, False),
        (999_999_999, True, False),
        (1_000_000_000, True, True),
        (1_999_999_999, True, True),
        (2_000_000_000, False, True),
    ):
        now = written + nanoseconds
        monkeypatch.setattr(validators.time, "time_ns", lambda now=now: now)
        answer = await ask(FileResponse(path))
        assert answer.headers["etag"].startswith("W/") is weak
        assert ("last-modified" in answer.headers) is dated
        again = await ask(FileResponse(path), if_none_match=answer.headers["etag"])
        assert again.status == 304
        date = formatdate(written // 10**9, usegmt=True)
        since = await ask(FileResponse(path), if_modified_since=date)
        assert since.status == (304 if dated else 200)
        part = await ask(FileResponse(path), range="bytes=0-9", if_range=date)
        assert part.status == (206 if dated else 200)
        unless = await ask(FileResponse(path), range="bytes=0-9", if_unmodified_since=date)
        assert unless.status == (206 if dated else 412)


@pytest.mark.parametrize("size", [2000, DIGESTED + 1])
async def test_a_file_replaced_within_its_second_never_splices_a_download(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "nightly.bin"
    second = 10**18
    for first, then in itertools.combinations(range(0, 4_000_000_000, 250_000_000), 2):
        if first >= 10**9:
            break
        path.write_bytes(b"a" * size)
        os.utime(path, ns=(second + first, second + first))
        monkeypatch.setattr(validators.time, "time_ns", lambda at=second + first: at)
        before = (await ask(FileResponse(path), range="bytes=0-9")).headers
        path.write_bytes(b"b" * size)
        os.utime(path, ns=(second + then, second + then))
        for at in (then, then + 10**9, then + 10**10):
            monkeypatch.setattr(validators.time, "time_ns", lambda at=second + at: at)
            for name in "etag", "last-modified":
                if name in before:
                    answer = await ask(FileResponse(path), range="bytes=10-", if_range=before[name])
                    assert answer.status == 200


async def test_a_file_that_changes_while_it_is_digested_has_a_weak_etag(
    path: Path, age: Callable[[Path, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = OpenFile.read
    changes = iter([lambda: path.write_bytes(b"x" * 1024), lambda: os.truncate(path, 0)])

    async def change_and_read(self: OpenFile, offset: int, count: int) -> bytes:
        for change in changes:
            change()
            break
        return await read(self, offset, count)

    monkeypatch.setattr(OpenFile, "read", change_and_read)
    for _ in range(2):
        age(path, 60)
        headers = (await ask(FileResponse(path), "HEAD")).headers
        assert headers["etag"].startswith('W/"')
        assert "last-modified" not in headers


async def test_validators_among_the_headers_come_first(path: Path) -> None:
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    response = FileResponse(path, {"ETag": 'W/"v7"', "Last-Modified": date})
    answer = await ask(response)
    assert (answer.headers["etag"], answer.headers["last-modified"]) == ('W/"v7"', date)
    assert (await ask(response, if_none_match='"v7"')).status == 304
    assert (await ask(response, if_modified_since=date)).status == 304
    assert (await ask(response, range="bytes=0-0", if_range='W/"v7"')).status == 200


async def test_no_date_ahead_of_the_clock_is_sent(path: Path) -> None:
    os.utime(path, (time.time() + 10_000,) * 2)
    date = (await ask(FileResponse(path))).headers["last-modified"]
    assert date in {formatdate(time.time() - ago, usegmt=True) for ago in range(5)}


# ---- what is no file


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "below", "nul", "long", "loop"])
async def test_what_is_no_file_is_404_before_anything_is_sent(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "directory").mkdir()
    name = {"below": "file/below", "nul": "a\0b", "long": "x" * 300}.get(kind, kind)
    sent: list[Message] = []
    with pytest.raises(HTTPException) as raised:
        await ask(FileResponse(os.path.join(tmp_path, name)), on_send=sent.append)
    assert raised.value.status_code == 404
    assert isinstance(raised.value.__cause__, OSError | ValueError)
    assert not sent


async def test_the_missing_file_is_the_cause_of_the_404(tmp_path: Path) -> None:
    with pytest.raises(HTTPException) as raised:
        await ask(FileResponse(tmp_path / "missing"))
    assert isinstance(raised.value.__cause__, FileNotFoundError)


async def test_a_file_that_may_not_be_read_is_an_error_of_the_server(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(open_files, "open_cached", lambda name: None)
    monkeypatch.setattr(open_files.os, "open", refuse)
    with pytest.raises(PermissionError):
        await ask(FileResponse(path))


async def test_a_stat_result_saves_the_opening_of_what_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = FileResponse(tmp_path, stat_result=os.stat(tmp_path))
    monkeypatch.setattr(module, "open_file", None)
    with pytest.raises(HTTPException) as raised:
        await ask(response)
    assert isinstance(raised.value.__cause__, IsADirectoryError)


async def test_a_stat_result_that_is_old_changes_nothing(path: Path, content: bytes) -> None:
    old = os.stat(path)
    with path.open("ab") as more:
        more.write(b"!")
    for method in ("GET", "HEAD"):
        answer = await ask(FileResponse(path, stat_result=old), method)
        assert answer.headers == (await ask(FileResponse(path))).headers
    assert (await ask(FileResponse(path, stat_result=old))).body == content + b"!"


# ---- what changes meanwhile


async def test_a_file_that_shrinks_is_cut(path: Path, descriptors: Descriptors) -> None:
    sent: list[Message] = []

    def shrink(message: Message) -> None:
        sent.append(message)
        os.truncate(path, 150)

    with pytest.raises(FileShrank):
        await ask(FileResponse(path, chunk_size=100), on_send=shrink)
    assert sum(len(message.get("body", b"")) for message in sent) < 1024
    assert sent[-1]["more_body"]
    assert descriptors(path) == 0


async def test_a_file_that_grows_is_sent_as_it_was_promised(path: Path, content: bytes) -> None:
    def grow(message: Message) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    answer = await ask(FileResponse(path, chunk_size=100), on_send=grow)
    assert (answer.headers["content-length"], answer.body) == ("1024", content)


async def test_a_file_that_is_replaced_is_sent_to_its_end(path: Path, content: bytes) -> None:
    answer = await ask(
        FileResponse(path, chunk_size=100),
        on_send=lambda message: path.unlink(missing_ok=True),
    )
    assert answer.body == content


async def test_a_disk_that_fails_at_once_fails_before_the_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(open_files.OpenFile, "read_cached", lambda *args: None)
    monkeypatch.setattr(open_files, "_read", fail)
    sent: list[Message] = []
    with pytest.raises(OSError, match="Input/output"):
        await ask(FileResponse(path), on_send=sent.append)
    assert not sent


# ---- who leaves


async def test_a_client_that_has_left_ends_the_response(
    path: Path, descriptors: Descriptors
) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 3:
            exchange.terminate(Gone.CLIENT_LEFT)

    scope = {"type": "http", "http_version": "1.1", "method": "GET", "headers": []}
    exchange = Exchange(scope, receive, send)
    await FileResponse(path, chunk_size=10)(scope, exchange.receive, exchange.send)
    assert len(sent) == 3
    assert descriptors(path) == 0


async def test_a_server_that_says_the_client_has_left_ends_the_response(
    path: Path, descriptors: Descriptors
) -> None:
    sent: list[Message] = []

    def leave(message: Message) -> None:
        sent.append(message)
        if len(sent) == 3:
            raise BrokenPipeError

    await ask(FileResponse(path, chunk_size=10), on_send=leave)
    assert len(sent) == 3
    assert descriptors(path) == 0


@pytest.mark.parametrize(
    ("anyio_backend", "how"), [("asyncio", "scope"), ("asyncio", "native"), ("trio", "scope")]
)
@pytest.mark.parametrize("where", ["memory", "disk"])
async def test_nothing_is_left_open_wherever_it_is_cut(
    how: Any, where: str, path: Path, descriptors: Descriptors, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "disk":
        monkeypatch.setattr(open_files, "open_cached", lambda name: None)
        monkeypatch.setattr(open_files.OpenFile, "read_cached", lambda *args: None)

    async def scenario(state: SimpleNamespace) -> None:
        async def receive() -> Message:
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Message) -> None:
            await anyio.lowlevel.checkpoint()

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "headers": [(b"range", b"bytes=0-99,200-299")],
        }
        await FileResponse(path, chunk_size=60)(scope, receive, send)

    async def check(state: SimpleNamespace) -> None:
        if how == "scope":
            assert descriptors(path) == 0
        with anyio.fail_after(10):
            while descriptors(path):
                await anyio.lowlevel.checkpoint()

    assert await every_checkpoint(scenario, check, how=how) >= 5


# ---- what the server can do better


async def test_zerocopysend_is_given_the_descriptor_and_the_place(
    path: Path, content: bytes, descriptors: Descriptors
) -> None:
    seen: list[bytes] = []

    def read(message: Message) -> None:
        if message["type"] == "http.response.zerocopysend":
            file = message["file"]
            reader, writer = os.pipe()
            # By what may stand for a descriptor: the number, and the object.
            assert os.sendfile(writer, file, message["offset"], message["count"])
            os.close(writer)
            seen.append(os.read(reader, 9999))
            os.close(reader)
            assert os.pread(file.fileno(), 9999, message["offset"])[: message["count"]] == seen[-1]

    response = FileResponse(path)
    extensions = ("http.response.zerocopysend", "http.response.pathsend")
    answer = await ask(response, extensions=extensions, on_send=read)
    assert [message["type"] for message in answer.messages[1:]] == ["http.response.zerocopysend"]
    assert answer.complete
    assert seen == [content]
    seen.clear()
    answer = await ask(response, extensions=extensions, on_send=read, range="bytes=10-19,30-39")
    assert seen == [content[10:20], content[30:40]]
    assert answer.complete
    assert all(message["more_body"] for message in answer.messages[1:-1])
    length = sum(message.get("count") or len(message["body"]) for message in answer.messages[1:])
    assert answer.headers["content-length"] == str(length)
    assert descriptors(path) == 0


async def test_pathsend_is_for_the_whole_file(
    path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, descriptors: Descriptors
) -> None:
    monkeypatch.chdir(path.parent)
    response = FileResponse(path.name)
    answer = await ask(response, extensions=("http.response.pathsend",))
    assert answer.messages[1:] == [{"type": "http.response.pathsend", "path": str(path)}]
    assert answer.headers["content-length"] == "1024"
    answer = await ask(response, extensions=("http.response.pathsend",), range="bytes=0-9")
    assert answer.body == content[:10]
    assert descriptors(path) == 0


@pytest.mark.parametrize("extension", ["zerocopysend", "pathsend"])
async def test_no_extension_is_used_where_there_is_nothing_to_send(
    extension: str, path: Path
) -> None:
    extensions = (f"http.response.{extension}",)
    head = await ask(FileResponse(path), "HEAD", extensions=extensions)
    fresh = await ask(FileResponse(path), extensions=extensions, if_none_match="*")
    os.truncate(path, 0)
    empty = await ask(FileResponse(path), extensions=extensions)
    for answer in (head, fresh, empty):
        assert answer.messages[1:] == [{"type": "http.response.body", "body": b""}]


# ---- names and types


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "text/plain; charset=utf-8"),
        ("/b/a.HTML", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.pdf", "application/pdf"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.woff2", "font/woff2"),
        ("a.webp", "image/webp"),
        ("a.m4a", "audio/mp4"),
        ("a.mkv", "video/matroska"),
        ("a.wasm", "application/wasm"),
        ("a.avif", "image/avif"),
        ("a.ts", "video/mp2t"),
        ("a.svg", "image/svg+xml"),
        ("a.xml", "application/xml"),
        ("a.json", "application/json"),
        ("a", "application/octet-stream"),
        ("a.nonsense", "application/octet-stream"),
        ("a.tar.gz", "application/gzip"),
        ("a.txt.xz", "application/x-xz"),
        ("a.html.br", "application/octet-stream"),
        ("a.html.zst", "application/zstd"),
        ("a.tgz", "application/gzip"),
        ("a.svgz", "application/gzip"),
        ("a.tbz2", "application/x-bzip2"),
        (".js", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
        ("http://a/b.png?c=d.html", "text/html; charset=utf-8"),
    ],
)
def test_the_name_suggests_the_type(name: str, kind: str) -> None:
    assert guess_content_type(name) == kind


def test_the_type_does_not_depend_on_the_tables_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = mimetypes.MimeTypes(())
    wrong = mimetypes.MimeTypes(())
    for extension in MEDIA_TYPES:
        empty.types_map[True].pop(extension, None)
        wrong.add_type("application/wrong", extension)
    for machine in empty, wrong:
        monkeypatch.setattr(mimetypes, "_db", machine)
        guess_content_type.cache_clear()
        for extension, kind in MEDIA_TYPES.items():
            found = guess_content_type(f"a/b{extension.upper()}")
            assert found.partition(";")[0] == kind
            assert found.endswith("; charset=utf-8") == kind.startswith("text/")


def test_an_application_may_add_a_type(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = mimetypes.MimeTypes(())
    monkeypatch.setattr(mimetypes, "_db", machine)
    machine.add_type("model/gltf+json", ".gltf")
    machine.add_type("text/x-notes", ".notes")
    guess_content_type.cache_clear()
    assert guess_content_type("a.gltf") == "model/gltf+json"
    assert guess_content_type("a.notes.br", encoded=True) == "text/x-notes; charset=utf-8"
    assert guess_content_type("a.svgz", encoded=True) == "image/svg+xml"
    guess_content_type.cache_clear()


async def test_a_file_that_is_encoded_by_its_headers_has_the_type_of_what_is_in_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "page.html.gz"
    path.touch()
    assert FileResponse(path).headers["content-type"] == "application/gzip"
    encoded = FileResponse(path, {"Content-Encoding": "gzip"})
    assert encoded.headers["content-type"] == "text/html; charset=utf-8"


def test_the_type_comes_from_the_headers_the_argument_the_new_name_or_the_path() -> None:
    html = {"Content-Type": "text/html"}
    assert FileResponse("a.txt", html, "a/b").headers["content-type"] == "text/html"
    assert FileResponse("a.txt", None, "a/b", "c.png").headers["content-type"] == "a/b"
    assert FileResponse("a.txt", None, None, "c.png").headers["content-type"] == "image/png"
    assert FileResponse("a.png", download_name="c").headers["content-type"] == "image/png"


def test_arguments_stand_where_they_always_stood() -> None:
    status = os.stat(__file__)
    response = FileResponse(__file__, {"X": "1"}, "a/b", "c", status, 4096, status_code=203)
    assert (response.filepath, response.stat_result) == (__file__, status)
    assert (response.chunk_size, response.status_code) == (4096, 203)
    assert dict(response.headers) == {
        "x": "1",
        "content-type": "a/b",
        "content-disposition": 'attachment; filename="c"',
    }


def test_bad_arguments_are_refused_where_they_are_given() -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        FileResponse("a", chunk_size=0)
    with pytest.raises(TypeError):
        FileResponse(7)  # type: ignore[arg-type]  # that is the mistake
    with pytest.raises(ValueError, match="control"):
        FileResponse("a", content_type="a/b\r\nX: y")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a b.txt", 'attachment; filename="a b.txt"'),
        ("", "attachment"),
        ('a"b', "attachment; filename=\"a_b\"; filename*=UTF-8''a%22b"),
        ("50%.txt", "attachment; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
        ("\u00dcber.txt", "attachment; filename=\"Uber.txt\"; filename*=UTF-8''%C3%9Cber.txt"),
        ("\u4e2d", "attachment; filename=\"_\"; filename*=UTF-8''%E4%B8%AD"),
        ("../a", "attachment; filename=\".._a\"; filename*=UTF-8''..%2Fa"),
        ("a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        ("\ud800", "attachment; filename=\"_\"; filename*=UTF-8''%EF%BF%BD"),
    ],
)
def test_a_download_name_is_written_for_old_and_new_browsers(name: str, header: str) -> None:
    assert content_disposition(name) == header
    assert FileResponse("a", download_name=name).headers["content-disposition"] == header


@settings(deadline=None)
@given(st.text(min_size=1))
def test_any_name_comes_through_and_brings_nothing_with_it(name: str) -> None:
    header = content_disposition(name)
    plain, encoded = re.fullmatch(
        r"""attachment; filename="([ !#$&-.0-\[\]-~]*)"(?:; filename\*=UTF-8''([!#$&+\-.^_`|~%0-9A-Za-z]+))?""",
        header,
    ).groups()  # type: ignore[union-attr]  # no match is a failure as well
    assert (plain if encoded is None else unquote(encoded)) == name
