"""What is known of a handler once it has joined a router: its parameters, its dependencies, its answer.

A `Plan` is made by `planning`, once for each route and method; `resolving` follows it for each request, and a caller
describes an API reads it. Nothing here changes after it was made.
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
    """One value that a request gives, as a handler or a dependency has declared it."""

    name: str
    """The name of the function's parameter."""
    source: Source
    alias: str
    """Its name in the request: in lower case for a header; "" for a whole source."""
    annotation: Any
    """Its type: `Annotated` without the marker, and with what else was there."""
    marker: SourceMarker
    """Its constraints, description, examples, deprecated; a bare path parameter has an empty one."""
    default: Any = NO_DEFAULT
    owner: Callable[..., Any]
    """The handler or the dependency that declares it."""
    slot: int
    """Where its value is kept while a request is resolved."""

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
    """A function, and the slots that its arguments come from."""

    function: Callable[..., Any]
    positional: tuple[int, ...] = ()
    named: tuple[tuple[str, int], ...] = ()


class DependencyKind(enum.Enum):
    """How a dependency is called, and whether it is left."""

    FUNCTION = "a function, or a class"
    COROUTINE = "an async function"
    GENERATOR = "a generator function"
    ASYNC_GENERATOR = "an async generator function"
    TASK_GROUP = "kui.asgi.task_group"

    @property
    def has_exit(self) -> bool:
        """True if something of it must be run when it is left."""
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
    """The function that is called: another one in a test that overrides it."""
    marker: Depends
    kind: DependencyKind
    call: Call
    slot: int
    needs: tuple[Dependency, ...]
    """The dependencies among its own parameters, in their order."""
    parameters: tuple[Parameter, ...]
    """Its own parameters that a request gives."""
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
    """How one handler is called: what of a request it needs, and in which order that is found out.

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
    """Those of the whole graph, the handler's own first."""
    dependencies: tuple[Dependency, ...]
    """All of the graph, each behind those that it needs; the ones for security come first."""
    security: tuple[Dependency, ...]
    """The dependencies that were declared by `Security`: all of them must agree."""
    returns: Any
    """The handler's return annotation, NO_DEFAULT if it has none."""
    slots: tuple[Any, ...] = field(repr=False)
    """The values before anything is resolved: the defaults."""
    is_socket: bool = False
    makes_generator: bool = False
    """True if the handler is a generator function: its dependencies last until its stream has ended."""

    def of(self, source: Source) -> tuple[Parameter, ...]:
        """Return the parameters of one source."""
        return tuple(one for one in self.parameters if one.source == source)

    @property
    def body(self) -> tuple[Parameter, ...]:
        """What of the body is declared."""
        return self.of("body")
