"""The one timer of a server: what time it is, the Date header, and which clients have been waited for too long.

A request costs neither a scope nor a timer: a connection keeps a deadline, and is asked at every tick.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from email.utils import formatdate
from typing import Final, Protocol

import anyio

__all__ = ["NEVER", "TICK", "Ticker", "Timed"]

TICK: Final = 0.5
"""Seconds between two ticks: how late a deadline may be noticed."""
NEVER: Final = float("inf")

logger = logging.getLogger("kui.server")


class Timed(Protocol):
    """What has deadlines."""

    def tick(self, now: float) -> None:
        """Look at the deadlines. Must not wait, nor do anything for an app."""


class Ticker:
    """Ticks while there is something to tick for.

    :param clock: the clock of the running event loop, in seconds.

    `now` is that clock's time, and `date` the value of a Date header (RFC 9110, 6.6.1), both of the
    last tick; they are fresh when the first connection is added.
    """

    __slots__ = ("_clock", "_timed", "_wanted", "date", "now")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._timed: set[Timed] = set()
        self._wanted = anyio.Event()
        self.now = 0.0
        self.date = b""
        self._refresh()

    def add(self, timed: Timed) -> None:
        """Call its `tick` from now on."""
        if not self._timed:
            self._refresh()
            self._wanted.set()
        self._timed.add(timed)

    def discard(self, timed: Timed) -> None:
        """Call its `tick` no more."""
        self._timed.discard(timed)

    async def run(self) -> None:
        """Tick until cancelled. What a `tick` raises is logged, and ends nothing."""
        while True:
            await self._wanted.wait()
            while self._timed:
                await anyio.sleep(TICK)
                self._refresh()
                for timed in tuple(self._timed):
                    try:
                        timed.tick(self.now)
                    except Exception:
                        logger.exception("A connection's deadline could not be looked at")
            self._wanted = anyio.Event()

    def _refresh(self) -> None:
        self.now = self._clock()
        self.date = formatdate(usegmt=True).encode("ascii")
