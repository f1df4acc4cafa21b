"""Synchronous code in one worker thread for its whole life, which asks its task to await things for it.

So everything asynchronous is done by the task that the code belongs to, one thing at a time, and a cancellation
reaches it there. What is awaited, and what it means that the client has left, is decided above.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import anyio

from .http.exchange import ClientDisconnect
from .loops import Loop
from .stray import strays_fail
from .task_group import framework_tasks
from .threads import Job, Limiter

__all__ = ["Dialogue", "WSGIClientLeft", "dialogue"]

T = TypeVar("T")


class WSGIClientLeft(ClientDisconnect, ConnectionError):
    """What synchronous code gets when it asks for something of a client that has left: an OSError."""


@asynccontextmanager
async def dialogue(work: Callable[[Dialogue], object], limiter: Limiter) -> AsyncIterator[Dialogue]:
    """Run `work(dialogue)` in a thread of the limiter while the block serves it.

    A thread that still works when the block ends gets WSGIClientLeft from its next `ask`, is left to
    itself, and counts for the limiter until it comes back.

    ::

        async with dialogue(lambda d: d.ask(exchange.next_chunk), limiter) as thread:
            await thread.end()
    """
    thread = Dialogue()
    async with framework_tasks() as group:
        group.start_soon(thread.run, work, limiter)
        try:
            yield thread
        finally:
            thread.leave()


class Dialogue:
    """One thread, and the task that serves it."""

    __slots__ = (
        "_answers",
        "_asking",
        "_errand",
        "_error",
        "_left",
        "_lock",
        "_loop",
        "_news",
        "ended",
    )

    def __init__(self) -> None:
        self.ended = False
        """True once the thread has come back."""
        self._loop = Loop()
        self._asking = threading.Lock()
        self._lock = threading.Lock()
        self._errand: Callable[[], Awaitable[Any]] | None = None
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._news = anyio.Event()
        self._error: Exception | None = None
        self._left = False

    # In the thread.

    def ask(self, errand: Callable[[], Awaitable[T]]) -> T:
        """Let the task await `errand()`; return its result, or raise its exception.

        :raises WSGIClientLeft: this thread is no longer served.
        """
        with self._asking:  # whatever threads of its own the code has
            with self._lock:
                if self._left:
                    raise WSGIClientLeft("the client has left")
                self._errand = errand
            if not self._loop.soon(self._wake):
                raise WSGIClientLeft("the event loop has ended")
            answer, error = self._answers.get()
        if error is not None:
            raise error
        result: T = answer
        return result

    def _work(self, work: Callable[[Dialogue], object]) -> None:
        try:
            work(self)
        except StopIteration as stop:  # which cannot cross into a coroutine (PEP 479)
            raise RuntimeError("the code in a thread raised StopIteration") from stop

    # In the task.

    async def run(self, work: Callable[[Dialogue], object], limiter: Limiter) -> None:
        """Run the thread, and keep what it raises for `end`."""
        try:
            await Job(partial(self._work, work)).run(limiter)
        except Exception as error:
            self._error = error
        finally:
            self.ended = True
            self._wake()

    def _wake(self) -> None:
        self._news.set()

    async def serve(self, until: Callable[[], bool] = lambda: False) -> None:
        """Do what the thread asks for, until it has come back, or until `until()` after that.

        Cancelled while it does something, it has the thread get WSGIClientLeft for it.
        """
        while not self.ended and not until():
            await self._news.wait()
            self._news = anyio.Event()
            errand, self._errand = self._errand, None
            if errand is None:
                continue
            try:
                with strays_fail:
                    answer = await errand()
            except ClientDisconnect as error:
                self._answers.put((None, WSGIClientLeft(*error.args)))
            except Exception as error:
                self._answers.put((None, error))
            except BaseException:
                self._answers.put((None, WSGIClientLeft("the client has left")))
                raise
            else:
                self._answers.put((answer, None))

    def leave(self) -> None:
        """Serve it no longer: what it asks for from now on gives WSGIClientLeft."""
        with self._lock:
            self._left = True
            waiting, self._errand = self._errand is not None, None
        if waiting:
            self._answers.put((None, WSGIClientLeft("the client has left")))

    async def end(self) -> None:
        """Serve it until it has come back, and raise what it has raised."""
        await self.serve()
        if self._error is not None:
            raise self._error
