"""A file to send, and the descriptors that are open on it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CONTENT = bytes(range(256)) * 4
"""1,024 bytes, no two of which within a line are alike."""


@pytest.fixture
def age() -> Callable[[Path, int], None]:
    """Sets the mtime of a file to so many seconds before now."""

    def age(path: Path, seconds: int) -> None:
        then = time.time_ns() - seconds * 10**9
        os.utime(path, ns=(then, then))

    return age


@pytest.fixture
def content() -> bytes:
    return CONTENT


@pytest.fixture
def path(tmp_path: Path, age: Callable[[Path, int], None]) -> Path:
    """A file that the kernel has in memory, since it was written just now; its mtime is older."""
    path = tmp_path / "digits.bin"
    path.write_bytes(CONTENT)
    age(path, 60)
    return path


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A file on tmpfs, which does not say what is in memory."""
    if not os.path.isdir("/dev/shm"):
        pytest.skip("there is no tmpfs")
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="kui-") as file:
        file.write(CONTENT)
        file.flush()
        yield Path(file.name)


@pytest.fixture
def descriptors() -> Callable[[Path], int]:
    """How many descriptors of this process are open on a file."""

    def count(path: Path) -> int:
        found = 0
        for number in os.listdir("/proc/self/fd"):
            try:
                found += os.readlink(f"/proc/self/fd/{number}").split(" (deleted)")[0] == str(path)
            except OSError:
                continue  # that of the listing itself
        return found

    return count
