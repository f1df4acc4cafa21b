"""Tell streams, WebSockets and other waiting code that the app must stop.

An application has one `ExitSignal`. The lifespan and the server runner set it, and decide how long the drain may take;
`chained_signals` sets it under servers that do not tell the application.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from .loops import Loop
from .notice import Notice, checkpoint

__all__ = ["ExitSignal", "chained_signals"]

SignalHandler = Callable[[int, FrameType | None], object]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class ExitSignal:
    """Tells that the app must stop. Read `is_set`, await `wait()`, or register a listener, in one event loop.

    ::

        exit_signal = ExitSignal()
        exit_signal.listen(scope.cancel)
        exit_signal.set()  # cancels the scope
        await exit_signal.wait()  # returns at once
    """

    __slots__ = ("_listeners", "_notice", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._notice = Notice()
        self._listeners: dict[Callable[[], object], None] = {}

    def set(self) -> None:
        """Wake all waiters and call all listeners. Only the first call counts.

        Must be called in the event loop; `Loop.soon` calls it there from a thread or a signal handler.
        """
        if self.is_set:
            return
        self.is_set = True
        self._notice.notify()
        listeners, self._listeners = self._listeners, {}
        for listener in listeners:
            listener()

    def clear(self) -> None:
        """Reset the signal, for an application whose lifespan is run again, perhaps in another loop."""
        self.is_set = False
        self._notice = Notice()
        self._listeners.clear()

    def listen(self, listener: Callable[[], object]) -> None:
        """Call `listener()` when the app must stop; at once if the signal is set."""
        if self.is_set:
            listener()
        else:
            self._listeners[listener] = None

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Remove a listener. Does nothing if the listener was called or is unknown."""
        self._listeners.pop(listener, None)

    async def wait(self) -> None:
        """Wait until the app must stop. If the signal is set, this is only a checkpoint."""
        if self.is_set:
            await checkpoint()
        else:
            await self._notice.wait()


@contextmanager
def chained_signals(notice: Callable[[], object]) -> Iterator[bool]:
    """While the block runs, call `notice()` in the event loop on SIGTERM and Ctrl-C, before the server's own handler.

    uvicorn and granian do not tell an application of these signals while a response is open. Kui's handler schedules
    `notice` and calls the handler that it has replaced. At the end of the block the old handler is restored, unless
    some other code has replaced Kui's meanwhile.

    The block gets True if a handler was replaced. It gets False outside of the main thread, and if the server has
    installed no handler: a worker of hypercorn's process manager learns of the stop only by its cancellation.
    """
    replaced: list[tuple[signal.Signals, SignalHandler, SignalHandler]] = []
    if threading.current_thread() is threading.main_thread():
        loop = Loop()
        for number in _SIGNALS:
            old = signal.getsignal(number)
            if callable(old) and not isinstance(old, signal.Handlers):
                ours = _chain(loop, notice, old)
                signal.signal(number, ours)
                replaced.append((number, ours, old))
    try:
        yield bool(replaced)
    finally:
        for number, ours, old in replaced:
            if signal.getsignal(number) is ours:
                signal.signal(number, old)


def _chain(loop: Loop, notice: Callable[[], object], old: SignalHandler) -> SignalHandler:
    def handler(number: int, frame: FrameType | None) -> None:
        loop.soon(notice)  # not `notice()`: an Event that is set here would not wake asyncio's loop
        old(number, frame)

    return handler
