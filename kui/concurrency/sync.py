"""Make an async generator of a synchronous iterable, which is advanced in worker threads (docs/design.md, "Cleanup").

A generator has one Context for all its steps, in whatever thread they run. Generators have a thread limiter of their
own. StopIteration never reaches a coroutine.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from .cleanup import shielded
from .threads import CLOSING_THREADS, GENERATORS, Job

__all__ = ["InThreads"]

T = TypeVar("T")
R = TypeVar("R")

_END: Final = object()

logger = logging.getLogger("kui.error")


class InThreads(AsyncGenerator[T, None]):
    """Iterates over `iterable` in worker threads, one step at a time.

    A step that is cancelled while its thread works ends at once: the thread is abandoned, and closes the generator
    when its step is done. A generator that has not ended is closed exactly once.

    ::

        async for chunk in InThreads(read_blocks(path)):
            await send(chunk)
    """

    __slots__ = ("__qualname__", "_context", "_ended", "_iterable", "_iterator", "_left")

    def __init__(self, iterable: Iterable[T]) -> None:
        self.__qualname__ = getattr(iterable, "__qualname__", type(iterable).__qualname__)
        self._iterable = iterable
        self._iterator: Iterator[T] | None = None  # None before its first step
        self._context: contextvars.Context | None = None
        self._ended = False
        self._left = False  # True if a step was abandoned; its thread closes the generator

    async def asend(self, value: None) -> T:
        """Return the next item.

        :param value: must be None.
        :raises StopAsyncIteration: there are no more items.
        """
        return await self._step(self._next)

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> T:
        """Raise an exception where the generator is suspended, and return what it yields next.

        If `typ` is no Exception (such as a cancellation) or the iterator has no `throw`, the generator is closed and
        the exception is raised here: synchronous code never sees a cancellation.

        :raises StopAsyncIteration: the generator has caught the exception and ended.
        """
        error = typ if isinstance(typ, BaseException) else typ()
        throw = getattr(self._iterator, "throw", None)
        if throw is None or not isinstance(error, Exception):
            await self.aclose()
            raise error
        return await self._step(lambda: throw(error))

    async def aclose(self) -> None:
        """Close the generator, in a thread if its code has begun to run. May be called again."""
        if self._ended or self._left:
            return
        if self._iterator is None:
            self._close()
        else:
            with shielded(what=f"The cleanup of {self.__qualname__}"):
                await Job(self._in_context(self._close)).run(CLOSING_THREADS)

    async def _step(self, step: Callable[[], T]) -> T:
        if self._ended or self._left:
            raise StopAsyncIteration
        job = Job(self._in_context(lambda: self._item(step)), self._in_context(self._close_late))
        first = self._iterator is None
        try:
            item = await job.run(GENERATORS)
        except BaseException:
            self._left = job.left
            if first and not job.began:
                await self._begin_and_close()
            await self.aclose()
            raise
        if item is _END:
            raise StopAsyncIteration
        return cast(T, item)

    async def _begin_and_close(self) -> None:
        """Run a generator that was cancelled before its first step to its first yield, and close it there.

        So its `finally` blocks run, as those of an async generator do, which always begins.
        """
        if not isinstance(self._iterable, Generator):
            return
        job = Job(self._in_context(self._first_and_close), lambda: None)
        with shielded(what=f"The first step of {self.__qualname__}"):
            await job.run(GENERATORS)
        self._left = job.left

    # In the thread.

    def _first_and_close(self) -> None:
        try:
            self._item(self._next)
        except Exception:
            logger.exception(
                "%s failed in its first step, after its cancellation", self.__qualname__
            )
        finally:
            self._close_late()

    def _in_context(self, func: Callable[[], R]) -> Callable[[], R]:
        def call() -> R:
            if self._context is None:
                self._context = contextvars.copy_context()
            return self._context.run(func)

        return call

    def _next(self) -> T:
        if self._iterator is None:
            self._iterator = iter(self._iterable)
        return next(self._iterator)

    def _item(self, step: Callable[[], T]) -> Any:
        try:
            return step()
        except StopIteration:
            self._ended = True
            return _END
        except StopAsyncIteration as error:  # it would count as the end here
            self._ended = True
            raise RuntimeError(f"{self.__qualname__} raised StopAsyncIteration") from error
        except BaseException:
            self._ended = True
            raise

    def _close(self) -> None:
        self._ended = True
        owner = self._iterable if self._iterator is None else self._iterator
        if isinstance(owner, Generator):
            owner.close()

    def _close_late(self) -> None:
        if not self._ended:
            try:
                self._close()
            except Exception:
                logger.exception("%s failed when it was closed", self.__qualname__)
