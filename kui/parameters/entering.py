"""Dependencies, entered and left: in one task, the last that was entered first, as nested `async with` would do it.

When each of them is entered is decided in `resolving`.
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
    """Something that has been entered, and must be left once."""

    async def leave(self, error: BaseException | None) -> bool:
        """Leave it; `error` is what has ended the work. True if it has swallowed that.

        Raises what it raises, which may be `error`.
        """
        ...


Stack: TypeAlias = list[tuple[str, Entered]]
"""What has been entered, with the names for errors; the last is left first."""


class Resolution:
    """The values of one request's parameters and dependencies, and what of them has been entered.

    `open` comes before the first `enter`, `close` after the last, in the same task; where nothing that
    is entered has an exit, neither is needed.

    - `slots`: the values; those of an outer resolution, or new ones.
    - `refusal`: what was decided around the middlewares, to be raised within them.
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
        """Open the scope that shields the exits."""
        name = f"the dependencies of {describe(self.plan.handler)}"
        self._cleanup = await CleanupScope.open(name)

    async def enter(self, one: Dependency, made: Any) -> Any:
        """Enter a dependency with an exit, which has returned `made`; return its value."""
        if one.kind is not DependencyKind.TASK_GROUP:
            return await enter(one, made, self._entered, self._cleanup)
        assert self._cleanup is not None, "a graph with a task group has a scope"
        watch = watch_socket if self.plan.is_socket else watch_client
        sent = one.until == "sent" and not self.plan.is_socket
        group = RequestGroup(partial(watch, self.connection), sent)
        entered = _Group(group, self._cleanup)
        return await push(self._entered, "task_group", entered, group.enter, self._cleanup)

    async def close(self, error: BaseException | None) -> None:
        """Leave all that was entered, the last first; `error` is what has ended the work.

        Each is left whatever became of the others. Raises `error`, what an exit has raised instead of
        it, or RuntimeError for an exit that has swallowed it.
        """
        assert self._cleanup is not None, "it was opened"
        raised = await self._cleanup.close(self._leave, error)
        if raised is not None:
            try:
                raise raised
            finally:
                del raised, error  # they hold this frame

    async def close_sent(self, error: BaseException | None) -> None:
        """Do as `close` does, after the answer was sent: a client that has left ends the work as well."""
        if error is None and cast("HttpRequest", self.connection).exchange.client_gone:
            error = ClientDisconnect("the client left before the answer was sent")
        try:
            await self.close(error)
        except Exception as raised:
            if (
                error is None or leaf(raised) is not error
            ):  # which was dealt with, where it was raised
                raise

    def unwatch(self) -> None:
        """Let the task groups watch the client no longer: what sends the answer does."""
        for _, entered in self._entered:
            if isinstance(entered, _Group):
                entered.group.unwatch()

    def last(self, leave: Callable[[BaseException | None], Awaitable[None]]) -> None:
        """Have `leave(error)` awaited before anything else is left."""
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
    """Enter something, with a guard around it, and add it to the stack; what it raises is raised."""
    if cleanup is not None:
        cleanup.guard()
    try:
        value = await enter()
    except BaseException as error:
        if cleanup is not None:
            cleanup.unguard(error)  # which was not cancelled itself
        raise
    entered.append((name, made))
    return value


async def leave_all(
    entered: Stack, error: BaseException | None, cleanup: CleanupScope | None = None
) -> BaseException | None:
    """Leave all, the last first, each whatever became of the others; return what must be raised."""
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
    """Raise RuntimeError for what a dependency has swallowed; a cancellation from around it just goes on."""
    if cleanup is None or not await cleanup.cancelled_around(raised):
        raise RuntimeError(
            f"the dependency {name} has swallowed {raised!r}, so there is nothing to answer with: let "
            f"it through, or raise something else"
        ) from raised


def leaf(error: BaseException) -> BaseException:
    """Return the one exception in a group of one, however deep; another exception as it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class _Async:
    """An async generator; or another one, advanced in threads."""

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
    """A generator that runs in the event loop."""

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
    """A task group of Kui's."""

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
    """What is done before all else is left."""

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
    """Have `left()` called when the client of a request leaves; the result takes that back."""
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
    """Do as `watch_client` does, for a WebSocket."""
    socket = cast("WebSocket", connection).socket
    socket.watch(left)
    return lambda: socket.unwatch(left)
