"""The task group that a handler declares (`RequestTasks`): its children are cancelled when the client leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
import anyio.abc

from .cleanup import uninterrupted
from .cleanup_scope import CleanupScope, is_cancelled

__all__ = ["RequestGroup"]

logger = logging.getLogger("kui.error")


class RequestGroup:
    """Runs a task group for the children of a handler. They do not outlive it.

    The group is entered in a task of its own (the host), so that the children can be cancelled while the handler
    goes on. `tasks` is the group. `enter` and `leave` must be called by the same task.

    :param watch: called as `watch(group, client_left)`. It must call `client_left()` when the client leaves, may
        start tasks in `group`, and returns a function that ends the watching.
    :param sent: if True, `leave` cancels the children; otherwise it waits for them.

    ::

        group = RequestGroup(watch)
        tasks = await group.enter()
        ...
        raised = await group.leave(error, cleanup)
    """

    __slots__ = (
        "_closing",
        "_ended",
        "_entered",
        "_failure",
        "_left",
        "_outer",
        "_sent",
        "_unwatch",
        "_watch",
        "_watching",
        "tasks",
    )

    tasks: anyio.abc.TaskGroup
    _watching: anyio.abc.TaskGroup

    def __init__(
        self,
        watch: Callable[[anyio.abc.TaskGroup, Callable[[], object]], Callable[[], object]],
        sent: bool = False,
    ) -> None:
        self._watch = watch
        self._sent = sent
        self._unwatch: Callable[[], object] | None = None
        self._closing = anyio.Event()
        self._ended = anyio.Event()
        self._entered = False
        self._left = False  # True once the client has left
        self._failure: BaseException | None = None
        self._outer: anyio.abc.TaskGroup = anyio.create_task_group()

    async def enter(self) -> anyio.abc.TaskGroup:
        """Open the group and return it. If cancelled, the group is closed again."""
        await self._outer.__aenter__()
        try:
            await self._outer.start(self._host)
        except BaseException as error:
            if not await self._outer.__aexit__(type(error), error, error.__traceback__):
                raise
            raise RuntimeError("the task group of a request was cancelled at its start") from error
        self._entered = True
        self._unwatch = self._watch(self._watching, self._client_left)
        return self.tasks

    def unwatch(self) -> None:
        """Stop watching the client. May be called again."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    async def leave(
        self, error: BaseException | None, cleanup: CleanupScope
    ) -> BaseException | None:
        """Wait for the children, or cancel them if there is an error; return the exception to raise, or None.

        That is `error`, or the failure of a child (in no group), or a cancellation that arrived meanwhile.
        """
        if error is None and not self._sent:
            self._closing.set()
            try:
                with cleanup.lowered():
                    await self._ended.wait()
            except BaseException as cancelled:
                error = cancelled
        self.unwatch()
        self._closing.set()
        self.tasks.cancel_scope.cancel()
        # The task group must not see asyncio's own cancellation: it would uncancel the task.
        native = await uninterrupted(self._ended.wait, self._ended.is_set)
        # The group may catch only a cancellation of its own; any other exception passes by it.
        own = error if self._failure is not None and not isinstance(error, Exception) else None
        try:
            if own is None:
                await self._outer.__aexit__(None, None, None)
            else:
                await self._outer.__aexit__(type(own), own, own.__traceback__)
        except BaseException as late:
            if error is None or not isinstance(late, Exception):
                error = late
        if native is not None:
            return native
        if self._failure is not None:
            if not isinstance(error, Exception):
                return self._failure
            logger.error("A task beside a handler failed as well", exc_info=self._failure)
        return error

    async def _host(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        try:
            async with anyio.create_task_group() as self._watching:
                async with anyio.create_task_group() as self.tasks:
                    task_status.started()
                    await self._stay_open()
                self._watching.cancel_scope.cancel()
        except Exception as failure:
            self._failure = failure
            while isinstance(self._failure, ExceptionGroup) and len(self._failure.exceptions) == 1:
                self._failure = self._failure.exceptions[0]
            self._outer.cancel_scope.cancel()
        finally:
            self._ended.set()

    async def _stay_open(self) -> None:
        """Keep the group open until `leave`.

        If it is cancelled, but not because a child has failed, it stays open: the handler may still start tasks.
        """
        try:
            await self._closing.wait()
        except anyio.get_cancelled_exc_class():
            if self._entered and (self._left or await is_cancelled(self._watching)):
                with anyio.CancelScope(shield=True):
                    await self._closing.wait()
            raise

    def _client_left(self) -> None:
        self._left = True
        self.tasks.cancel_scope.cancel()
