"""Run synchronous code in one worker thread, from which it asks a task to await things for it.

That task awaits them one at a time, and is where a cancellation arrives. `kui/asgi_apps/wsgi.py` defines what is
awaited, and how a WSGI app learns that its client has left.
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
    """Raised in the thread if it asks for something after the client has left. It is an OSError."""


@asynccontextmanager
async def dialogue(work: Callable[[Dialogue], object], limiter: Limiter) -> AsyncIterator[Dialogue]:
    """Run `work(dialogue)` in a thread while the block serves its requests.

    If the thread still works when the block ends, it is abandoned: its next `ask` raises WSGIClientLeft, and it counts
    for the limiter until `work` returns.

    :param limiter: limits how many threads are used.

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
    """Connects one thread, which calls `ask`, with the task that calls `serve` and `end`."""

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
        """True once `work` has returned or raised."""
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
        """Have the task await `errand()`; return its result, or raise its exception. Called in the thread.

        :raises WSGIClientLeft: the client has left, or the block has ended.
        """
        with self._asking:  # the synchronous code may have started threads of its own
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
        except StopIteration as stop:  # it cannot be raised in a coroutine (PEP 479)
            raise RuntimeError("the code in a thread raised StopIteration") from stop

    # In the task.

    async def run(self, work: Callable[[Dialogue], object], limiter: Limiter) -> None:
        """Run `work` in a thread, and keep the exception that it raises for `end`."""
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
        """Await what the thread asks for, until `work` has ended or `until()` is true.

        `until` is called before each wait for the thread. If this is cancelled while it awaits something, the
        thread's `ask` raises WSGIClientLeft.
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
        """Stop serving the thread: its `ask` raises WSGIClientLeft from now on."""
        with self._lock:
            self._left = True
            waiting, self._errand = self._errand is not None, None
        if waiting:
            self._answers.put((None, WSGIClientLeft("the client has left")))

    async def end(self) -> None:
        """Serve the thread until `work` has ended.

        :raises Exception: what `work` has raised.
        """
        await self.serve()
        if self._error is not None:
            raise self._error
