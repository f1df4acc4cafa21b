"""Compute a value once, however many tasks ask for it.

The first task computes, the others wait for it. If it is cancelled or fails, the next one goes on: `compute` must keep
what it has got so far.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, NoReturn, TypeVar

import anyio

__all__ = ["AsyncCached"]

T = TypeVar("T")


class AsyncCached(Awaitable[T]):
    """The result of `compute`, kept as `value` once it is `done`; `working` is True while a task computes it.

    `compute` is a generator function, which waits by `yield from`: a coroutine in between would be one
    more for each body.

    Example::

        def read_body():
            return b"".join((yield from read_chunks().__await__()))

        body = AsyncCached(read_body)
        await body  # reads
        await body  # does not
    """

    __slots__ = ("_compute", "_turn", "done", "value", "working")
    value: T

    def __init__(self, compute: Callable[[], Generator[Any, Any, T]]) -> None:
        self._compute = compute
        self.done = False
        self.working = False
        self._turn: anyio.Event | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        """Return the value, computing it if that was not done; may be awaited any number of times.

        Whatever `compute` raises is raised here, and the next one who awaits computes again. Under
        cancellation nothing is lost but this wait.
        """
        while not self.done:
            if self.working:
                self._turn = self._turn or anyio.Event()
                yield from self._turn.wait().__await__()
                continue
            self.working = True
            try:
                self.value = yield from self._compute()
                self.done = True
                del self._compute  # mostly a method of the owner of this: a cycle otherwise
            finally:
                self.working = False
                if self._turn is not None:
                    self._turn.set()
                    self._turn = None
        return self.value

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"this has no {name!r} before it is awaited: put await before it")

    def __getitem__(self, key: object) -> NoReturn:
        raise TypeError("this has no items before it is awaited: put await before it")
