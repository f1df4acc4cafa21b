"""Make the ETag and the Last-Modified of a file, which tell its states apart (RFC 9110, section 8.8).

A client must never join the bytes of two states of a file. So a strong validator is given only if the file cannot
change again within the same time stamp. `kui.http.ranges` compares validators with a request.
"""

from __future__ import annotations

import os
import time
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

from kui.http.ranges import Validators

from .open_files import FileShrank, OpenFile

__all__ = ["DIGESTED", "FileState", "file_state"]

DIGESTED: Final = 4 * 1024 * 1024
"""Largest file, in bytes, whose ETag is a digest of the content, so that copies have the same ETag."""

_SECOND: Final = 10**9
_YOUNG: Final = 2 * _SECOND
_CHUNK: Final = 256 * 1024
_MOST_KEPT: Final = 4096

_Key: TypeAlias = tuple[int, int, int, int, int]

_kept: dict[_Key, str] = {}
"""The digests of contents, by a key that changes when a file changes; the oldest first."""


class FileState(NamedTuple):
    """The validators of a file, and the Last-Modified to send (seconds since 1970, or None)."""

    validators: Validators
    last_modified: int | None

    def with_etag(self, etag: str) -> FileState:
        """Return a copy with another ETag."""
        return FileState(self.validators._replace(etag=etag), self.last_modified)


async def file_state(file: OpenFile) -> FileState:
    """Return the state of a file at the moment when it was opened. If cancelled, nothing is kept.

    The ETag is a digest of the content; for a file of more than `DIGESTED` bytes, of its size and its mtime in
    nanoseconds. It is weak while the mtime is less than 2 seconds old, or in the future. Last-Modified is not sent
    before the mtime is a second old (RFC 9110, 8.8.2.2); a date in the future is replaced by now (8.8.2.1).

    :raises OSError: the file cannot be read.
    """
    modified = file.stat.st_mtime_ns
    stable = True
    if file.size > DIGESTED:
        tag = _digest(b"%d-%d" % (file.size, modified))
    else:
        tag, stable = await _content_tag(file)
    now = time.time_ns()
    age = now - modified
    second = max(0, modified // _SECOND)
    etag = f'"{tag}"' if stable and age >= _YOUNG else f'W/"{tag}"'
    settled = stable and age >= _SECOND
    sent = second if settled else now // _SECOND if age < 0 else None
    return FileState(Validators(etag, second, settled), sent)


async def _content_tag(file: OpenFile) -> tuple[str, bool]:
    """Return the digest of a file's content, and True if the file has not changed meanwhile."""
    key = _key(file.stat)
    if key in _kept:
        return _kept[key], True
    digest = blake2b(digest_size=12)
    offset = 0
    try:
        while offset < file.size:
            chunk = await file.read(offset, min(_CHUNK, file.size - offset))
            digest.update(chunk)
            offset += len(chunk)
    except FileShrank:  # an error only while the file is sent, and HEAD and 304 do not send it
        return digest.hexdigest(), False
    tag = digest.hexdigest()
    if _key(os.fstat(file.fileno())) != key:
        return tag, False
    # A change within the same tick of the file system's clock would not change the key.
    if time.time_ns() - max(file.stat.st_mtime_ns, file.stat.st_ctime_ns) >= _YOUNG:
        if len(_kept) >= _MOST_KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = tag
    return tag, True


def _key(status: os.stat_result) -> _Key:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=12).hexdigest()
