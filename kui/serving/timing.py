"""The only timer of a server: it keeps the time, the Date header and the deadlines of all connections.

A request needs neither a scope nor a timer: a connection stores its deadline, and checks it at every tick.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from email.utils import formatdate
from typing import Final, Protocol

import anyio

__all__ = ["NEVER", "TICK", "Ticker", "Timed"]

TICK: Final = 0.5
"""Seconds between two ticks. A deadline may be noticed so much later."""
NEVER: Final = float("inf")

logger = logging.getLogger("kui.server")


class Timed(Protocol):
    """An object with deadlines."""

    def tick(self, now: float) -> None:
        """Check the deadlines. Must not wait, nor call an app."""


class Ticker:
    """Ticks while there are connections.

    - `now`: the time of the last tick, by `clock`. It is refreshed when the first connection is added; so is `date`.
    - `date`: the value of the Date header (RFC 9110, section 6.6.1) at the last tick.

    :param clock: the clock of the running event loop, in seconds.
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
        """Call `timed.tick` from now on."""
        if not self._timed:
            self._refresh()
            self._wanted.set()
        self._timed.add(timed)

    def discard(self, timed: Timed) -> None:
        """Stop calling `timed.tick`."""
        self._timed.discard(timed)

    async def run(self) -> None:
        """Tick until cancelled. An exception of a `tick` is logged, and the others go on."""
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
