"""Advance and close a user's generator, or await a user's `feed(send)` (PEP 789; docs/design.md, "One request").

One task advances the generator and closes it. An exception that is raised while the generator is suspended is first
thrown into the generator: a scope or task group of its own may have caused it, and would otherwise be left open.
`stream` sends the items and decides when to stop; synchronous generators are wrapped by `sync.InThreads` before.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator
from inspect import isawaitable
from time import monotonic
from typing import Any, Final, Generic, TypeVar

import anyio
import anyio.lowlevel

from kui.concurrency.cleanup import GRACE
from kui.concurrency.cleanup_shield import CleanupShield
from kui.concurrency.loops import clock

__all__ = ["Feed", "GeneratorRunner", "ItemLost", "close_unstarted", "name_of"]

T = TypeVar("T")

# Seconds that a source may run without a wait before other tasks get a turn.
_FAIR_SHARE: Final = 0.005


class ItemLost(RuntimeError):
    """Raised if a scope of the generator's own has cancelled the sending of an item that it had yielded."""


class GeneratorRunner(Generic[T]):
    """Advances `source` to its end and gives each item to `consume`, in the task that calls `run`.

    :param source: an async generator, which is always closed in the end, or another async iterable, which is not.
    :param consume: an async function. `stop` never cancels it.
    :param explain: called with an exception that `consume` has raised; may raise a clearer one in its place.
    :param interrupt: cancels a scope around `run`. `stop` calls it while the generator waits.
    :param grace: seconds that the generator's cleanup may take once it is cancelled or closed.

    `since` is the time, by the loop's clock, at which the present wait for the generator or for `consume` began.

    ::

        with anyio.CancelScope() as scope:
            runner = GeneratorRunner(numbers(), send, interrupt=scope.cancel)
            await runner.run()
    """

    __slots__ = (
        "_advancing",
        "_clock",
        "_consume",
        "_explain",
        "_generator",
        "_grace",
        "_interrupt",
        "_source",
        "_stopping",
        "since",
    )

    def __init__(
        self,
        source: AsyncIterable[T],
        consume: Callable[[T], Awaitable[None]],
        *,
        interrupt: Callable[[], object],
        explain: Callable[[Exception], None] = lambda error: None,
        grace: float = GRACE,
    ) -> None:
        self._source = source.__aiter__()
        self._generator: AsyncGenerator[T, Any] | None = (
            self._source if isinstance(self._source, AsyncGenerator) else None
        )
        self._consume = consume
        self._interrupt = interrupt
        self._explain = explain
        self._grace = CleanupShield(name_of(source), grace)
        # True while the generator runs or waits, and is not suspended at a yield.
        self._advancing = False
        self._stopping = False
        self._clock = clock()
        self.since = self._clock()

    @property
    def consuming(self) -> bool:
        """True if an item is being consumed, or the source has ended."""
        return not self._advancing

    def stop(self) -> None:
        """End the source: cancel it if it is being advanced; otherwise consume the item that it has yielded first."""
        self._stopping = True
        if self._advancing:
            self._interrupt()

    async def run(self, waits: Callable[[], object] | None = None) -> None:
        """Advance the source to its end, or until `stop`.

        A cancellation, by `stop` or from outside, is raised in the generator where it waits. The generator's cleanup
        is shielded for the time of grace, from the first line of its `finally` blocks on.

        :param waits: called once, when `source` or `consume` first waits.
        :raises ItemLost: a scope or timeout of the generator's own has ended while an item was being consumed, and
            the generator went on: the item may have been lost.
        :raises Exception: what the generator raises, unchanged; or what `consume` raises, which is first thrown into
            the generator, and replaced if the generator raises something else.
        """
        await self._grace.run(self._to_the_end(), waits)

    async def _to_the_end(self) -> None:
        advance, consume, grace = self._source.__anext__, self._consume, self._grace
        turn_ends = monotonic() + _FAIR_SHARE
        while not self._stopping:
            self._advancing = True
            try:
                item = await advance()
            except StopAsyncIteration:
                return
            finally:
                self._advancing = False
            if grace.waited and grace.from_outside():
                break  # the generator has swallowed its cancellation
            try:
                if grace.waited:
                    grace.waited = False
                    self.since = self._clock()
                    turn_ends = monotonic() + _FAIR_SHARE
                consuming = consume(item)
                try:
                    await consuming
                except Exception as error:
                    self._explain(error)
                    raise
                if grace.waited:
                    if grace.cancelled_from_outside():
                        await anyio.lowlevel.checkpoint()  # the server has shielded its send
                    self.since = self._clock()
                elif monotonic() > turn_ends:
                    await anyio.lowlevel.checkpoint()
                    self.since = self._clock()
                    turn_ends = monotonic() + _FAIR_SHARE
            except BaseException as error:
                await self._throw(error)
        await self._close()

    async def _throw(self, error: BaseException) -> None:
        """Throw `error` into the generator where it is suspended, and then raise `error` or what replaces it."""
        if self._generator is None or isinstance(error, GeneratorExit):
            raise error
        cancelled = isinstance(error, anyio.get_cancelled_exc_class())
        if cancelled:
            self._grace.delivered(error)
        elif self._grace.cancelled_from_outside():
            self._grace.begin()
        try:
            await self._generator.athrow(error)
        except StopAsyncIteration:
            pass
        else:
            await self._close()
        if cancelled and not self._grace.from_outside():
            raise ItemLost(
                f"a scope or timeout inside of {self._grace.name} ended while what it had yielded was"
                " being sent, and it went on: the chunk may be lost, and the response is cut. Use a"
                " function, feed(send), where a stream needs scopes around its yields."
            ) from error
        raise error

    async def _close(self) -> None:
        if self._generator is None:
            return
        self._grace.begin()
        try:
            await self._generator.aclose()
        except BaseExceptionGroup as group:  # from a task group around the GeneratorExit
            rest = group.split(GeneratorExit)[1]
            if rest is not None:
                raise rest from None


def name_of(source: object) -> str:
    """Return the name of a source for logs: that of its function or of its class."""
    name: str = getattr(source, "__qualname__", type(source).__qualname__)
    return name


async def close_unstarted(source: object) -> None:
    """Close a generator that has not begun, so that none of its code runs. Does nothing to other sources."""
    if isinstance(source, AsyncGenerator):
        await source.aclose()
    elif isinstance(source, Generator):
        source.close()


class Feed(Generic[T]):
    """Awaits a user's function `func(send)`, which sends its items itself, in place of a generator.

    The function may open scopes and task groups freely, because it is never suspended at a `yield`. The parameters
    and `since` are those of `GeneratorRunner`.
    """

    __slots__ = (
        "_clock",
        "_consume",
        "_func",
        "_grace",
        "_in_flight",
        "_interrupt",
        "_lock",
        "_over",
        "_stopping",
        "_turn",
        "since",
    )

    def __init__(
        self,
        func: Callable[[Callable[[T], Awaitable[None]]], Awaitable[None]],
        consume: Callable[[T], Awaitable[None]],
        *,
        interrupt: Callable[[], object],
        grace: float = GRACE,
    ) -> None:
        self._func = func
        self._consume = consume
        self._interrupt = interrupt
        self._grace = CleanupShield(name_of(func), grace)
        self._turn = monotonic() + _FAIR_SHARE
        self._lock = anyio.Lock(fast_acquire=True)
        self._in_flight = 0  # how many tasks are sending, or wait for their turn
        self._stopping = False
        self._over = False
        self._clock = clock()
        self.since = self._clock()

    @property
    def consuming(self) -> bool:
        """True if an item is being consumed."""
        return self._in_flight > 0

    def stop(self) -> None:
        """Cancel the function; an item that it is sending is sent first."""
        self._stopping = True
        if not self._in_flight:
            self._interrupt()

    async def run(self, waits: Callable[[], object] | None = None) -> None:
        """Await the function to its end, and raise what it raises. See `GeneratorRunner.run`."""
        if not self._stopping:
            try:
                await self._grace.run(self._call(), waits)
            finally:
                self._over = True

    async def _call(self) -> None:
        work = self._func(self.send)
        if not isawaitable(work):
            raise TypeError(
                f"{self._grace.name} returned {work!r}: write async def, and await send(item)"
            )
        await work

    async def send(self, item: T) -> None:
        """Send one item. This is the `send` that the function gets.

        Several tasks may call it; the items are sent one at a time. If the source was stopped, it waits for its
        cancellation.

        :raises RuntimeError: the response is over.
        """
        if self._over:
            raise RuntimeError("send() was called when the response was over")
        if self._stopping:
            await anyio.sleep_forever()  # until it is cancelled, when nothing is in flight any more
        if not self._in_flight:
            self.since = self._clock()
        self._in_flight += 1
        try:
            async with self._lock:
                await self._consume(item)
        finally:
            self.since = self._clock()
            self._in_flight -= 1
            if self._stopping and not self._in_flight:
                self._interrupt()
        if monotonic() > self._turn:
            await anyio.lowlevel.checkpoint()
            self._turn = monotonic() + _FAIR_SHARE
