"""The fixture of tests with a real browser: `open_window(url)`.

Without chromium they are skipped, unless the environment variable KUI_REQUIRE_CHROMIUM is set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from .browser import Window, find_chromium

__all__ = ["open_window"]


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
