"""Call handlers and dependencies with values that are stored in slots.

How each is called is decided once, when its route is added to a router. `entering` enters a dependency with an exit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from functools import partial
from operator import itemgetter
from types import CoroutineType
from typing import Any, NamedTuple, TypeAlias

from kui.argument_checks import describe
from kui.concurrency import call

from .planning import identity
from .plans import Call, Dependency, DependencyKind

__all__ = ["Bound", "Enter", "Slots", "Step", "bind", "call_all", "shared_step", "step_of"]

Slots: TypeAlias = list[Any]
"""The values of one request's parameters and dependencies."""


class Bound(NamedTuple):
    """A function, and another that takes its arguments out of the slots: `function(*arguments(slots))`."""

    function: Callable[..., Any]
    arguments: Callable[[Slots], Iterable[Any]]


def bind(call: Call) -> Bound:
    """Return how to call a function."""
    function = _by_name(call) if call.named else call.function
    places = [*call.positional, *(slot for _, slot in call.named)]
    if len(places) > 1:
        return Bound(function, itemgetter(*places))
    # itemgetter returns no tuple for one place, and refuses none; a slice gives a list for both.
    first = places[0] if places else 0
    return Bound(function, itemgetter(slice(first, first + len(places))))


def _by_name(call: Call) -> Callable[..., Any]:
    function, count = call.function, len(call.positional)
    names = [name for name, _ in call.named]

    def by_name(*values: Any) -> Any:
        return function(*values[:count], **dict(zip(names, values[count:], strict=True)))

    return by_name


class Step(NamedTuple):
    """How to call one dependency. If it has an exit, `exits` is the dependency, which must then be entered."""

    function: Callable[..., Any]
    arguments: Callable[[Slots], Iterable[Any]]
    slot: int
    awaited: bool
    exits: Dependency | None = None


def step_of(one: Dependency) -> Step:
    """Return how to call a dependency."""
    function, arguments = bind(one.call)
    if one.kind is DependencyKind.TASK_GROUP:
        function = _nothing  # the group is made when it is entered
    if one.kind is DependencyKind.FUNCTION and one.marker.thread:
        return Step(partial(call, function), arguments, one.slot, True)
    exits = one if one.kind.has_exit else None
    return Step(function, arguments, one.slot, one.kind is DependencyKind.COROUTINE, exits)


def shared_step(one: Dependency, current: ContextVar[Any]) -> Step:
    """Return how to look up the value of a dependency with `scope="app"`, by the current connection."""
    key = identity(one.function)

    def shared() -> Any:
        try:
            return current.get().app.shared[key]
        except KeyError:
            raise RuntimeError(
                f"the dependency {describe(one.declared)} is entered by the app's lifespan, and there "
                f"is none, or its route was added after the start"
            ) from None

    return Step(shared, itemgetter(slice(0)), one.slot, False)


def _nothing() -> None:
    return None


Enter: TypeAlias = Callable[[Dependency, Any], Awaitable[Any]]
"""Enters what the call of a dependency with an exit has returned, and returns its value."""


async def call_all(steps: Iterable[Step], slots: Slots, enter: Enter | None = None) -> None:
    """Call dependencies in order, and store their values in the slots.

    :param steps: each after those that it needs.
    :param enter: required if one of them has an exit.
    """
    for function, arguments, slot, awaited, exits in steps:
        value = function(*arguments(slots))
        if awaited or type(value) is CoroutineType:
            value = await value
        elif exits is not None:
            assert enter is not None, "it has an exit"
            value = await enter(exits, value)
        slots[slot] = value
