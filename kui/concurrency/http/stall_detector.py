"""Clients of whom nothing can be known, because what they have sent and nobody reads fills the buffer (design: "Send").

A server tells that such a client has gone only behind all of that, in a queue that may be full as well. Who looks,
and when, is `watch`'s; what is cancelled when a client is given up, its owner's.
"""

from __future__ import annotations

import math
from typing import Final

from kui.concurrency.loops import clock

from .exchange import STALL, Exchange, Gone

__all__ = ["NEGLECT", "Stall"]

NEGLECT: Final = 300.0
"""Seconds after which nobody is expected to read the rest of a body that somebody has begun to read."""


class Stall:
    """Looks after `exchange` while its response is on its way.

    A body that nobody has begun to read in 30 s, or has read on in 300, is thrown away: then one sees
    when the client goes. Where somebody has begun, a client that lets nothing through for 30 s is given up.
    """

    __slots__ = ("_blocked_since", "_clock", "_exchange", "_sending", "_taken", "_unread_since")

    def __init__(self, exchange: Exchange) -> None:
        self._clock = clock()
        self._exchange = exchange
        self._taken: object = None
        self._unread_since = 0.0
        self._sending: object = None
        self._blocked_since = 0.0

    def due(self) -> float:
        """When to look next, in the loop's time."""
        return self._clock() + STALL / 10 if self._exchange.full else math.inf

    def look(self, sending: object) -> None:
        """Look whether anything has happened; `sending` changes with each `send`, and is None while nobody does."""
        exchange, now = self._exchange, self._clock()
        taken = exchange.unasked if exchange.full else None  # none comes in before one was taken
        if taken is None or taken != self._taken:
            self._taken, self._unread_since = taken, now
        if taken is None or sending is None or sending != self._sending:
            self._sending, self._blocked_since = sending, now
        if not exchange.was_read:
            if now - self._unread_since >= STALL:
                exchange.discard()
        elif now - self._blocked_since >= STALL:
            exchange.leave(Gone.STALLED)
        elif now - self._unread_since >= NEGLECT:
            exchange.discard()
