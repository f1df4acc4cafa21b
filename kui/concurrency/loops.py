"""Which event loop runs, what time it is there, and how to reach it from outside.

Neither loop is imported before it runs. Tasks, scopes and threads are the neighbours' business.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

import anyio
import sniffio

__all__ = [
    "GRID",
    "Loop",
    "Scope",
    "cancel_scope",
    "clock",
    "on_asyncio",
    "on_the_grid",
    "scope_maker",
]

GRID: Final = 0.25
"""Seconds between the points of time at which Kui's own timers fire, all of them together."""


def on_asyncio() -> bool:
    """True if the running event loop is asyncio's. Otherwise it is trio's, which says so wherever it runs code."""
    return sniffio.thread_local.name != "trio"


class Scope(Protocol):
    """What the cancel scopes of anyio and of trio have in common."""

    deadline: float
    shield: bool

    @property
    def cancel_called(self) -> bool: ...
    def cancel(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> bool | None: ...


_scopes: dict[bool, Callable[[], Scope]] = {}


def cancel_scope() -> Scope:
    """Return a cancel scope of the running loop's own kind; what anyio puts in front of it costs as much again."""
    return scope_maker()()


def scope_maker() -> Callable[[], Scope]:
    """Return what makes a cancel scope of the running loop's own kind, for those who make many."""
    aio = on_asyncio()
    make = _scopes.get(aio)
    if make is None and aio:
        make = _scopes[aio] = type(anyio.CancelScope())
    elif make is None:
        import trio

        make = _scopes[aio] = trio.CancelScope
    return make


def clock() -> Callable[[], float]:
    """Return the clock of the running event loop, in seconds, as a function that is cheap to call often."""
    if on_asyncio():
        return asyncio.get_running_loop().time
    import trio.lowlevel

    return trio.lowlevel.current_clock().current_time


def on_the_grid(time: float) -> float:
    """Return the first point of the common grid that is not before `time`; infinity stays infinity."""
    return time if math.isinf(time) else math.ceil(time / GRID) * GRID


class Loop:
    """The running event loop, as a thread or a signal handler reaches it.

    ::

        loop = Loop()
        signal.signal(signal.SIGUSR1, lambda *_: loop.soon(event.set))
    """

    __slots__ = ("_run_soon",)
    _run_soon: Callable[[Callable[[], object]], object]

    def __init__(self) -> None:
        if on_asyncio():
            self._run_soon = asyncio.get_running_loop().call_soon_threadsafe
        else:
            import trio.lowlevel

            self._run_soon = trio.lowlevel.current_trio_token().run_sync_soon

    def soon(self, call: Callable[[], object]) -> bool:
        """Call `call()` in the loop soon. May be called from any thread or signal handler.

        Return True if it will be called: a loop that has ended calls nothing.
        """
        try:
            self._run_soon(call)
        except RuntimeError:  # asyncio: closed; trio's RunFinishedError is one too
            return False
        return True
