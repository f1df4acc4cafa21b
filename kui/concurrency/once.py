"""Compute a value once, however many tasks ask for it (rule 2: one reader).

Whoever asks first computes, the others wait for it. Where the one that computes is cancelled or
fails, the next one goes on: `compute` must keep what it has got so far.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

__all__ = ["Once"]

T = TypeVar("T")


class Once(Generic[T]):
    """The result of `compute`, kept: `value`, once `done`.

    Example::

        body = Once(read_body)
        await body.get()  # reads
        await body.get()  # does not
    """

    __slots__ = ("_compute", "_turn", "_working", "done", "value")
    value: T

    def __init__(self, compute: Callable[[], Awaitable[T]]) -> None:
        self._compute = compute
        self.done = False
        self._working = False
        self._turn: anyio.Event | None = None

    async def get(self) -> T:
        """Return the value, computing it if nobody has.

        Whatever `compute` raises is raised here, and the next call computes again. Under
        cancellation nothing is lost but this call.
        """
        while not self.done:
            if self._working:
                self._turn = self._turn or anyio.Event()
                await self._turn.wait()
                continue
            self._working = True
            try:
                self.value = await self._compute()
                self.done = True
            finally:
                self._working = False
                if self._turn is not None:
                    self._turn.set()
                    self._turn = None
        return self.value
