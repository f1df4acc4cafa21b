"""Wait for a condition, on either loop. The kit's exchanges are built on it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

import anyio
import anyio.lowlevel

__all__ = ["UNSET", "Signal", "Unset", "within"]


TURNS: Final = 50
"""Turns of the loop that are granted after a timeout, for a process that was held up."""


class Unset(enum.Enum):
    """The type of a parameter that was not given, if None has a meaning."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


class Signal:
    """Wakes the waiting tasks after a change of state, so that they check their conditions again.

    A condition must be checked, and the state changed, without an await in between; then no change is missed. A waiter
    that is cancelled does not change the state.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wake all waiting tasks."""
        self._event.set()
        self._event = anyio.Event()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until `holds()` is true. If it is true already, this is no checkpoint."""
        while not holds():
            await self._event.wait()


async def within(seconds: float | None, signal: Signal, holds: Callable[[], object]) -> bool:
    """Wait as `signal.until` does, for at most `seconds` of the loop's time; return True if the condition holds.

    After that time a few more turns of the loop are granted, because a process that was held up had none in it.
    """
    with anyio.move_on_after(seconds):
        await signal.until(holds)
    for _ in range(TURNS):
        if holds():
            return True
        await anyio.lowlevel.checkpoint()
    return bool(holds())
