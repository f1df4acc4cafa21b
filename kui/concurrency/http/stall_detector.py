"""Notice a client that has stopped reading, or whose unread body hides whether it has left (docs/design.md, "A client that stalls").

A server tells that a client has gone only behind all that it has sent, in a queue that may be full as well. The task
that looks, and when, is the watch's; what is cancelled when a client is given up is decided by its owner.
"""

from __future__ import annotations

import math
from typing import Final

from kui.concurrency.loops import clock

from .exchange import Exchange
from .send_limit import LIMIT_AT_EXIT, STALL
from .states import Gone

__all__ = ["NEGLECT", "StallDetector"]

NEGLECT: Final = 300.0
"""Seconds after which the rest of a body that was read in part is no longer expected to be read."""


class StallDetector:
    """Looks after `exchange` while its response is sent.

    A client whose `send` makes no progress for 30 s, or for 1 s once the app must stop, has gone. A body that fills
    the buffer is discarded when the app has not begun to read it for 30 s, or not read on for 300 s: then a disconnect
    behind it is seen.
    """

    __slots__ = (
        "_blocked_since",
        "_clock",
        "_exchange",
        "_sending",
        "_signal",
        "_stopping_since",
        "_taken",
        "_unread_since",
    )

    def __init__(self, exchange: Exchange) -> None:
        self._clock = clock()
        self._exchange = exchange
        self._signal = exchange.exit_signal
        self._stopping_since: float | None = None
        self._taken: object = None
        self._unread_since = 0.0
        self._sending: object = None
        self._blocked_since = 0.0

    def due(self, sending: object) -> float:
        """Return when to look next, in the loop's time; `sending` is as for `look`."""
        if self._exchange.client_gone:
            return math.inf
        ends = math.inf if sending is None else self._ends(sending)
        return min(ends, self._clock() + STALL / 10)

    def _ends(self, sending: object) -> float:
        """Return when a `send` will have stalled."""
        now = self._clock()
        since = self._blocked_since if sending == self._sending else now
        ends = since + STALL
        if self._signal is not None and self._signal.is_set:
            if self._stopping_since is None:
                self._stopping_since = now
            ends = min(ends, max(since, self._stopping_since) + LIMIT_AT_EXIT)
        return ends

    def look(self, sending: object) -> None:
        """Look whether anything has happened.

        :param sending: a value that changes with each message that the server takes; None while nothing is sent.
        """
        exchange, now = self._exchange, self._clock()
        taken = (
            exchange.messages_buffered if exchange.full else None
        )  # none arrives before one was taken
        if taken is None or taken != self._taken:
            self._taken, self._unread_since = taken, now
        if sending is None or sending != self._sending:
            self._sending, self._blocked_since = sending, now
        unread = now - self._unread_since
        if unread >= STALL and not exchange.was_read:
            exchange.discard()
            self._blocked_since = now
        elif sending is not None and now >= self._ends(sending):
            exchange.terminate(Gone.STALLED)
        elif unread >= NEGLECT:
            exchange.discard()
