"""Notice a client that has stopped reading (docs/design.md, "A client that stalls").

A server reports a disconnect only after all messages that the client has sent, in a queue that may be full. A `Watch`
calls the detector; the owner of the watch cancels its work when the client is given up.
"""

from __future__ import annotations

import math
from typing import Final

from kui.concurrency.loops import clock

from .exchange import Exchange
from .send_limit import LIMIT_AT_EXIT, STALL, limit_of
from .states import Gone

__all__ = ["NEGLECT", "StallDetector"]

NEGLECT: Final = 300.0
"""Seconds without a read after which the rest of a partly read body is discarded."""


class StallDetector:
    """Watches the progress of `exchange` while its response is sent.

    A client counts as gone if a `send` makes no progress for 30 s (or as long as the server lets it, if that has a
    limit of its own), or for 1 s once the app must stop. An unread body
    that fills the buffer is discarded if the app has not begun to read it for 30 s, or has not read on for 300 s, so
    that a disconnect behind it is seen.
    """

    __slots__ = (
        "_blocked_since",
        "_clock",
        "_exchange",
        "_limit",
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
        self._limit = limit_of(exchange.scope)
        self._stopping_since: float | None = None
        self._taken: object = None
        self._unread_since = 0.0
        self._sending: object = None
        self._blocked_since = 0.0

    def due(self, sending: object) -> float:
        """Return the time at which `look` must be called next, in the loop's time.

        :param sending: as for `look`.
        """
        if self._exchange.client_gone:
            return math.inf
        ends = math.inf if sending is None else self._ends(sending)
        return min(ends, self._clock() + STALL / 10)

    def _ends(self, sending: object) -> float:
        """Return the time at which the present `send` counts as stalled."""
        now = self._clock()
        since = self._blocked_since if sending == self._sending else now
        ends = since + self._limit
        if self._signal is not None and self._signal.is_set:
            if self._stopping_since is None:
                self._stopping_since = now
            ends = min(ends, max(since, self._stopping_since) + LIMIT_AT_EXIT)
        return ends

    def look(self, sending: object) -> None:
        """Compare with the last look, and give up the client or discard its body if nothing has changed for too long.

        :param sending: a value that changes with each message that the server takes; None while nothing is sent.
        """
        exchange, now = self._exchange, self._clock()
        # While the buffer is full, a message arrives only after one was taken.
        taken = exchange.messages_buffered if exchange.full else None
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
