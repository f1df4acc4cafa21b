"""Sends that the server holds back, and how they are given up (docs/design.md, "A client that stalls").

A send that does not wait never comes here, and costs nothing. One that waits begins a task that keeps the time for all
of them, unless there is one. Each of its waits has a cancel scope, which is left before the server's code goes on: so it is
never between scopes of the server's own, and not held off by their shields.
"""

from __future__ import annotations

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
"""The reason of a WebSocketDisconnect, with the code 1006, when a send has stalled."""


class GivenUp(OSError):
    """A send was given up. What the server has done of the message is unknown."""


class _Held:
    """One send that waits."""

    __slots__ = ("_scope", "cancelled", "given_up", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.given_up = False
        self.cancelled = False  # was it, for it was given up?
        self._scope: Scope | None = None

    def pause(self, trap: Any) -> Generator[Any, Any, Any]:
        """Let the event loop have what the server's code has yielded, and return its answer."""
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
        if cancelled is not None:  # the scope has caught it, but the server's code must hear of it
            self.cancelled = True
            try:
                raise cancelled
            finally:
                cancelled = None  # its traceback holds this frame
        self.cancelled = scope.cancel_called  # on trio, the value raises it there
        return value

    def give_up(self) -> None:
        """Cancel the wait, and every later one of this send."""
        self.given_up = True
        if self._scope is not None:
            self._scope.cancel()


class HeldSends:
    """The sends of one WebSocket that wait now, and their limit: 30 s without progress for each 64 KiB.

    :param on_wait: called when a send begins to wait.
    """

    __slots__ = ("_clock", "_hastened", "_news", "_on_wait", "_progress", "_sends", "_state")
    _clock: Callable[[], float]

    def __init__(self, state: WebSocketState, on_wait: Callable[[], object]) -> None:
        self._state = state
        self._on_wait = on_wait
        self._sends: list[_Held] = []
        self._progress = 0.0  # when a send has last begun to wait as the first, or ended
        self._hastened: float | None = None
        self._news: anyio.Event | None = None  # there while the time is kept

    @types.coroutine
    def wait(
        self, steps: Generator[Any, Any, None], trap: Any, size: int
    ) -> Generator[Any, Any, None]:
        """Go on with a server's `send` that waits.

        :param steps: its iterator, which has yielded `trap`.
        :param size: bytes that the server may have to be rid of meanwhile.
        :raises GivenUp: it made no progress in time, or the client has gone.
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
        """Cancel the sends that wait."""
        for held in self._sends:
            held.give_up()

    def hasten(self) -> None:
        """Give a send 1 s from now on, because the app must stop."""
        if self._sends:
            self._hastened = self._clock()
        if self._news is not None:
            self._news.set()

    def _due(self) -> float:
        """Return when the sends that wait will have stalled."""
        size = max(held.size for held in self._sends)
        due = self._progress + STALL * (1 + size // PIECE)
        if self._hastened is not None:
            due = min(due, max(self._progress, self._hastened) + LIMIT_AT_EXIT)
        return due

    async def _keep_time(self) -> None:
        """Lose the connection when its sends stall; end when none waits."""
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
