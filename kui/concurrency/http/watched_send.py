"""Send a file, or other work of Kui's own, to a client that may leave (docs/design.md, "One request").

When the client leaves, the work is cancelled: unlike in `stream`, no generator of a user has to clean up. An exit of
the app does not end the work early, because the response has promised a length.
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
    """Await `work()` and return its result; return None if the client has left.

    The client is watched from the first wait of the work on. If the client leaves or stalls (`StallDetector`), the
    work is cancelled where it waits, and `exchange.gone` is set. A cancellation from outside is raised.

    :param work: sends all messages but the last. The caller must send the last one afterwards: the server's own
        disconnect would otherwise cancel it.
    :raises Exception: what `work` raises, unchanged.

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
