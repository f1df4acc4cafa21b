"""The one place that advances and closes a user's generator (PEP 789; docs/design.md, "One request").

One task does it, from first to last. What is raised while the generator is suspended goes into it before it goes
anywhere else: a scope or a task group of its own may be what raised it, and would be left open. What the items are
for, and what stops it, is decided in `stream`; a synchronous generator comes as one of `sync`.
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

_FAIR_SHARE: Final = 0.005  # seconds that a generator may run before others have a turn


class ItemLost(RuntimeError):
    """A generator's own scope has cut what was done with an item it had yielded."""


class GeneratorRunner(Generic[T]):
    """Advances `source` to its end and gives each item to `consume`, in the task that calls `run`.

    :param source: an async generator, which is closed whatever happens, or another async iterable,
        which is left open at the end.
    :param consume: an async function. It is never cancelled by `stop`.
    :param explain: is given what awaiting it has raised, and raises something else if that says more.
    :param interrupt: cancels a scope around `run`: how `stop` ends a generator that waits.
    :param grace: seconds that the generator's cleanup may take, once it is cancelled or closed.

    `since` is the time, by the loop's clock, since which it waits for the generator, or for `consume`.

    ::

        with anyio.CancelScope() as scope:
            drive = GeneratorRunner(numbers(), send, interrupt=scope.cancel)
            await drive.run()
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
        self._advancing = False  # True while the generator is at work, and not suspended at a yield
        self._stopping = False
        self._clock = clock()
        self.since = self._clock()

    @property
    def consuming(self) -> bool:
        """True if an item is being consumed, or the source has ended."""
        return not self._advancing

    def stop(self) -> None:
        """End the source. While it waits it is cancelled; an item that it has yielded is consumed first."""
        self._stopping = True
        if self._advancing:
            self._interrupt()

    async def run(self, waits: Callable[[], object] | None = None) -> None:
        """GeneratorRunner the source to its end, or until `stop`. `waits()` is called when there is a first wait.

        Cancelled, by `stop` or from outside, it cancels the generator where it waits; its cleanup
        runs shielded, from the first line of its `finally` blocks, for the time of grace.

        :raises ItemLost: a scope or timeout of the generator's own has ended while an item was
            being consumed, and the generator went on: the item may have been lost.

        What the generator raises is raised as itself, and so is what `consume` raises, unless the
        generator, into which it is thrown first, raises something else.
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
                break  # it has swallowed its cancellation
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
            except BaseException as error:
                await self._throw(error)
        await self._close()

    async def _throw(self, error: BaseException) -> None:
        """Raise `error` inside of the generator, where it is suspended; always raises."""
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
        except BaseExceptionGroup as group:  # what its own task group makes of the GeneratorExit
            rest = group.split(GeneratorExit)[1]
            if rest is not None:
                raise rest from None


def name_of(source: object) -> str:
    """Return what a source is called in logs: the name of its function, or of its class."""
    name: str = getattr(source, "__qualname__", type(source).__qualname__)
    return name


async def close_unstarted(source: object) -> None:
    """Close a generator before its first step, so that none of its code runs. Anything else is left alone."""
    if isinstance(source, AsyncGenerator):
        await source.aclose()
    elif isinstance(source, Generator):
        source.close()


class Feed(Generic[T]):
    """A user's function that sends by itself, `await func(send)`, in place of a generator.

    Its scopes and task groups never see more of ours than the `send` it awaits. The parameters and
    `since` are those of `GeneratorRunner`.
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
        """Cancel the function, once what it is sending has been sent."""
        self._stopping = True
        if not self._in_flight:
            self._interrupt()

    async def run(self, waits: Callable[[], object] | None = None) -> None:
        """Await the function to its end; what it raises is raised. See `GeneratorRunner.run`."""
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
        """Send one item: what the function is given. From several tasks, one after the other.

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
