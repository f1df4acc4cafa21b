"""The fixture `servers`, for tests of signals: import it into a folder's `conftest.py`."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def servers() -> Iterator[list[int]]:
    """The signals that a server's own handler has got."""
    got: list[int] = []

    def handler(number: int, frame: object) -> None:
        got.append(number)

    old = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    yield got
    for number, before in old.items():
        signal.signal(number, before)
