"""Waiting for a condition, on either loop: the primitive of the kit's exchanges."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

import anyio
import anyio.lowlevel

__all__ = ["UNSET", "Signal", "Unset", "within"]


TURNS: Final = 50
"""Turns of the loop in which what has been held up may still be done."""


class Unset(enum.Enum):
    """The type of a parameter that was not given, if None has a meaning."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


class Signal:
    """Wakes the waiting tasks when the state has changed, to check their conditions again.

    State is changed and read without an await in between, so no change is missed. A waiter that is
    cancelled does not change the state.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify(self) -> None:
        """Wake all waiting tasks."""
        self._event.set()
        self._event = anyio.Event()

    async def until(self, holds: Callable[[], object]) -> None:
        """Return when `holds()` is true; without a checkpoint if it is true already."""
        while not holds():
            await self._event.wait()


async def within(seconds: float | None, signal: Signal, holds: Callable[[], object]) -> bool:
    """Wait as `signal.until` does, for at most `seconds` of the loop's time; return True if the condition holds.

    A few turns of the loop are left behind that time: a process that was held up itself has had none in it.
    """
    with anyio.move_on_after(seconds):
        await signal.until(holds)
    for _ in range(TURNS):
        if holds():
            return True
        await anyio.lowlevel.checkpoint()
    return bool(holds())
