"""Give up a WebSocket's sends that wait for too long (docs/design.md, "A client that stalls").

A send that does not wait never comes here, and pays nothing. The first that waits starts a task that keeps the time for
all sends that wait. Each wait has a cancel scope of its own, which is left before the server's code goes on. So the
scope is never nested with the server's scopes, and the server's shields do not hold it off.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Generator
from typing import Any, Final

import anyio

from kui.concurrency.http.send_limit import LIMIT_AT_EXIT, PIECE, STALL
from kui.concurrency.loops import Scope, cancel_scope, clock
from kui.concurrency.waits import is_checkpoint

from .states import WebSocketState

__all__ = ["STALLED", "GivenUp", "HeldSends"]

STALLED: Final = "the client has stopped reading"
"""The reason of the WebSocketDisconnect (code 1006) that is raised if a send has stalled."""


class GivenUp(OSError):
    """Raised if a send was given up. It is unknown what the server has sent of the message."""


class _Held:
    """One send that waits."""

    __slots__ = ("_scope", "cancelled", "given_up", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.given_up = False
        self.cancelled = False  # True if its last wait was cancelled because it was given up
        self._scope: Scope | None = None

    def pause(self, trap: Any) -> Generator[Any, Any, Any]:
        """Yield `trap`, the value that the server's code has yielded, to the event loop, and return the answer."""
        cancelled: BaseException | None = None
        scope = self._scope = cancel_scope()
        if self.given_up:
            scope.cancel()
        with scope:
            try:
                value = yield trap
            except anyio.get_cancelled_exc_class() as error:
                cancelled = error
                raise
        if cancelled is not None:  # the scope has caught it, but the server's code must get it
            self.cancelled = True
            try:
                raise cancelled
            finally:
                cancelled = None  # its traceback holds this frame
        # On trio, `value` is an outcome that raises it in the server's code.
        self.cancelled = scope.cancel_called
        return value

    def give_up(self) -> None:
        """Cancel this wait, and every later wait of this send."""
        self.given_up = True
        if self._scope is not None:
            self._scope.cancel()


class HeldSends:
    """The sends of one WebSocket that wait now, and their time limit: 30 s without progress for each 64 KiB.

    :param on_wait: called each time a send begins to wait.
    :param server_gives_up: True if the server has a limit of its own; then only the limit of `hasten` counts here.
    """

    __slots__ = (
        "_clock",
        "_hastened",
        "_limit",
        "_news",
        "_on_wait",
        "_progress",
        "_sends",
        "_state",
    )
    _clock: Callable[[], float]

    def __init__(
        self, state: WebSocketState, on_wait: Callable[[], object], server_gives_up: bool
    ) -> None:
        self._state = state
        self._on_wait = on_wait
        self._limit = math.inf if server_gives_up else STALL
        self._sends: list[_Held] = []
        self._progress = 0.0  # the time at which the first send began to wait, or a send last ended
        self._hastened: float | None = None
        self._news: anyio.Event | None = None  # not None while the task keeps the time

    @types.coroutine
    def wait(
        self, steps: Generator[Any, Any, None], trap: Any, size: int
    ) -> Generator[Any, Any, None]:
        """Continue a server's `send` that waits.

        :param steps: the iterator of the `send`, which has yielded `trap`.
        :param trap: the value that it has yielded.
        :param size: the number of bytes that the server may have to send meanwhile; the time limit grows with it.
        :raises GivenUp: the `send` made no progress in time, or the client has gone.
        """
        held: _Held | None = None
        try:
            while True:
                try:
                    if held is not None:
                        value = yield from held.pause(trap)
                    elif trap is None or is_checkpoint(trap):
                        value = yield trap
                    else:
                        held = self._begin(size)
                        value = yield from held.pause(trap)
                except BaseException as error:
                    trap = steps.throw(error)
                else:
                    trap = steps.send(value)
        except StopIteration:
            return
        except anyio.get_cancelled_exc_class():
            if held is None or not held.cancelled:
                raise
            raise GivenUp(STALLED) from None
        finally:
            if held is not None:
                self._end(held)

    def _begin(self, size: int) -> _Held:
        held = _Held(size)
        self._clock = clock()
        if not self._sends:
            self._progress = self._clock()
        self._sends.append(held)
        self._state.held_back += 1
        self._on_wait()
        if self._news is None and self._state.children is not None:
            self._news = anyio.Event()
            self._state.children.start(self._keep_time)
        return held

    def _end(self, held: _Held) -> None:
        self._sends.remove(held)
        self._state.held_back -= 1
        self._progress = self._clock()

    def give_up(self) -> None:
        """Give up all sends that wait."""
        for held in self._sends:
            held.give_up()

    def hasten(self) -> None:
        """Shorten the time limit to 1 s from now on, because the app must stop."""
        if self._sends:
            self._hastened = self._clock()
        if self._news is not None:
            self._news.set()

    def _due(self) -> float:
        """Return the time at which the sends that wait count as stalled."""
        size = max(held.size for held in self._sends)
        due = self._progress + self._limit * (1 + size // PIECE)
        if self._hastened is not None:
            due = min(due, max(self._progress, self._hastened) + LIMIT_AT_EXIT)
        return due

    async def _keep_time(self) -> None:
        """End the connection with 1006 if its sends stall. Return when none waits."""
        try:
            while self._sends:
                due = self._due()
                if self._clock() >= due:
                    self._state.leave(1006, STALLED)
                    return
                self._news = anyio.Event()
                with anyio.CancelScope(deadline=due):
                    await self._news.wait()
        finally:
            self._news = None
