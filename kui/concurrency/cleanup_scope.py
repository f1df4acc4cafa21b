"""One scope around work and its cleanup, which becomes the shield of the cleanup.

What the work has entered may hold cancel scopes and task groups open, so that a shield that is opened around the
cleanup alone would be left in the wrong order. This one is opened before all of them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
import anyio.abc
import anyio.lowlevel

from .cleanup import GRACE
from .cleanup_shield import cancellations
from .loops import Scope, cancel_scope, on_asyncio
from .waits import on_first_wait

__all__ = ["CleanupScope", "is_cancelled"]

logger = logging.getLogger("kui.error")


class CleanupScope:
    """A scope that is opened before the first thing that needs cleanup, and closed in the same task.

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

    __slots__ = (
        "_bounded",
        "_cancellations",
        "_group",
        "_guards",
        "_name",
        "_noticing",
        "_overran",
        "_scope",
        "_seconds",
    )

    def __init__(self, name: str, seconds: float = GRACE) -> None:
        self._name = name
        self._seconds = seconds
        self._bounded = False
        self._noticing = False
        self._overran = False
        self._guards: list[Scope] = []
        self._cancellations = cancellations()
        self._group: anyio.abc.TaskGroup = anyio.create_task_group()
        self._scope: Scope = cancel_scope()

    @classmethod
    async def open(cls, name: str, seconds: float = GRACE) -> CleanupScope:
        """Return a new one, entered. `name` is for the message of a cleanup that overruns."""
        made = cls(name, seconds)
        await made._group.__aenter__()
        made._scope.__enter__()
        return made

    async def close(
        self,
        leave: Callable[[BaseException | None], Awaitable[BaseException | None]],
        error: BaseException | None,
    ) -> BaseException | None:
        """Await `leave(error)` behind the shield; return what must be raised.

        That is what `leave` returns, which raises nothing; or the cancellation that came meanwhile.
        """
        if isinstance(error, anyio.get_cancelled_exc_class()):
            self.bound()
        self._scope.shield = True
        raised = await on_first_wait(leave(error), self._begin)
        if self._overran or self._scope.cancel_called:
            logger.error("The cleanup of %s took longer than %g s", self._name, self._seconds)
        raised = _left(self._scope, raised)
        if self._noticing:
            self._group.cancel_scope.cancel()
        try:
            await self._group.__aexit__(None, None, None)
            if raised is None and self._bounded:
                await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException as late:  # the cancellation that the shield held back
            raised = late
        return raised

    async def cancelled_around(self, error: BaseException) -> bool:
        """Find out whether `error` is the cancellation of a scope around the last guard, or asyncio's own.

        Behind the shield a task group takes such a cancellation for its own, and swallows it. To be
        called when all scopes within the guard are left.
        """
        if not isinstance(error, anyio.get_cancelled_exc_class()):
            return False
        if on_asyncio() and (not error.args or cancellations() > self._cancellations):
            return True  # that of a scope has a message
        guard = self._guards[-1]
        guard.shield = False  # for a look only: nothing waits meanwhile
        near = anyio.current_effective_deadline() == -math.inf
        guard.shield = True
        return near or await is_cancelled(self._group)

    # ---- one by one

    def guard(self) -> Scope:
        """Return a scope, entered, to be opened before each of several things that are cleaned up by themselves.

        What is cleaned up first must not be cut by the task group of one that is cleaned up later.
        """
        scope = cancel_scope()
        scope.__enter__()
        self._guards.append(scope)
        return scope

    def shield(self) -> None:
        """Begin the cleanup of what the last guard was opened for."""
        guard = self._guards[-1]
        guard.shield = True
        guard.deadline = self._scope.deadline

    def unguard(self, raised: BaseException | None) -> BaseException | None:
        """Leave the last guard with what its cleanup has raised; return what is left of that.

        That is None if the cleanup has overrun, and was cancelled.
        """
        guard = self._guards.pop()
        self._overran = self._overran or guard.cancel_called
        return _left(guard, raised)

    @contextmanager
    def lowered(self) -> Iterator[None]:
        """A block of a cleanup that is cancelled as if it were work."""
        scopes = (self._guards[-1], self._scope)
        for scope in scopes:
            scope.shield = False
        try:
            yield
        finally:
            for scope in scopes:
                scope.shield = True

    def bound(self) -> None:
        """Let the time for the cleanup begin."""
        if not self._bounded:
            self._bounded = True
            deadline = anyio.current_time() + self._seconds
            self._scope.deadline = deadline
            for guard in self._guards:
                if guard.shield:
                    guard.deadline = deadline

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


async def is_cancelled(group: anyio.abc.TaskGroup) -> bool:
    """Find out whether a task group is cancelled, itself or by a scope around it, from behind any shield."""
    asked = anyio.Event()
    found = False

    async def ask() -> None:
        nonlocal found
        found = anyio.current_effective_deadline() == -math.inf
        asked.set()

    with anyio.CancelScope(shield=True):
        group.start_soon(ask)
        await asked.wait()
    return found


def _left(scope: Scope, raised: BaseException | None) -> BaseException | None:
    """Leave a scope; return what is left of what was raised in it."""
    kind = None if raised is None else type(raised)
    try:
        if scope.__exit__(kind, raised, None if raised is None else raised.__traceback__):
            return None
    except BaseException as rest:  # of a group with cancellations of this scope
        return rest
    return raised
