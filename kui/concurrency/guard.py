"""What happens to work while it waits, seen from outside of it: that it waits, and that it is cancelled (rules 3, 4, 6).

Each wait of a coroutine passes through whoever awaits it. Here is one who looks: what only waiting work needs is
begun when it first waits, and cleanup is shielded from the moment in which a cancellation is delivered, before
the first `finally` below runs. Whose generator it is, and when it is closed, is decided in `drive`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.lowlevel

from .cleanup import GRACE
from .loops import Scope, cancel_scope, on_asyncio
from .stray import strays_fail

if TYPE_CHECKING:
    import trio

__all__ = ["Grace", "is_checkpoint", "on_first_wait", "on_wait"]

T = TypeVar("T")

_CHECKPOINTS: Final = 100
"""How many checkpoints without a wait may hold a cancellation back."""

logger = logging.getLogger("kui.error")


def on_first_wait(work: Awaitable[T], call: Callable[[], object]) -> Awaitable[T]:
    """Await `work`; call `call()` when it first waits. Work that never waits pays for nothing more."""
    if type(work) is not types.CoroutineType and not isinstance(work, Coroutine):
        work = _awaited(work)
    return _stepped(work, call, None)


@types.coroutine
def on_wait(work: Coroutine[Any, Any, T], call: Callable[[], object]) -> Generator[Any, Any, T]:
    """Await `work`; call `call()` whenever it waits, but not at trio's checkpoints, which wait for nothing."""
    try:
        trap = work.send(None)
        while True:
            if not is_checkpoint(trap):
                call()
            try:
                value = yield trap
            except BaseException as error:
                trap = work.throw(error)
            else:
                trap = work.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def _awaited(work: Awaitable[T]) -> T:
    return await work


class Grace:
    """Work that has a bounded time for its cleanup when it is cancelled from outside.

    The shield is up from the moment in which the cancellation is delivered. Where it then passes a
    task group of the work's own, which would take it for its own behind a shield, the shield is down
    until the next wait around that group: a mere checkpoint there, such as an `anyio.Lock`'s, may
    still be cut, unless it shields itself.

    `cancelled` is the cancellation from outside that was delivered to the work, until it is over.

    ::

        grace = Grace("the event stream")
        await grace.run(work())
    """

    __slots__ = (
        "_cancelling",
        "_checkpoints",
        "_met",
        "_native",
        "_noticed",
        "_scope",
        "_suspect",
        "cancelled",
        "name",
        "pending",
        "seconds",
        "waited",
    )

    def __init__(self, name: str, seconds: float = GRACE) -> None:
        self.name = name
        self.seconds = seconds
        self.cancelled: BaseException | None = None
        self.pending = False  # is a cancellation from outside held back until the next wait?
        self.waited = False  # set at each wait, for whoever takes it back
        self._checkpoints = 0  # that have gone by with it held back
        self._noticed = False  # has a checkpoint begun because of it?
        self._suspect: BaseException | None = None  # delivered, perhaps from outside
        self._met: list[trio.CancelScope] | None = None  # in which of the work's scopes that was
        self._native = False  # was it asyncio's own, by no scope?
        self._cancelling = 0  # how many of these there were before
        self._scope = cancel_scope()

    async def run(
        self, work: Coroutine[Any, Any, None], waits: Callable[[], object] | None = None
    ) -> None:
        """Await `work`; `waits()` is called when it first waits.

        A cancellation from outside is raised at the end, also when the work has swallowed it, or
        has overrun its time: then what it still waits for is cancelled, and `kui.error` says so.
        """
        self._cancelling = _cancelling()
        try:
            with self._scope:
                with strays_fail:
                    await _stepped(work, waits, self)
                self.from_outside()
        finally:
            if self._scope.cancel_called:
                logger.error("The cleanup of %s took longer than %g s", self.name, self.seconds)
        if self.cancelled is not None:
            raise self.cancelled

    def begin(self) -> None:
        """Shield what follows, for as long as a cleanup may take."""
        self._scope.shield = True
        self._scope.deadline = anyio.current_time() + self.seconds

    def cancelled_from_outside(self) -> bool:
        """Is a scope around the work cancelled, and none within it?"""
        if self._scope.shield or anyio.current_effective_deadline() > -math.inf:
            return False
        return not self._cancelled_within()

    def _cancelled_within(self) -> bool:
        """Is a scope within the work cancelled? One that its cleanup has opened since does not count.

        Such a scope may be over as soon as it has begun: the one of a short `trio.sleep`, for instance.
        """
        scopes = _scopes_within(self._scope)
        if scopes is not None:
            met = self._met
            return any(scope.cancel_called for scope in scopes if met is None or scope in met)
        shield, self._scope.shield = self._scope.shield, True
        within = anyio.current_effective_deadline() == -math.inf
        self._scope.shield = shield
        return within

    def delivered(self, error: BaseException) -> None:
        """A cancellation is about to be raised in the work."""
        if self.cancelled is None and not self._scope.shield:
            self._suspect, self._met = error, _scopes_within(self._scope)
            self.from_outside()

    def from_outside(self) -> bool:
        """Was a cancellation from outside delivered, and is it not over? Then there is a shield from now on."""
        if self._suspect is not None:
            if self.cancelled_from_outside():
                self._native = False
            elif anyio.current_effective_deadline() == -math.inf:
                return False  # a scope within: nobody knows
            elif _cancelling() > self._cancelling:
                self._native = True
            else:
                # It was from within, or a cancelled task's that the work awaited.
                self._suspect = self._met = None
                return False
            self.cancelled, self._suspect = self._suspect, None
            self.begin()
        elif self._native and _cancelling() <= self._cancelling:
            self.cancelled = self._met = None  # it was a timeout's of asyncio, within
            self._native = False
            self._scope.shield = False
            self._scope.deadline = math.inf
        return self.cancelled is not None

    def about_to_wait(self, checkpoint: bool, work: object) -> None:
        """The work waits, or goes through a mere checkpoint, which may have noticed a cancellation already."""
        self.waited = True
        if self.pending:
            self._checkpoints += 1
            if not checkpoint or self._checkpoints > _CHECKPOINTS:
                self._let_through()
        elif self.cancelled is not None and not self._native:
            if (
                anyio.current_effective_deadline() == -math.inf
                and not self._scope.cancel_called
                and self._cancelled_within()
            ):
                self._suspect, self.cancelled = self.cancelled, None
                self._scope.shield = False
        elif self._suspect is not None or self._native:
            if not checkpoint or not _may_have_noticed(work):
                self.from_outside()

    def notice(self) -> None:
        """A checkpoint of trio's begins: does it because the work is cancelled from outside already?"""
        if self._suspect is None and self.cancelled is None and not self.pending:
            self._noticed = self.cancelled_from_outside()

    async def due(self) -> BaseException | None:
        """What a checkpoint of trio's is about to raise, if it has begun although the work was cancelled already."""
        if not self._noticed:
            return None
        self._noticed = False
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class() as error:
            return error
        return None

    def hold_back(self) -> None:
        """Hold a cancellation from outside back, after a checkpoint of trio's and before it notices.

        It would raise it from a scope of its own, behind which there could be no shield in time.
        """
        if (
            self._suspect is None
            and self.cancelled is None
            and not self.pending
            and self._checkpoints <= _CHECKPOINTS
            and self.cancelled_from_outside()
        ):
            self._scope.shield = self.pending = True

    async def let_through(self) -> None:
        """Raise what was held back: somebody is here who can take it. A checkpoint only if there is something."""
        if self.pending:
            self._let_through()
            await anyio.lowlevel.checkpoint()

    def _let_through(self) -> None:
        self.pending = False
        self._scope.shield = False


def _cancelling() -> int:
    """How many calls of asyncio's `task.cancel()` the current task has still to answer."""
    if not on_asyncio():
        return 0
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


@types.coroutine
def _stepped(
    work: Coroutine[Any, Any, T], waits: Callable[[], object] | None, grace: Grace | None
) -> Generator[Any, Any, T]:
    """Await `work`, as `await` would, and look at everything that passes."""
    try:
        trap = work.send(None)
        if waits is not None:
            waits()
        while True:
            mere = trap is not None and is_checkpoint(trap)
            if grace is not None:
                grace.about_to_wait(mere or trap is None, work)
                if mere:
                    grace.notice()
            try:
                value = yield trap
            except BaseException as error:  # asyncio raises what the wait ended with
                if grace is not None and isinstance(error, anyio.get_cancelled_exc_class()):
                    grace.delivered(error)
                trap = work.throw(error)
            else:
                if grace is not None:
                    failure = getattr(value, "error", None)  # trio hands over an outcome
                    if failure and isinstance(failure, anyio.get_cancelled_exc_class()):
                        grace.delivered(failure)
                    elif mere:
                        if cancelled := (yield from grace.due()):
                            grace.delivered(cancelled)
                            trap = work.throw(cancelled)
                            continue
                        grace.hold_back()
                    elif (hidden := _raised_by_a_nursery(trap)) is not None:
                        grace.delivered(hidden)
                trap = work.send(value)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _may_have_noticed(work: object) -> bool:
    """Does a checkpoint that `work` goes through begin with a look whether there is a cancellation?

    `checkpoint_if_cancelled`, trio's and anyio's, goes on only when it is raised, so that it is too late
    for a shield. Told by its name.
    """
    while work is not None:
        if isinstance(work, types.CoroutineType):
            if work.cr_code.co_name == "checkpoint_if_cancelled":
                return True
            work = work.cr_await
        elif isinstance(work, types.AsyncGeneratorType):
            work = work.ag_await
        elif isinstance(work, types.GeneratorType):
            work = work.gi_yieldfrom
        else:  # an `asend` or `athrow`, which does not say of which generator, or what nobody knows
            generators = (
                each
                for each in gc.get_referents(work)
                if isinstance(each, types.AsyncGeneratorType)
            )
            work = next(generators, None)
    return False


def _raised_by_a_nursery(trap: object) -> BaseException | None:
    """The cancellation that the end of a nursery is about to raise, where only its tasks have met it.

    The wait for them is not cancelled itself. Internals of trio, told by their names; unknown,
    there is none.
    """
    abort = getattr(trap, "abort_func", None)
    if getattr(abort, "__qualname__", "") != "Nursery._nested_child_finished.<locals>.aborted":
        return None
    import trio.lowlevel

    nursery = trio.lowlevel.current_task().child_nurseries[-1]
    return _cancelled_in(getattr(nursery, "_pending_excs", ()))


def _cancelled_in(errors: Iterable[BaseException]) -> BaseException | None:
    for error in errors:
        if isinstance(error, anyio.get_cancelled_exc_class()):
            return error
        if isinstance(error, BaseExceptionGroup) and (found := _cancelled_in(error.exceptions)):
            return found
    return None


def _scopes_within(outer: Scope) -> list[trio.CancelScope] | None:
    """The scopes that the current task is in, out to `outer`, on trio; None where nobody says so.

    Internals of trio, told by their names.
    """
    if on_asyncio():
        return None
    import trio.lowlevel

    scopes = []
    status = getattr(trio.lowlevel.current_task(), "_cancel_status", None)
    while status is not None and (scope := getattr(status, "_scope", None)) is not outer:
        if scope is None:
            return None
        scopes.append(scope)
        status = getattr(status, "parent", None)
    return None if status is None else scopes


def is_checkpoint(trap: object) -> bool:
    """Is this what trio's checkpoints give to its run loop, which resumes them at once?

    An internal of trio, told by its name; unknown, it counts as a wait.
    """
    return getattr(trap, "__name__", None) == "CancelShieldedCheckpoint"
