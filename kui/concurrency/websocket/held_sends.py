"""Sends that the server holds back, and how they are given up (docs/design.md, "A client that stalls").

A send that does not wait never comes here, and costs nothing. One that waits begins a task that keeps the time for all
of them, unless there is one. On asyncio the send's own wait is cancelled. trio cancels by scopes only, which must
be there before: that of the send, where it has one, or else that of the whole handler.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final

import anyio

from kui.concurrency.children import Children, this_task
from kui.concurrency.http.send_limit import LIMIT_AT_EXIT, PIECE, STALL
from kui.concurrency.loops import Scope, clock
from kui.concurrency.waits import go_on

from .states import WebSocketState

__all__ = ["STALLED", "GivenUp", "HeldSends"]

STALLED: Final = "the client has stopped reading"
"""The reason of a WebSocketDisconnect, with the code 1006, when a send has stalled."""


class GivenUp(OSError):
    """A send was given up. What the server has done of the message is unknown."""


class _Held:
    """One send that waits: what it is cancelled by."""

    __slots__ = ("children", "given_up", "scope", "size", "task")

    def __init__(self, size: int, scope: Scope | None, children: Children | None) -> None:
        self.size = size
        self.scope = scope
        self.children = children
        self.task: object = None
        self.given_up = False

    def cancel(self, with_handler: bool) -> None:
        if self.scope is not None:
            self.scope.cancel()
        elif self.children is not None and not self.given_up:
            self.given_up = self.children.cancel(self.task, with_handler)


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

    async def wait(
        self, steps: Generator[Any, Any, None], trap: Any, size: int, scope: Scope | None = None
    ) -> None:
        """Go on with a server's `send` that waits.

        :param steps: its iterator, which has yielded `trap`.
        :param size: bytes that the server may have to be rid of meanwhile.
        :param scope: the cancel scope around this send alone, if it has one.
        :raises GivenUp: it made no progress in time, or the client has gone.
        """
        children = self._state.children
        held = _Held(size, scope, children)
        try:
            await go_on(steps, trap, partial(self._begin, held))
        except anyio.get_cancelled_exc_class():
            if not held.given_up or children is None or children.cancelled_by_others(held.task):
                raise
            raise GivenUp(STALLED) from None
        finally:
            if held.task is not None:
                self._end(held)

    def _begin(self, held: _Held) -> None:
        held.task = this_task()
        self._clock = clock()
        if not self._sends:
            self._progress = self._clock()
        self._sends.append(held)
        self._state.held_back += 1
        self._on_wait()
        if self._news is None and held.children is not None:
            self._news = anyio.Event()
            held.children.start(self._keep_time)

    def _end(self, held: _Held) -> None:
        self._sends.remove(held)
        self._state.held_back -= 1
        self._progress = self._clock()
        if held.given_up and held.children is not None:
            held.children.take_back(held.task)

    def give_up(self, *, with_handler: bool = False) -> None:
        """Cancel the sends that wait, as far as each has something to cancel it by.

        :param with_handler: cancel the handler, too, where that alone lets go of a send.
        """
        for held in self._sends:
            held.cancel(with_handler)

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
                    self.give_up(with_handler=True)
                    return
                self._news = anyio.Event()
                with anyio.CancelScope(deadline=due):
                    await self._news.wait()
        finally:
            self._news = None
