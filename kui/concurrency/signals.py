"""How everything that waits learns that the server stops (design: "The server stops").

`ExitSignal` is one application's; `chained_signals` lets it know where the server itself says nothing. Who sets it,
and how long a drain may take, is decided in the lifespan and the server runner.
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
    """Tells that the server is stopping: `is_set`, `wait()`, or a listener. All of it in one event loop.

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
        """Wake all waiters and call all listeners, once. Must be called in the event loop; see `Loop.soon`."""
        if self.is_set:
            return
        self.is_set = True
        self._notice.notify()
        listeners, self._listeners = self._listeners, {}
        for listener in listeners:
            listener()

    def clear(self) -> None:
        """Begin anew, for an application whose lifespan is run again, perhaps in another loop."""
        self.is_set = False
        self._notice = Notice()
        self._listeners.clear()

    def listen(self, listener: Callable[[], object]) -> None:
        """Call `listener()` when the server stops: at once if it does already."""
        if self.is_set:
            listener()
        else:
            self._listeners[listener] = None

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Take back `listen`; nothing happens if it has been called already."""
        self._listeners.pop(listener, None)

    async def wait(self) -> None:
        """Wait until the server stops; return at once, after a checkpoint, if it does already."""
        if self.is_set:
            await checkpoint()
        else:
            await self._notice.wait()


@contextmanager
def chained_signals(notice: Callable[[], object]) -> Iterator[bool]:
    """While the block runs, have `notice()` called in the event loop before the server's own signal handler.

    uvicorn and granian tell an application nothing of SIGTERM and Ctrl-C while a response is open.
    Their handlers stay in charge: ours only notes the signal, and calls the one it has replaced.
    Afterwards the old one is put back, unless ours was replaced by another meanwhile.

    Gives True if a handler was chained. None is outside of the main thread, nor where
    no handler is installed: a worker of hypercorn's process manager learns of it only when it is cancelled.
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
        loop.soon(notice)  # and nothing else: an Event set here would not wake asyncio's loop
        old(number, frame)

    return handler
