"""How one task wakes many others, and the waits that a resource of the application needs."""

from __future__ import annotations

import anyio
import anyio.lowlevel

__all__ = ["Notice", "checkpoint", "pause"]

checkpoint = anyio.lowlevel.checkpoint
"""Give other tasks a turn, and be cancelled if that is due."""
pause = anyio.sleep
"""Wait for a number of seconds."""


class Notice:
    """Wakes all tasks that wait at this moment; one that comes later waits for the next time.

    A task looks at what it waits for, and calls `wait()` without a checkpoint in between: then it
    misses nothing. Cancelling a wait changes nothing for the others.
    """

    __slots__ = ("__weakref__", "_event")

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def notify(self) -> None:
        """Wake the tasks that wait now. Never waits itself."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait until `notify` is called."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()
