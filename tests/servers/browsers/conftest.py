"""The fixture of tests with a real browser, `open_window(url)`, beside those of real servers.

Without chromium they are skipped, unless the environment variable KUI_REQUIRE_CHROMIUM is set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from tests.support.chromium import Window, find_chromium


class OpenWindow(Protocol):
    def __call__(self, url: str) -> Window: ...


@pytest.fixture
def open_window() -> Iterator[Callable[[str], Window]]:
    """Open a URL in a browser of its own; killed at the end of the test."""
    chromium = find_chromium()
    if chromium is None:
        reason = "no chromium is installed: apt-get install chromium"
        if os.environ.get("KUI_REQUIRE_CHROMIUM"):
            pytest.fail(reason)
        pytest.skip(reason)
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(Window(chromium, url))
