"""Compute a value once, for any number of tasks that await it.

The first task computes and the others wait. If the first is cancelled or fails, the next task calls `compute` again;
`compute` must therefore keep its progress outside of the call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, NoReturn, TypeVar

import anyio

__all__ = ["AsyncCached", "ToAwait"]

T = TypeVar("T")


class ToAwait(Awaitable[T]):
    """Awaitable that calls `compute`, a generator function, whenever it is awaited."""

    __slots__ = ("_compute",)

    def __init__(self, compute: Callable[[], Generator[Any, Any, T]]) -> None:
        self._compute = compute

    def __await__(self) -> Generator[Any, Any, T]:
        return self._compute()

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"this has no {name!r} before it is awaited: put await before it")

    def __getitem__(self, key: object) -> NoReturn:
        raise TypeError("this has no items before it is awaited: put await before it")

    def __call__(self) -> NoReturn:
        raise TypeError("this is no method: put await before it, and no parentheses behind it")


class AsyncCached(ToAwait[T]):
    """Awaitable that calls `compute` at its first await, and keeps the result.

    - `done`: True once there is a result.
    - `value`: the result; not set before `done`.
    - `working`: True while a task computes it.

    `compute` is a generator function that waits with `yield from`, which saves a coroutine for each body.

    Example::

        def read_body():
            return b"".join((yield from read_chunks().__await__()))

        body = AsyncCached(read_body)
        await body  # reads
        await body  # does not
    """

    __slots__ = ("_turn", "done", "value", "working")
    value: T

    def __init__(self, compute: Callable[[], Generator[Any, Any, T]]) -> None:
        self._compute = compute
        self.done = False
        self.working = False
        self._turn: anyio.Event | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        """Return the value, and compute it first if there is none. May be awaited any number of times.

        An exception of `compute` is raised here and not kept: the next task that awaits calls `compute` again. The
        same holds if this task is cancelled.
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
                # Usually a bound method of this object's owner, hence a reference cycle.
                del self._compute
            finally:
                self.working = False
                if self._turn is not None:
                    self._turn.set()
                    self._turn = None
        return self.value
