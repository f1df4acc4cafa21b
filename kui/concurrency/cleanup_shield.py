"""Shield a source's cleanup from the moment at which a cancellation is delivered (docs/design.md, "Cleanup").

A `finally` block of a user often waits without a shield of its own. So the work is advanced here step by step, and the
shield goes up after a cancellation from outside is delivered and before the first line of the `finally` block runs.
"""

from __future__ import annotations

import asyncio
import logging
import math
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import anyio

from .cleanup import GRACE
from .loops import cancel_scope, on_asyncio
from .stray import strays_fail
from .waits import is_checkpoint

__all__ = ["CancellationSwallowed", "CleanupShield", "cancellations"]

_SWALLOWED: Final = 100
"""Number of cancelled waits, counted after the end of the cleanup's time, after which the work is given up."""
_INSISTENCE: Final = 0.25
"""Minimum of seconds that these waits must take in all, so that a cleanup that unwinds slowly can end."""
_CHECKPOINTS: Final = 16
"""Number of mere checkpoints that are no waits. Each later one counts as a wait, for the work may do nothing else."""

logger = logging.getLogger("kui.error")


class CancellationSwallowed(RuntimeError):
    """The source of a response has swallowed every cancellation after the time for its cleanup, and was given up."""


class CleanupShield:
    """Runs work whose cleanup is shielded, for a bounded time, when the work is cancelled from outside.

    The shield is up from the delivery of the cancellation on. While the cancellation passes a scope or task group
    of the work's own that is cancelled too, the shield is down: behind the shield, that scope would take the
    cancellation for its own and swallow it.

    On trio the shield comes too late for a cancellation that the work meets at a mere checkpoint, or that only the
    children of a nursery of the work's own meet. There cleanup that waits must shield itself with
    `shielded(seconds)`. The same holds if a deadline of the work's own passes in the same moment as the cancellation,
    and the cleanup begins with a mere checkpoint.

    - `cancelled`: the cancellation from outside that was delivered, or None.
    - `waited`: set to True at each wait; the owner resets it. The first 16 mere checkpoints are no waits.

    :param name: what is run, for the log.
    :param seconds: how long the cleanup may take, in seconds.

    Example::

        shield = CleanupShield("the event stream")
        await shield.run(work())
    """

    __slots__ = (
        "_cancelling",
        "_checkpoints",
        "_failure",
        "_native",
        "_overran",
        "_scope",
        "_suspect",
        "_swallowed",
        "cancelled",
        "name",
        "seconds",
        "waited",
    )

    def __init__(self, name: str, seconds: float = GRACE) -> None:
        self.name = name
        self.seconds = seconds
        self.cancelled: BaseException | None = None
        self.waited = False
        self._suspect: BaseException | None = None  # delivered; perhaps from outside
        self._native = False  # True if `cancelled` came from asyncio's task.cancel(), by no scope
        self._cancelling = 0  # calls of task.cancel() before the work began
        self._scope = cancel_scope()
        self._overran: float | None = None  # when it first waited after its time
        self._failure: CancellationSwallowed | None = None
        self._swallowed = 0  # how many cancellations the work has swallowed since
        self._checkpoints = 0

    async def run(
        self, work: Coroutine[Any, Any, None], on_first_wait: Callable[[], object] | None = None
    ) -> None:
        """Await `work`, and call `on_first_wait()` once, when it first waits.

        A cancellation from outside is raised at the end even if the work has swallowed it. A cleanup that overruns
        its time is cancelled, and `kui.error` logs it.

        :raises CancellationSwallowed: the work swallowed every cancellation and was given up.
        """
        self._cancelling = cancellations()
        try:
            with self._scope, strays_fail:
                await self._stepped(work, on_first_wait)
                self.from_outside()
        finally:
            if self._scope.cancel_called and self._overran is None:
                self._log_overrun()
        if self.cancelled is not None:
            raise self.cancelled

    def begin(self) -> None:
        """Raise the shield, for as long as a cleanup may take."""
        self._scope.shield = True
        self._scope.deadline = anyio.current_time() + self.seconds

    def cancelled_from_outside(self) -> bool:
        """True if a scope around the work is cancelled and reaches the work, and no scope within it is cancelled."""
        if self._scope.shield or anyio.current_effective_deadline() > -math.inf:
            return False
        self._scope.shield = True
        within = anyio.current_effective_deadline() == -math.inf
        self._scope.shield = False
        return not within

    def delivered(self, error: BaseException) -> None:
        """Record a cancellation that is about to be raised in the work, and raise the shield if it is from outside."""
        self.waited = True
        if self.cancelled is None and not self._scope.shield:
            self._suspect = error
            self.from_outside()

    def from_outside(self) -> bool:
        """True if a cancellation from outside was delivered and is still in force. Raises or lowers the shield."""
        if self._suspect is not None:
            if self.cancelled_from_outside():
                self._native = False
            elif anyio.current_effective_deadline() == -math.inf:
                return False  # a scope within is cancelled, perhaps only that one
            elif cancellations() > self._cancelling:
                self._native = True
            else:
                self._suspect = None  # it came from a scope within, which has been left
                return False
            self.cancelled, self._suspect = self._suspect, None
            self.begin()
        elif self._native and cancellations() <= self._cancelling:
            self.cancelled = None  # it came from a timeout of asyncio within the work
            self._native = False
            self._scope.shield = False
            self._scope.deadline = math.inf
        return self.cancelled is not None

    @types.coroutine
    def _stepped(
        self, work: Coroutine[Any, Any, None], on_first_wait: Callable[[], object] | None
    ) -> Generator[Any, Any, None]:
        try:
            trap = work.send(None)
            while True:
                self._about_to_wait(trap)
                if self.waited and on_first_wait is not None:
                    on_first_wait()
                    on_first_wait = None
                try:
                    value = yield trap
                except BaseException as error:  # asyncio raises the error of the wait
                    trap = work.throw(self._instead_of(error, work) or error)
                else:  # trio sends an outcome object
                    failure = self._instead_of(getattr(value, "error", None), work)
                    trap = work.send(value) if failure is None else work.throw(failure)
        except StopIteration:
            pass

    def _about_to_wait(self, trap: object) -> None:
        checkpoint = trap is None or is_checkpoint(trap)
        if not checkpoint or self._checkpoints == _CHECKPOINTS:
            self.waited = True
        else:
            self._checkpoints += 1
        if self._scope.cancel_called:
            if self._overran is None:
                self._overran = monotonic()
                self._log_overrun()
        elif self.cancelled is not None and not self._native:
            if anyio.current_effective_deadline() == -math.inf:  # a scope within, behind the shield
                self._suspect, self.cancelled = self.cancelled, None
                self._scope.shield = False
        elif (self._suspect is not None or self._native) and not checkpoint:
            # At a mere checkpoint the work may have noticed a cancellation already, which a shield would hide:
            # `checkpoint_if_cancelled` of both libraries has, and never returns if that is not raised.
            self.from_outside()

    def _log_overrun(self) -> None:
        logger.error("The cleanup of %s took longer than %g s", self.name, self.seconds)

    def _instead_of(
        self, error: BaseException | None, work: Coroutine[Any, Any, None]
    ) -> BaseException | None:
        """Return the exception to raise in the work instead of `error`; None if `error` itself must be raised.

        :raises CancellationSwallowed: the work has swallowed the CancellationSwallowed too, and was left.
        """
        if not isinstance(error, anyio.get_cancelled_exc_class()):
            return None
        self.delivered(error)
        if self._overran is None:
            return None
        self._swallowed += 1
        if self._swallowed <= _SWALLOWED or monotonic() - self._overran <= _INSISTENCE:
            return None
        if self._failure is not None:
            with suppress(RuntimeError):  # raised if the work swallows GeneratorExit as well
                work.close()
            raise self._failure
        self._overran, self._swallowed = monotonic(), 0
        self._failure = CancellationSwallowed(
            f"{self.name} swallowed every cancellation, and was given up: it must raise it again"
        )
        logger.error("%s", self._failure)
        return self._failure


def cancellations() -> int:
    """Return the current task's pending `cancelling()` count on asyncio; 0 on trio."""
    if not on_asyncio():
        return 0
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
