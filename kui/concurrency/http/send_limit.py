"""Give up a `send` that makes no progress: its client has stopped reading (docs/design.md, "A client that stalls").

On asyncio a timer cancels the `send`. The timer is started at the first wait, so that a `send` that does not wait pays
nothing. trio can only cancel a scope that was entered before the wait; there `Exchange` starts a task beside a long
`send` instead.
"""

from __future__ import annotations

import asyncio
import math
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, Final, NoReturn

import anyio
from baize.typing import Message, Scope

from kui.concurrency.signals import ExitSignal
from kui.concurrency.waits import resumed

__all__ = [
    "LIMIT_AT_EXIT",
    "PIECE",
    "SERVER_GIVES_UP",
    "STALL",
    "limit_of",
    "pieces_of",
    "send_within",
    "server_gives_up",
]

STALL: Final = 30.0
"""Seconds that a `send` may take. After that the client counts as gone."""
LIMIT_AT_EXIT: Final = 1.0
"""Seconds that a `send` may take once the app must stop."""
SERVER_GIVES_UP: Final = "kui.server_gives_up"
"""The ASGI extension of a server that limits the time of each `send` itself: a stalled one raises an OSError."""
PIECE: Final = 64 * 1024
"""Bytes of a body that one `send` gets at most: a client that takes so many within the limit is slow, not stalled."""


def server_gives_up(scope: Scope) -> bool:
    """Return True if the server has a limit of its own, so that Kui needs none."""
    return SERVER_GIVES_UP in (scope.get("extensions") or ())


def limit_of(scope: Scope) -> float:
    """Return the seconds that a `send` may take: `STALL`, or infinity if the server has a limit of its own."""
    return math.inf if server_gives_up(scope) else STALL


@types.coroutine
def send_within(
    sending: Coroutine[Any, Any, None],
    exit_signal: Callable[[], ExitSignal | None],
    give_up: Callable[[], NoReturn],
) -> Generator[Any, Any, None]:
    """Await what sends, on asyncio, for `STALL` seconds from its first wait, or `LIMIT_AT_EXIT` once the app must stop.

    A cancellation from outside passes.

    :param exit_signal: returns the app's exit signal; called only if the sending waits.
    :param give_up: raises the exception for a limit that was reached. It is unknown what the server has sent then.
    """
    try:
        trap = sending.send(None)
    except StopIteration:
        return
    timer = _Timer(exit_signal())
    try:
        yield from resumed(sending, trap)
    except asyncio.CancelledError:
        if not timer.is_to_blame():
            raise
        give_up()
    finally:
        timer.end()


class _Timer:
    """Cancels the task that makes it, as `asyncio.timeout` does."""

    __slots__ = ("_cancelling", "_exit_signal", "_fired", "_handle", "_task")

    def __init__(self, exit_signal: ExitSignal | None) -> None:
        self._task = asyncio.current_task()
        # The app may have caught cancellations without `uncancel`.
        self._cancelling = 0 if self._task is None else self._task.cancelling()
        self._fired = False
        self._handle = asyncio.get_running_loop().call_later(STALL, self._fire)
        self._exit_signal = exit_signal
        if exit_signal is not None:
            exit_signal.listen(self._hasten)

    def _hasten(self) -> None:
        """Shorten the limit: the app must stop."""
        loop = asyncio.get_running_loop()
        if self._handle.when() > loop.time() + LIMIT_AT_EXIT:
            self._handle.cancel()
            self._handle = loop.call_later(LIMIT_AT_EXIT, self._fire)

    def _fire(self) -> None:
        self._fired = True
        if self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        """Stop the timer. If it has fired, the task is uncancelled, whatever the sending has made of that."""
        self._handle.cancel()
        if self._exit_signal is not None:
            self._exit_signal.unlisten(self._hasten)
        if self._fired and self._task is not None:
            self._task.uncancel()

    def is_to_blame(self) -> bool:
        """True if only this timer has cancelled the task."""
        if not self._fired or self._task is None:
            return False
        others = self._task.cancelling() - 1 > self._cancelling
        return not others and anyio.current_effective_deadline() > -math.inf


def pieces_of(message: Message) -> Iterator[Message]:
    """Yield the messages of at most `PIECE` bytes into which a long piece of a body is split."""
    body = memoryview(message["body"])
    for begin in range(0, len(body), PIECE):
        last = begin + PIECE >= len(body)
        more = True if not last else message.get("more_body", False)
        yield {**message, "body": bytes(body[begin : begin + PIECE]), "more_body": more}
