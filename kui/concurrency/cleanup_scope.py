"""One scope around work and its cleanup, which becomes the shield of the cleanup.

What the work has entered may hold cancel scopes and task groups open, so that a shield that is opened around the
cleanup alone would be left in the wrong order. This one is opened before all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
import anyio.abc
import anyio.lowlevel

from .cleanup import GRACE
from .loops import Scope, cancel_scope
from .waits import on_first_wait

__all__ = ["CleanupScope"]

logger = logging.getLogger("kui.error")


class CleanupScope:
    """A scope to be opened before the first thing that is to be cleaned up, and closed in the same task.

    From `close` on nothing cancels the cleanup, but that it may take `seconds` from the moment in which
    it would have been cancelled; then it is, and `kui.error` says so.

    ::

        cleanup = await CleanupScope.open("the dependencies of GET /items")
        entered = await enter()
        try:
            ...
        except BaseException as exc:
            error = exc
        await cleanup.close(leave, error)
    """

    __slots__ = ("_bounded", "_group", "_name", "_noticing", "_scope", "_seconds")

    def __init__(self, name: str, seconds: float = GRACE) -> None:
        self._name = name
        self._seconds = seconds
        self._bounded = False
        self._noticing = False
        self._group: anyio.abc.TaskGroup = anyio.create_task_group()
        self._scope: Scope = cancel_scope()

    @classmethod
    async def open(cls, name: str, seconds: float = GRACE) -> CleanupScope:
        """A new one, entered. `name` is for the message of a cleanup that overruns."""
        made = cls(name, seconds)
        await made._group.__aenter__()
        made._scope.__enter__()
        return made

    async def close(
        self,
        leave: Callable[[BaseException | None], Awaitable[BaseException | None]],
        error: BaseException | None,
    ) -> BaseException | None:
        """Await `leave(error)` behind the shield; return what it returns, or the cancellation that came.

        `leave` raises nothing; it returns what is to be raised, or None.
        """
        self._scope.shield = True
        cancelled = anyio.get_cancelled_exc_class()
        if isinstance(error, cancelled):
            self.bound()
        raised = await on_first_wait(leave(error), self._begin)
        if self._scope.cancel_called:
            logger.error("The cleanup of %s took longer than %g s", self._name, self._seconds)
        try:
            if self._scope.__exit__(_type(raised), raised, getattr(raised, "__traceback__", None)):
                raised = None
        except BaseException as rest:  # of a group with cancellations of this scope
            raised = rest
        if self._noticing:
            self._group.cancel_scope.cancel()
        try:
            await self._group.__aexit__(None, None, None)
            if raised is None and self._bounded:
                await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException as late:  # the cancellation that the shield held back
            raised = raised or late
        return raised

    @contextmanager
    def lowered(self) -> Iterator[None]:
        """A block of the cleanup that is cancelled as if it were work."""
        self._scope.shield = False
        try:
            yield
        finally:
            self._scope.shield = True

    def bound(self) -> None:
        """Let the time for the cleanup begin."""
        if not self._bounded:
            self._bounded = True
            self._scope.deadline = anyio.current_time() + self._seconds

    def _begin(self) -> None:
        if not self._bounded:
            self._noticing = True
            self._group.start_soon(self._notice)

    async def _notice(self) -> None:
        """Wait outside of the shield, where a cancellation is delivered."""
        try:
            await anyio.sleep_forever()
        finally:
            self.bound()


def _type(error: BaseException | None) -> type[BaseException] | None:
    return None if error is None else type(error)
