"""Waiting until something holds, on either loop: the one primitive under the kit's exchanges."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

import anyio

__all__ = ["UNSET", "Signal", "Unset", "within"]


class Unset(enum.Enum):
    """The type of a parameter that was not given, where None means something."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


class Signal:
    """Tells whoever waits that the state has changed: they look at it again.

    State is changed and read between two awaits, so nothing is lost between `notify` and a waiter's
    look; a waiter that is cancelled leaves the state as it is.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wake everyone who waits."""
        self._event.set()
        self._event = anyio.Event()

    async def until(self, holds: Callable[[], object]) -> None:
        """Return when `holds()` is true: at once if it is so already, without a checkpoint."""
        while not holds():
            await self._event.wait()


async def within(seconds: float | None, signal: Signal, holds: Callable[[], object]) -> bool:
    """Wait as `signal.until` does, but for `seconds` of the loop's time at most; did it hold?"""
    with anyio.move_on_after(seconds):
        await signal.until(holds)
    return bool(holds())
