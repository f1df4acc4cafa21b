"""Enter dependencies and leave them in reverse order, in one task, as nested `async with` blocks would do.

`resolving` decides when each is entered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast

from kui.argument_checks import describe
from kui.concurrency import ClientDisconnect
from kui.concurrency.cleanup_scope import CleanupScope
from kui.concurrency.http.watch import Watch
from kui.concurrency.request_group import RequestGroup
from kui.concurrency.sync import InThreads
from kui.connections import HTTPConnection

from .calling import Slots
from .plans import Dependency, DependencyKind, Plan

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from kui.requests import HttpRequest
    from kui.websockets import WebSocket

__all__ = ["Resolution", "Stack", "enter", "leave_all"]


T = TypeVar("T")


class Entered(Protocol):
    """Something that was entered, and must be left exactly once."""

    async def leave(self, error: BaseException | None) -> bool:
        """Leave it; return True if it has swallowed `error`.

        :param error: the exception that has ended the work, if any.
        :raises BaseException: what it raises, which may be `error` itself.
        """
        ...


Stack: TypeAlias = list[tuple[str, Entered]]
"""What was entered, with a name for error messages; the last one is left first."""


class Resolution:
    """The values of one request's parameters and dependencies, and the dependencies that were entered.

    If a dependency has an exit, one task must call `open`, then `enter`, then `close`.

    - `slots`: the values; those of an outer resolution, or new ones.
    - `refusal`: an exception that was raised around the middlewares, and must be raised again within them.
    """

    __slots__ = ("_cleanup", "_entered", "connection", "plan", "refusal", "slots")

    def __init__(self, plan: Plan, connection: HTTPConnection, slots: Slots | None = None) -> None:
        self.plan = plan
        self.connection = connection
        self.slots: Slots = list(plan.slots if slots is None else slots)
        self.refusal: Exception | None = None
        self._cleanup: CleanupScope | None = None
        self._entered: Stack = []

    async def open(self) -> None:
        """Open the scope that will shield the exits."""
        name = f"the dependencies of {describe(self.plan.handler)}"
        self._cleanup = await CleanupScope.open(name)

    async def enter(self, one: Dependency, made: Any) -> Any:
        """Enter a dependency with an exit, and return its value.

        :param made: what the call of its function has returned.
        """
        if one.kind is not DependencyKind.TASK_GROUP:
            return await enter(one, made, self._entered, self._cleanup)
        assert self._cleanup is not None, "a graph with a task group has a scope"
        watch = watch_socket if self.plan.is_socket else watch_client
        sent = one.until == "sent" and not self.plan.is_socket
        group = RequestGroup(partial(watch, self.connection), sent)
        entered = _Group(group, self._cleanup)
        return await push(self._entered, "task_group", entered, group.enter, self._cleanup)

    async def close(self, error: BaseException | None) -> None:
        """Leave all that was entered, the last first, also if one of them raises.

        :param error: the exception that has ended the work, if any.
        :raises BaseException: `error`, or what an exit has raised instead of it.
        :raises RuntimeError: an exit has swallowed `error`.
        """
        assert self._cleanup is not None, "it was opened"
        raised = await self._cleanup.close(self._leave, error)
        if raised is not None:
            try:
                raise raised
            finally:
                del raised, error  # they hold this frame

    async def close_sent(self, error: BaseException | None) -> None:
        """Do what `close` does, after the response was sent. If the client has left, the exits see ClientDisconnect."""
        if error is None and cast("HttpRequest", self.connection).exchange.client_gone:
            error = ClientDisconnect("the client left before the answer was sent")
        try:
            await self.close(error)
        except Exception as raised:
            if error is None or leaf(raised) is not error:  # it was handled where it was raised
                raise

    def unwatch(self) -> None:
        """Stop watching the client for the task groups, because the code that sends the response watches it."""
        for _, entered in self._entered:
            if isinstance(entered, _Group):
                entered.group.unwatch()

    def last(self, leave: Callable[[BaseException | None], Awaitable[None]]) -> None:
        """Await `leave(error)` before anything that was entered is left."""
        assert self._cleanup is not None, "it was opened"
        self._cleanup.guard()
        self._entered.append(("the end of the connection", _First(leave)))

    async def _leave(self, error: BaseException | None) -> BaseException | None:
        return await leave_all(self._entered, error, self._cleanup)


async def enter(
    one: Dependency, generator: Any, entered: Stack, cleanup: CleanupScope | None = None
) -> Any:
    """Enter the generator that a dependency has returned: add it to the stack, and return its value."""
    name = describe(one.function)
    made: _Async | _InPlace
    if one.kind is DependencyKind.ASYNC_GENERATOR:
        made = _Async(generator, name)
    elif one.marker.thread:
        made = _Async(InThreads(generator), name)
    else:
        made = _InPlace(generator, name)
    return await push(entered, name, made, made.enter, cleanup)


async def push(
    entered: Stack,
    name: str,
    made: Entered,
    enter: Callable[[], Awaitable[T]],
    cleanup: CleanupScope | None,
) -> T:
    """Enter something within a guard, add it to the stack, and return its value. Raises what it raises."""
    if cleanup is not None:
        cleanup.guard()
    try:
        value = await enter()
    except BaseException as error:
        if cleanup is not None:
            cleanup.unguard(error)  # the guard itself was not cancelled
        raise
    entered.append((name, made))
    return value


async def leave_all(
    entered: Stack, error: BaseException | None, cleanup: CleanupScope | None = None
) -> BaseException | None:
    """Leave all, the last first, also if one of them raises; return the exception to raise, or None."""
    raised = error
    while entered:
        name, one = entered.pop()
        if cleanup is not None:
            cleanup.shield()
        before = raised
        try:
            if await one.leave(raised) and raised is not None:
                await _refuse_to_swallow(name, raised, cleanup)
        except BaseException as another:
            raised = another
        if cleanup is not None:
            raised = cleanup.unguard(raised) or before
    return raised


async def _refuse_to_swallow(
    name: str, raised: BaseException, cleanup: CleanupScope | None
) -> None:
    """Refuse an exception that a dependency has swallowed. A cancellation from outside is not refused: it goes on.

    :raises RuntimeError: the dependency has swallowed `raised`.
    """
    if cleanup is None or not await cleanup.cancelled_around(raised):
        raise RuntimeError(
            f"the dependency {name} has swallowed {raised!r}, so there is nothing to answer with: let "
            f"it through, or raise something else"
        ) from raised


def leaf(error: BaseException) -> BaseException:
    """Return the only exception in a group, also in nested groups; return any other exception unchanged."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class _Async:
    """A dependency that is an async generator, or a synchronous one that is advanced in threads."""

    __slots__ = ("_generator", "_name")

    def __init__(self, generator: AsyncGenerator[Any, None], name: str) -> None:
        self._generator = generator
        self._name = name

    async def enter(self) -> Any:
        try:
            return await anext(self._generator)
        except StopAsyncIteration:
            raise _no_yield(self._name) from None

    async def leave(self, error: BaseException | None) -> bool:
        try:
            if error is None:
                await anext(self._generator)
            else:
                await self._generator.athrow(error)
        except StopAsyncIteration:
            return True
        await self._generator.aclose()
        raise _second_yield(self._name)


class _InPlace:
    """A dependency that is a synchronous generator, advanced in the event loop."""

    __slots__ = ("_generator", "_name")

    def __init__(self, generator: Generator[Any, None, None], name: str) -> None:
        self._generator = generator
        self._name = name

    async def enter(self) -> Any:
        try:
            return next(self._generator)
        except StopIteration:
            raise _no_yield(self._name) from None

    async def leave(self, error: BaseException | None) -> bool:
        try:
            if error is None:
                next(self._generator)
            else:
                self._generator.throw(error)
        except StopIteration:
            return True
        self._generator.close()
        raise _second_yield(self._name)


def _no_yield(name: str) -> RuntimeError:
    return RuntimeError(f"the dependency {name} has returned before its yield: it must yield once")


def _second_yield(name: str) -> RuntimeError:
    return RuntimeError(f"the dependency {name} has yielded a second time: it must yield once")


class _Group:
    """The dependency `task_group`."""

    __slots__ = ("_cleanup", "group")

    def __init__(self, group: RequestGroup, cleanup: CleanupScope) -> None:
        self.group = group
        self._cleanup = cleanup

    async def leave(self, error: BaseException | None) -> bool:
        raised = await self.group.leave(error, self._cleanup)
        if raised is not None:
            raise raised
        return error is not None


class _First:
    """A function that is awaited before anything else is left."""

    __slots__ = ("_leave",)

    def __init__(self, leave: Callable[[BaseException | None], Awaitable[None]]) -> None:
        self._leave = leave

    async def leave(self, error: BaseException | None) -> bool:
        await self._leave(error)
        if error is not None:
            raise error
        return False


def watch_client(
    connection: HTTPConnection, tasks: TaskGroup, left: Callable[[], object]
) -> Callable[[], object]:
    """Call `left()` when the client of a request leaves; return a function that stops watching."""
    exchange = cast("HttpRequest", connection).exchange
    watch = Watch(exchange, tasks)
    exchange.listen(left)
    watch.begin()

    def end() -> None:
        exchange.unlisten(left)
        watch.end()

    return end


def watch_socket(
    connection: HTTPConnection, tasks: TaskGroup, left: Callable[[], object]
) -> Callable[[], object]:
    """Do what `watch_client` does, for a WebSocket."""
    socket = cast("WebSocket", connection).socket
    socket.watch(left)
    return lambda: socket.unwatch(left)
