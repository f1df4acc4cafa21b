"""Clients of whom nothing can be known, because what they have sent and nobody reads fills the buffer (design: "Send").

A server tells that such a client has gone only behind all of that, in a queue that may be full as well. Who looks,
and when, is `watch`'s; what is cancelled when a client is given up, its owner's.
"""

from __future__ import annotations

import math

from .exchange import STALL, Exchange, Gone
from .loops import clock

__all__ = ["Stall"]


class Stall:
    """Looks after `exchange` while its response is on its way.

    A body that nobody has begun to read in 30 s is thrown away: then one sees when the client goes.
    Where somebody reads it, a client that lets nothing through for 30 s is given up.
    """

    __slots__ = ("_clock", "_exchange", "_seen", "_since")

    def __init__(self, exchange: Exchange) -> None:
        self._clock = clock()
        self._exchange = exchange
        self._seen: object = None
        self._since = 0.0

    def due(self) -> float:
        """When to look next, in the loop's time."""
        return self._clock() + STALL / 10 if self._exchange.full else math.inf

    def look(self, progress: object) -> None:
        """Look whether anything has happened; `progress` changes when something does, None while nobody sends."""
        exchange, now = self._exchange, self._clock()
        if not exchange.full:
            progress = None
        elif not exchange.was_read:
            progress = exchange
        if progress is None or progress != self._seen:
            self._seen, self._since = progress, now
        elif now - self._since >= STALL:
            if exchange.was_read:
                exchange.leave(Gone.STALLED)
            else:
                exchange.discard()
