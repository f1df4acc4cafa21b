"""Give up a `send` that makes no progress: its client has stopped reading (docs/design.md, "A client that stalls").

On asyncio a timer cancels the `send`. The timer is started at the first wait, so that a `send` that does not wait pays
nothing. trio can only cancel a scope that was entered before the wait; there `Exchange` starts a task beside a long
`send` instead.
"""

from __future__ import annotations

import asyncio
import math
import types
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final

import anyio
from baize.typing import Message, Send

from kui.concurrency.signals import ExitSignal
from kui.concurrency.waits import as_coroutine

__all__ = ["LIMIT_AT_EXIT", "PIECE", "STALL", "Stalled", "pieces_of", "send_within"]

STALL: Final = 30.0
"""Seconds that a `send` may take. After that the client counts as gone."""
LIMIT_AT_EXIT: Final = 1.0
"""Seconds that a `send` may take once the app must stop."""
PIECE: Final = 64 * 1024
"""Bytes of a body that one `send` gets at most: a client that takes so many within the limit is slow, not stalled."""


class Stalled(Exception):
    """Raised if a `send` was given up."""


@types.coroutine
def send_within(
    send: Send,
    messages: Iterable[Message],
    seconds: float,
    drain: float,
    exit_signal: Callable[[], ExitSignal | None],
) -> Generator[Any, Any, None]:
    """Await a server's `send` of each message, on asyncio, within a limit of time. A cancellation from outside passes.

    :param seconds: the limit for all messages together, in seconds from the first wait.
    :param drain: the limit once the app must stop, in seconds from then.
    :param exit_signal: returns the app's exit signal; called only if a `send` waits.
    :raises Stalled: the limit was reached. It is unknown what the server has sent of the message.
    """
    timer: _Timer | None = None
    try:
        for message in messages:
            sending = send(message)
            work = sending if type(sending) is types.CoroutineType else as_coroutine(sending)
            try:
                trap = work.send(None)
                if timer is None:
                    timer = _Timer(drain)
                    timer.begin(seconds, exit_signal())
                while True:
                    try:
                        value = yield trap
                    except BaseException as error:
                        trap = work.throw(error)
                    else:
                        trap = work.send(value)
            except StopIteration:
                pass
    except asyncio.CancelledError:
        if timer is None or not timer.is_to_blame():
            raise
        raise Stalled from None
    finally:
        if timer is not None:
            timer.end()


class _Timer:
    """Cancels the task that called `begin`, as `asyncio.timeout` does."""

    __slots__ = ("_drain", "_exit_signal", "_fired", "_handle", "_task")

    def __init__(self, drain: float) -> None:
        self._drain = drain
        self._exit_signal: ExitSignal | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._fired = False

    def begin(self, seconds: float, exit_signal: ExitSignal | None) -> None:
        self._task = asyncio.current_task()
        self._handle = asyncio.get_running_loop().call_later(seconds, self._fire)
        self._exit_signal = exit_signal
        if exit_signal is not None:
            exit_signal.listen(self._hasten)

    def _hasten(self) -> None:
        """Shorten the limit: the app must stop."""
        loop = asyncio.get_running_loop()
        if self._handle is not None and self._handle.when() > loop.time() + self._drain:
            self._handle.cancel()
            self._handle = loop.call_later(self._drain, self._fire)

    def _fire(self) -> None:
        self._fired = True
        if self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            if self._exit_signal is not None:
                self._exit_signal.unlisten(self._hasten)

    def is_to_blame(self) -> bool:
        """True if only this timer has cancelled the task. If the timer has fired, the task is uncancelled."""
        if not self._fired or self._task is None:
            return False
        others = self._task.uncancel()
        return not others and anyio.current_effective_deadline() > -math.inf


def pieces_of(message: Message) -> Iterator[Message]:
    """Yield the messages of at most `PIECE` bytes into which a long piece of a body is split."""
    body = memoryview(message["body"])
    for begin in range(0, len(body), PIECE):
        last = begin + PIECE >= len(body)
        more = True if not last else message.get("more_body", False)
        yield {**message, "body": bytes(body[begin : begin + PIECE]), "more_body": more}
