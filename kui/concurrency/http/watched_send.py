"""Sending what Kui itself has at hand, such as a file, to a client that may leave (design: "Watching").

There is no generator of a user's here that has to clean up, and no chunk that may not be lost: the work is simply
cancelled. An exit does not cut it short either, for a length has been promised; `stream` is for all else.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

from kui.concurrency.loops import on_the_grid
from kui.concurrency.stray import strays_fail
from kui.concurrency.task_group import framework_tasks
from kui.concurrency.waits import on_first_wait

from .exchange import Exchange, Gone
from .stall_detector import StallDetector
from .watch import Watch

__all__ = ["watched_send"]

T = TypeVar("T")


async def watched_send(exchange: Exchange, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
    """Await `work()`, which sends all but the last message, and return its result; None if the client has left.

    The client is watched from when the work first waits. When it leaves, or is given up (`StallDetector`),
    the work is cancelled where it waits, and `exchange.gone` tells.

    What the work raises is raised as itself, and so is a cancellation from outside. Send the last
    message after it: a server's own disconnect would cancel that, were it watched.

    ::

        last = await watched_send(exchange, file.send_most)
    """
    stall = StallDetector(exchange)
    signal = exchange.exit_signal

    def in_send() -> int | None:
        return exchange.progress if exchange.in_send else None

    async def look() -> None:
        stall.look(in_send())

    try:
        async with framework_tasks() as group:
            watch = Watch(exchange, group, lambda: on_the_grid(stall.due(in_send())), look)
            exchange.listen(group.cancel)
            if signal is not None:
                signal.listen(watch.look_again)
            try:
                with strays_fail:
                    return await on_first_wait(work(), watch.begin)
            finally:
                watch.end()
                exchange.unlisten(group.cancel)
                if signal is not None:
                    signal.unlisten(watch.look_again)
    except anyio.get_cancelled_exc_class():
        exchange.terminate(Gone.SERVER_CANCELLED)
        raise
    return None
