"""Sending what Kui itself has at hand, such as a file, to a client that may leave (design: "Watching").

There is no generator of a user's here that has to clean up, and no chunk that may not be lost: the work is simply
cancelled. An exit does not cut it short either, for a length has been promised; `stream` is for all else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

from .beside import beside
from .exchange import STALL, Exchange, Gone
from .guard import on_first_wait
from .loops import clock, on_the_grid
from .watch import Watch

__all__ = ["transfer"]

T = TypeVar("T")


async def transfer(
    exchange: Exchange, work: Callable[[], Coroutine[Any, Any, T]], progress: Callable[[], int]
) -> T | None:
    """Await `work()`, which sends all but the last message, and return its result; None if the client has left.

    The client is watched from when the work first waits. When it leaves, or lets nothing through
    for 30 s while it still sends, the work is cancelled where it waits, and `exchange.gone` tells.

    :param progress: a number that changes with each message that is sent.

    What the work raises is raised as itself, and so is a cancellation from outside. Send the last
    message after it: a server's own disconnect would cancel that, were it watched.

    ::

        last = await transfer(exchange, file.send_most, lambda: file.sent)
    """
    stall = _Stall(exchange, progress)
    try:
        async with beside() as group:
            watch = Watch(exchange, group, stall.due, stall.look)
            exchange.listen(group.cancel)
            try:
                return await on_first_wait(work(), watch.begin)
            finally:
                watch.end()
                exchange.unlisten(group.cancel)
    except anyio.get_cancelled_exc_class():
        exchange.leave(Gone.SERVER_CANCELLED)
        raise
    return None


class _Stall:
    """Gives a client up that lets nothing through, and of whom nothing can be known meanwhile."""

    __slots__ = ("_clock", "_exchange", "_progress", "_seen")

    def __init__(self, exchange: Exchange, progress: Callable[[], int]) -> None:
        self._exchange = exchange
        self._progress = progress
        self._clock = clock()
        self._seen = (-1, math.inf)

    def due(self) -> float:
        return on_the_grid(self._clock() + STALL / 10) if self._exchange.full else math.inf

    async def look(self) -> None:
        now, progress = self._clock(), self._progress()
        seen, since = self._seen
        if progress != seen:
            self._seen = progress, now
        elif now - since >= STALL:
            self._exchange.leave(Gone.STALLED)
