"""Cleanup that is shielded from the moment in which a cancellation is delivered (docs/design.md, "Cleanup").

A shield that a `finally` block opens for itself comes too late for its own first wait where the block forgets it.
So the work is stepped here: the shield goes up between the delivery of a cancellation from outside and the first
line of the `finally` blocks that it reaches.
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
"""Waits after the end of its time, each of them cancelled, after which work is given up."""
_INSISTENCE: Final = 0.25
"""Seconds that these waits must take at least, so that a cleanup which unwinds has time to do so."""

logger = logging.getLogger("kui.error")


class CancellationSwallowed(RuntimeError):
    """The source of a response went on, whenever it was cancelled, beyond the time for its cleanup."""


class CleanupShield:
    """Work that has a bounded time for its cleanup when it is cancelled from outside.

    The shield is up from the delivery of the cancellation on. While it passes a scope or task group of the work's
    own that is cancelled too, the shield is down: behind it, that scope would take the cancellation for its own.

    On trio, a cancellation that is met at a mere checkpoint, or only by the children of a nursery of the work's own,
    reaches the cleanup before the shield is up. There trio's usual rule holds: cleanup that waits shields itself, as
    `shielded(seconds)` does.

    - `cancelled`: the cancellation from outside that was delivered, or None.
    - `waited`: set to True at each wait, for the owner to reset.

    Example::

        shield = CleanupShield("the event stream")
        await shield.run(work())
    """

    __slots__ = (
        "_cancelling",
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

    async def run(
        self, work: Coroutine[Any, Any, None], on_first_wait: Callable[[], object] | None = None
    ) -> None:
        """Await `work`; `on_first_wait()` is called once, when it first waits.

        A cancellation from outside is raised at the end, also if the work has swallowed it. What overruns the time
        for its cleanup is cancelled and logged by `kui.error`.

        :raises CancellationSwallowed: the work goes on whenever it is cancelled; it was given up.
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
        """Shield what follows, for as long as a cleanup may take."""
        self._scope.shield = True
        self._scope.deadline = anyio.current_time() + self.seconds

    def cancelled_from_outside(self) -> bool:
        """True if a scope around the work is cancelled and reaches it, and none within the work is cancelled."""
        if self._scope.shield or anyio.current_effective_deadline() > -math.inf:
            return False
        self._scope.shield = True
        within = anyio.current_effective_deadline() == -math.inf
        self._scope.shield = False
        return not within

    def delivered(self, error: BaseException) -> None:
        """Take note of a cancellation that is about to be raised in the work."""
        if self.cancelled is None and not self._scope.shield:
            self._suspect = error
            self.from_outside()

    def from_outside(self) -> bool:
        """True if a cancellation from outside was delivered and is not over; the shield is up from now on."""
        if self._suspect is not None:
            if self.cancelled_from_outside():
                self._native = False
            elif anyio.current_effective_deadline() == -math.inf:
                return False  # a scope within is cancelled: it may be the only one
            elif cancellations() > self._cancelling:
                self._native = True
            else:
                self._suspect = None  # it was from within, and is over
                return False
            self.cancelled, self._suspect = self._suspect, None
            self.begin()
        elif self._native and cancellations() <= self._cancelling:
            self.cancelled = None  # it was a timeout of asyncio, within
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
            if on_first_wait is not None:
                on_first_wait()
            while True:
                self._about_to_wait(trap)
                try:
                    value = yield trap
                except BaseException as error:  # asyncio raises what the wait ended with
                    trap = work.throw(self._instead_of(error, work) or error)
                else:  # trio hands over an outcome
                    failure = self._instead_of(getattr(value, "error", None), work)
                    trap = work.send(value) if failure is None else work.throw(failure)
        except StopIteration:
            pass

    def _about_to_wait(self, trap: object) -> None:
        self.waited = True
        if self._scope.cancel_called:
            if self._overran is None:
                self._overran = monotonic()
                self._log_overrun()
        elif self.cancelled is not None and not self._native:
            if anyio.current_effective_deadline() == -math.inf:  # a scope within, behind the shield
                self._suspect, self.cancelled = self.cancelled, None
                self._scope.shield = False
        elif (self._suspect is not None or self._native) and not _is_mere_checkpoint(trap):
            self.from_outside()

    def _log_overrun(self) -> None:
        logger.error("The cleanup of %s took longer than %g s", self.name, self.seconds)

    def _instead_of(
        self, error: BaseException | None, work: Coroutine[Any, Any, None]
    ) -> BaseException | None:
        """Return what to raise in the work instead of this end of its wait; None for the error itself.

        :raises CancellationSwallowed: the work has swallowed that, too, and was left.
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
    """Return how many calls of asyncio's `task.cancel()` the current task has still to answer."""
    if not on_asyncio():
        return 0
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _is_mere_checkpoint(trap: object) -> bool:
    """True if the work waits for nothing: it may have noticed a cancellation already, which a shield would hide.

    `checkpoint_if_cancelled` of both libraries does so, and never returns if that is not raised.
    """
    return trap is None or is_checkpoint(trap)
