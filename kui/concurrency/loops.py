"""The running event loop: whether it is asyncio's or trio's, its clock, its cancel scope, and calls from threads.

trio is imported only if it runs.
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
    "note_other_loop",
    "on_asyncio",
    "on_the_grid",
    "scope_maker",
]

GRID: Final = 0.25
"""Seconds between two points of the common grid. Kui's timers fire on the grid, so that many fire together."""


def on_asyncio() -> bool:
    """True if the running event loop is asyncio's, or if none runs. trio sets this thread-local while it runs code."""
    return sniffio.thread_local.name != "trio"


def note_other_loop(error: Exception) -> None:
    """Add a note (PEP 678) to an exception that says in its own words that the other event loop should run."""
    text = str(error) if type(error) is RuntimeError else ""
    note = ""
    if not on_asyncio() and text.startswith(("no running event loop", "There is no current event")):
        note = "a library needs asyncio here, and trio runs: kui run --backend asyncio"
    elif on_asyncio() and text == "must be called from async context":
        note = "a library needs trio here, and asyncio runs: kui run --backend trio"
    if note and note not in getattr(error, "__notes__", ()):
        error.add_note(note)


class Scope(Protocol):
    """The interface that the cancel scopes of anyio and trio share."""

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
    """Return a cancel scope of the running loop's own class. It costs half of `anyio.CancelScope()`, a wrapper."""
    return scope_maker()()


def scope_maker() -> Callable[[], Scope]:
    """Return the cancel scope class of the running loop, for callers that make many scopes."""
    aio = on_asyncio()
    make = _scopes.get(aio)
    if make is None and aio:
        make = _scopes[aio] = type(anyio.CancelScope())
    elif make is None:
        import trio

        make = _scopes[aio] = trio.CancelScope
    return make


def clock() -> Callable[[], float]:
    """Return the function that tells the time of the running event loop, in seconds."""
    if on_asyncio():
        return asyncio.get_running_loop().time
    import trio.lowlevel

    return trio.lowlevel.current_clock().current_time


def on_the_grid(time: float) -> float:
    """Return the first point of the common grid that is not before `time` (in seconds); infinity stays infinity."""
    return time if math.isinf(time) else math.ceil(time / GRID) * GRID


class Loop:
    """Calls functions in the event loop that runs now, from a thread or a signal handler.

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
        """Schedule `call()` in the loop. May be called from any thread or signal handler.

        Return False if the loop has ended, so that `call()` is never called.
        """
        try:
            self._run_soon(call)
        except RuntimeError:  # asyncio: closed; trio's RunFinishedError is one too
            return False
        return True
