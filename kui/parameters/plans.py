"""The plan of a handler: its parameters, its dependencies and its return annotation.

`planning` makes a `Plan`, once for each route and method. `resolving` follows it for each request, and `kui.openapi`
describes it. A plan does not change after it was made.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from .markers import Depends, Source, SourceMarker

__all__ = ["NO_DEFAULT", "Call", "Dependency", "DependencyKind", "Parameter", "Plan"]

NO_DEFAULT: Final = inspect.Parameter.empty
"""The default of a parameter that has none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Parameter:
    """One value of a request, as a handler or a dependency has declared it."""

    name: str
    """The name of the function's parameter."""
    source: Source
    alias: str
    """Its name in the request: in lower case for a header; "" for a whole source."""
    annotation: Any
    """Its type: the `Annotated` without the marker, but with all else in it."""
    marker: SourceMarker
    """Its constraints, description, examples, deprecated; a bare path parameter has an empty one."""
    default: Any = NO_DEFAULT
    owner: Callable[..., Any]
    """The handler or the dependency that declares it."""
    slot: int
    """The index of its value in the slots of a request."""

    @property
    def exclusive(self) -> bool:
        """True if it is a model of the whole source."""
        return self.marker.exclusive

    @property
    def required(self) -> bool:
        """True if a request without it is refused."""
        return self.default is NO_DEFAULT


@dataclass(frozen=True, eq=False)
class Call:
    """A function, and the slots of its arguments."""

    function: Callable[..., Any]
    positional: tuple[int, ...] = ()
    named: tuple[tuple[str, int], ...] = ()


class DependencyKind(enum.Enum):
    """How a dependency is called, and whether it has an exit."""

    FUNCTION = "a function, or a class"
    COROUTINE = "an async function"
    GENERATOR = "a generator function"
    ASYNC_GENERATOR = "an async generator function"
    TASK_GROUP = "kui.asgi.task_group"

    @property
    def has_exit(self) -> bool:
        """True if code of it must run when it is left."""
        return self in _WITH_EXIT


_WITH_EXIT: Final = frozenset(
    (DependencyKind.GENERATOR, DependencyKind.ASYNC_GENERATOR, DependencyKind.TASK_GROUP)
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dependency:
    """One call of a function that gives a value to a handler, or to another dependency."""

    declared: Callable[..., Any]
    """The function that was given to `Depends`."""
    function: Callable[..., Any]
    """The function that is called. It is another one in a test that overrides the dependency."""
    marker: Depends
    kind: DependencyKind
    call: Call
    slot: int
    needs: tuple[Dependency, ...]
    """The dependencies among its own parameters, in their order."""
    parameters: tuple[Parameter, ...]
    """Its own parameters that come from the request."""
    returns: Any
    """Its return annotation, NO_DEFAULT if it has none."""
    until: Literal["return", "sent", "app"]

    @property
    def security(self) -> bool:
        """True if it was declared by `Security`."""
        return self.marker.security

    def reads_body(self) -> bool:
        """True if it, or a dependency of its own, declares a part of the body."""
        return any(one.source == "body" for one in self.parameters) or any(
            one.reads_body() for one in self.needs
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """How one handler is called: the parameters and dependencies that it needs, in order.

    Example::

        for parameter in plan.parameters:
            print(parameter.source, parameter.alias, parameter.annotation, parameter.required)
    """

    handler: Callable[..., Any]
    calls: tuple[Call, ...]
    """The handler's call; of a SocketView the calls of its methods."""
    path: tuple[str, ...]
    """The names of the path's parameters, declared or not."""
    parameters: tuple[Parameter, ...]
    """The parameters of the handler and of all its dependencies, the handler's own first."""
    dependencies: tuple[Dependency, ...]
    """All dependencies, each after those that it needs; those of `Security` come first."""
    security: tuple[Dependency, ...]
    """The dependencies that were declared by `Security`. A client must satisfy all of them."""
    returns: Any
    """The handler's return annotation, NO_DEFAULT if it has none."""
    slots: tuple[Any, ...] = field(repr=False)
    """The values before anything is resolved: the defaults."""
    is_socket: bool = False
    makes_generator: bool = False
    """True if the handler is a generator function: its dependencies last until its stream has ended."""
    unread: tuple[str, ...] = ()
    """The handler's parameters with a default that look as if they were of the query, and are not (see `unread`)."""

    def of(self, source: Source) -> tuple[Parameter, ...]:
        """Return the parameters of one source."""
        return tuple(one for one in self.parameters if one.source == source)

    @property
    def body(self) -> tuple[Parameter, ...]:
        """The parameters that come from the body."""
        return self.of("body")
