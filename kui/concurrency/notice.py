"""A notice by which one task wakes many others, and two plain waits for code that must not import anyio."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import anyio
import anyio.lowlevel

__all__ = ["Notice", "checkpoint", "pause"]

checkpoint = anyio.lowlevel.checkpoint
"""Give other tasks a turn, and raise a cancellation that is due."""
pause = anyio.sleep
"""Wait for a number of seconds."""


class Notice:
    """Wakes all tasks that wait now. A task that calls `wait()` later waits for the next `notify()`.

    A task must check its condition and then call `wait()` without a checkpoint in between; then it misses no
    `notify()`. Cancelling one wait does not affect the others.
    """

    __slots__ = ("__weakref__", "_event")

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def notify(self) -> None:
        """Wake the tasks that wait now."""
        if self._event is not None:
            self._event.set()
            self._event = None

    def wait(self) -> Coroutine[Any, Any, None]:
        """Wait until the next `notify()`."""
        if self._event is None:
            self._event = anyio.Event()
        return self._event.wait()
