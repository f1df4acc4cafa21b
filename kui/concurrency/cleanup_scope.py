"""One cancel scope around work and its cleanup, which becomes the shield of the cleanup.

The context managers that the work has entered may hold cancel scopes and task groups open. A shield that is opened for
the cleanup alone would then be left in the wrong order, so this one is opened before all of them.
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
    """A scope that is opened before the first resource that needs cleanup, and closed in the same task.

    From `close` on the cleanup is shielded. Its time of `seconds` begins with the first cancellation from outside; a
    cleanup that overruns it is cancelled, and `kui.error` logs it. Without a cancellation it may take any time.

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
        """Return a new scope, already entered.

        :param name: what is cleaned up, for the log line of a cleanup that overruns.
        :param seconds: how long the cleanup may take once it is cancelled from outside.
        """
        made = cls(name, seconds)
        await made._group.__aenter__()
        made._scope.__enter__()
        return made

    async def close(
        self,
        leave: Callable[[BaseException | None], Awaitable[BaseException | None]],
        error: BaseException | None,
    ) -> BaseException | None:
        """Await `leave(error)` behind the shield; return the exception that the caller must raise, or None.

        That is the exception that `leave` returns, or the cancellation that arrived meanwhile.

        :param leave: does the cleanup. It must return an exception instead of raising it.
        :param error: the exception that the work has ended with, if any.
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
        """Return True if `error` is the cancellation of a scope around the last guard, or of asyncio's `task.cancel()`.

        The caller must raise such an `error` again: behind the shield a task group takes it for its own and swallows
        it. Must be called when all scopes within the guard have been left.
        """
        if not isinstance(error, anyio.get_cancelled_exc_class()):
            return False
        if on_asyncio() and (not error.args or cancellations() > self._cancellations):
            # `task.cancel()` was called; the cancellations of anyio's scopes have a message.
            return True
        guard = self._guards[-1]
        guard.shield = False  # lowered to read the deadline only: no wait in between
        near = anyio.current_effective_deadline() == -math.inf
        guard.shield = True
        return near or await is_cancelled(self._group)

    # ---- one by one

    def guard(self) -> Scope:
        """Open and return a scope around one of several resources; call it before each resource is entered.

        The cleanup of one resource must not be cancelled by the task group of another that is cleaned up later.
        """
        scope = cancel_scope()
        scope.__enter__()
        self._guards.append(scope)
        return scope

    def shield(self) -> None:
        """Raise the shield of the last guard, because the cleanup of its resource begins."""
        guard = self._guards[-1]
        guard.shield = True
        guard.deadline = self._scope.deadline

    def unguard(self, raised: BaseException | None) -> BaseException | None:
        """Leave the last guard; return the exception that remains of `raised`.

        That is None if the cleanup has overrun its time and was cancelled.

        :param raised: what the cleanup of the guard's resource has raised, or None.
        """
        guard = self._guards.pop()
        self._overran = self._overran or guard.cancel_called
        return _left(guard, raised)

    @contextmanager
    def lowered(self) -> Iterator[None]:
        """A block within the cleanup without the shield: a cancellation reaches it as it reaches work."""
        scopes = (self._guards[-1], self._scope)
        for scope in scopes:
            scope.shield = False
        try:
            yield
        finally:
            for scope in scopes:
                scope.shield = True

    def bound(self) -> None:
        """Start the time for the cleanup. Only the first call counts."""
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
        """Wait outside of the shield for a cancellation, and then start the time for the cleanup."""
        try:
            await anyio.sleep_forever()
        finally:
            self.bound()


async def is_cancelled(group: anyio.abc.TaskGroup) -> bool:
    """Return True if the scope of a task group, or a scope around it, is cancelled. Works from behind any shield."""
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
    """Leave a scope with `raised`; return the exception that remains of it, or None if the scope caught it."""
    kind = None if raised is None else type(raised)
    try:
        if scope.__exit__(kind, raised, None if raised is None else raised.__traceback__):
            return None
    except BaseException as rest:  # a group from which the scope has taken its own cancellations
        return rest
    return raised
