"""Make the plan of a handler: where each parameter comes from, which dependencies there are and in which order.

A declaration that cannot work is refused here, when its route is added to a router, with a sentence that says what to
write instead. `plans` defines a plan, and `resolving` follows it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from kui.argument_checks import describe
from kui.habits import connection_hint

from .groups import task_group
from .markers import Body, Depends, Path, Security, SourceMarker
from .plans import NO_DEFAULT, Call, Dependency, DependencyKind, Parameter, Plan
from .shapes import is_file, is_no_model, is_plain, members, model_kind, not_of_text
from .signatures import Declared, Signature, place, signature_of
from .targets import EMPTY, Planned

__all__ = ["identity", "plan"]

_bare: Final = Path()
_MANAGERS: Final = (contextmanager(iter).__code__, asynccontextmanager(aiter).__code__)
"""By their code, functions with one of these decorators are recognised."""


def identity(function: Callable[..., Any]) -> Any:
    """Return a key for a dependency: the function itself, or for a method its object and its function."""
    owner = getattr(function, "__self__", None)
    if inspect.ismethod(function):
        return id(owner), id(function.__func__)
    return id(function)


def plan(
    handlers: Planned | Sequence[Planned],
    path: Iterable[str],
    *,
    names: Mapping[str, Any] = EMPTY,
    is_socket: bool = False,
    overrides: Mapping[Any, Callable[..., Any]] = EMPTY,
) -> Plan:
    """Return the plan of a handler.

    :param handlers: the handler, or several methods that share their values.
    :param path: the names of the path's parameters.
    :param names: the names that are defined where the handler was registered, for annotations that are text.
    :param is_socket: True for a WebSocket.
    :param overrides: a mapping from the `identity` of a dependency to the function that replaces it.
    :raises Unresolved: an annotation uses a name that is not defined, or not yet.
    :raises TypeError: a declaration cannot work.
    """
    if isinstance(handlers, Planned):
        handlers = [handlers]
    graph = _Graph(tuple(path), names, is_socket, overrides)
    first = handlers[0].function
    graph.makes_generator = not is_socket and _makes_generator(first)
    calls = []
    returns: Any = NO_DEFAULT
    for one in handlers:
        signature = signature_of(one.function, names, skip=one.skip)
        returns = signature.returns if one is handlers[0] else returns
        call, _, _ = graph.call(one.function, signature, ())
        calls.append(call)
    functions = [one.function for one in handlers]
    parameters = sorted(graph.parameters, key=lambda one: one.owner not in functions)
    made = Plan(
        handler=first,
        calls=tuple(calls),
        path=graph.path,
        parameters=tuple(parameters),
        dependencies=tuple(graph.ordered()),
        security=tuple(one for one in graph.nodes if one.security),
        returns=returns,
        slots=tuple(graph.slots),
        is_socket=is_socket,
        unread=tuple(graph.unread),
        makes_generator=graph.makes_generator,
    )
    _check_lives(made)
    return made


class _Graph:
    """Collects the parameters and dependencies of one handler."""

    def __init__(
        self,
        path: tuple[str, ...],
        names: Mapping[str, Any],
        is_socket: bool,
        overrides: Mapping[Any, Callable[..., Any]],
    ) -> None:
        self.path = path
        self.names = names
        self.is_socket = is_socket
        self.overrides = overrides
        self.makes_generator = False
        self.slots: list[Any] = []
        self.unread: list[str] = []
        self.parameters: list[Parameter] = []
        self.nodes: list[Dependency] = []  # each after those that it needs
        self.known: dict[Any, Dependency] = {}

    def call(
        self, function: Callable[..., Any], signature: Signature, trail: tuple[Depends, ...]
    ) -> tuple[Call, list[Parameter], list[Dependency]]:
        """Return how to call a function, and its parameters and dependencies."""
        positional: list[int] = []
        named: list[tuple[str, int]] = []
        parameters: list[Parameter] = []
        needs: list[Dependency] = []
        in_a_row = True  # False once a parameter was left out: those after it are given by name
        for declared in signature.parameters:
            if isinstance(declared.marker, Depends):
                if declared.default is not NO_DEFAULT:
                    raise TypeError(
                        f"{place(function)}: {declared.name!r} is given by a dependency: leave its "
                        f"default"
                    )
                needs.append(self.dependency(declared.marker, trail))
                slot = needs[-1].slot
            else:
                parameter = self.parameter(function, declared)
                if parameter is not None:
                    parameters.append(parameter)
                    slot = parameter.slot
                elif declared.positional_only:
                    slot = self.slot(declared.default)
                else:
                    in_a_row = False
                    if not trail and declared.marker is None and is_plain(declared.annotation):
                        self.unread.append(declared.name)
                    continue  # the function uses its own default
            if declared.positional_only or (in_a_row and not declared.keyword_only):
                positional.append(slot)
            else:
                named.append((declared.name, slot))
        self.parameters += parameters
        return Call(function, tuple(positional), tuple(named)), parameters, needs

    def slot(self, default: Any) -> int:
        self.slots.append(default)
        return len(self.slots) - 1

    # ---- parameters

    def parameter(self, function: Callable[..., Any], declared: Declared) -> Parameter | None:
        """Return a parameter that comes from the request; None if the function uses its own default."""
        name, marker, default = declared.name, declared.marker, declared.default
        assert not isinstance(marker, Depends)
        if marker is None or isinstance(marker, Path):
            wanted = name if marker is None or marker.alias is None else marker.alias
            whole = marker is not None and marker.exclusive
            if not whole and wanted not in self.path:
                hint = None if marker else connection_hint(name, declared.annotation)
                if default is not NO_DEFAULT and not (
                    hint and declared.annotation is not NO_DEFAULT
                ):
                    return None
                raise TypeError(_not_in_path(function, name, wanted, marker, self.path, hint))
        if isinstance(marker, Body) and self.is_socket:
            raise TypeError(
                f"{place(function)}: a WebSocket has no body, so {name!r} cannot be of it: receive it"
            )
        if marker is not None:
            self._check_type(function, declared, marker)
        return Parameter(
            name=name,
            source="path" if marker is None else marker.source,
            alias=_alias(name, marker),
            annotation=Any if declared.annotation is NO_DEFAULT else declared.annotation,
            marker=_bare if marker is None else marker,
            default=default,
            owner=function,
            slot=self.slot(default),
        )

    def _check_type(
        self, function: Callable[..., Any], declared: Declared, marker: SourceMarker
    ) -> None:
        annotation, kind = declared.annotation, type(marker).__name__
        name = f"{place(function)}: {declared.name!r}"
        if marker.exclusive:
            if annotation is NO_DEFAULT:
                raise TypeError(f"{name} is a whole source: say which model it is")
            if is_file(annotation):
                raise TypeError(f"{name} is a file, which is a field of a form: write Body()")
            if not isinstance(marker, Body) and is_no_model(annotation):
                raise TypeError(
                    f"{name} is a whole source, and its type is no model: leave exclusive=True"
                )
            return
        if isinstance(marker, Path):
            return  # a converter may give a value of any type
        if isinstance(marker, Body):
            found = "a model" if "struct" in map(model_kind, members(annotation)) else ""
        else:
            found = not_of_text(annotation)
        if found == "a file":
            raise TypeError(f"{name} is a file, which only a form has: write Body()")
        if found:
            raise TypeError(
                f"{name} is {found}: write {kind}(exclusive=True) if it is the whole of its source, or declare "
                f"its fields one by one"
            )

    # ---- dependencies

    def dependency(self, marker: Depends, trail: tuple[Depends, ...]) -> Dependency:
        key = identity(marker.function)
        if any(identity(one.function) == key for one in trail):
            names = [describe(one.function) for one in (*trail, marker)]
            start = names.index(names[-1])
            raise TypeError(
                f"these dependencies need each other: {' -> '.join(names[start:])}: take one away"
            )
        known = self.known.get(key) if marker.cache else None
        if known is not None:
            return _same(known, marker)
        function = self.overrides.get(key, marker.function)
        signature = signature_of(function, self.names, needs_return=False)
        call, parameters, needs = self.call(function, signature, (*trail, marker))
        kind = _kind(function, marker)
        made = Dependency(
            declared=marker.function,
            function=function,
            marker=marker,
            kind=kind,
            call=call,
            slot=self.slot(None),
            needs=tuple(needs),
            parameters=tuple(parameters),
            returns=signature.returns,
            until="app"
            if marker.scope == "app"
            else "sent"
            if self.makes_generator or marker.until == "sent"
            else "return",
        )
        self.nodes.append(made)
        if marker.cache:
            self.known[key] = made
        return made

    def ordered(self) -> Iterable[Dependency]:
        """Return all dependencies; those of `Security`, and what they need, come first."""
        first = closure(one for one in self.nodes if one.security)
        yield from (one for one in self.nodes if one in first)
        yield from (one for one in self.nodes if one not in first)


def closure(dependencies: Iterable[Dependency]) -> set[Dependency]:
    """Return these dependencies, and all dependencies that they need."""
    found: set[Dependency] = set()
    left = list(dependencies)
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += one.needs
    return found


def _not_in_path(
    function: Callable[..., Any],
    name: str,
    wanted: str,
    marker: SourceMarker | None,
    path: tuple[str, ...],
    hint: str | None,
) -> str:
    there = f"whose parameters are {', '.join(path)}" if path else "which has no parameters"
    advice = (
        f"write {{{wanted}}} in the path"
        if marker is not None
        else hint
        or f"mark where it comes from, as in {name}: Annotated[..., Query()], or Header(), "
        f"Cookie(), Body() or Depends(...)"
    )
    return f"{place(function)} needs {name!r}, and it is not in the path, {there}: {advice}"


def _alias(name: str, marker: SourceMarker | None) -> str:
    if marker is None:
        return name
    if marker.exclusive:
        return ""
    if marker.source == "header":
        return (marker.alias or name.replace("_", "-")).lower()
    return marker.alias or name


def _same(known: Dependency, marker: Depends) -> Dependency:
    """Return a dependency that is used again.

    :raises TypeError: its options differ from those of its first use.
    """
    first = known.marker
    if (first.until, first.scope, first.thread) != (marker.until, marker.scope, marker.thread):
        raise TypeError(
            f"{place(known.declared)} is used twice in one graph, with different options: it is called "
            f"once, so give both the same until=, scope= and thread=, or cache=False"
        )
    if isinstance(marker, Security):
        object.__setattr__(known, "marker", marker)  # it was found first as a plain dependency
    return known


def _makes_generator(function: Any) -> bool:
    call = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    return any(
        inspect.isasyncgenfunction(one) or inspect.isgeneratorfunction(one)
        for one in (function, call)
    )


def _kind(function: Any, marker: Depends) -> DependencyKind:
    if function is task_group:
        return DependencyKind.TASK_GROUP
    if getattr(function, "__code__", None) in _MANAGERS:
        raise TypeError(
            f"{place(inspect.unwrap(function))} makes a context manager, which nothing enters: leave its "
            "decorator away, because a dependency that yields is one; or depend on a def that returns it"
        )
    call: Any = function
    if not (inspect.isroutine(function) or isinstance(function, type)):
        call = getattr(function, "__call__", function)  # noqa: B004  # whether it is async, not whether it is there
    for one in (function, call):
        if inspect.isasyncgenfunction(one):
            kind = DependencyKind.ASYNC_GENERATOR
        elif inspect.isgeneratorfunction(one):
            kind = DependencyKind.GENERATOR
        elif inspect.iscoroutinefunction(one):
            kind = DependencyKind.COROUTINE
        else:
            continue
        if marker.thread and kind is not DependencyKind.GENERATOR:
            raise TypeError(f"{place(function)} is async: leave thread=True, which is for a def")
        return kind
    return DependencyKind.FUNCTION


# ---- how long dependencies live

_LIVES: Final = {"return": 0, "sent": 1, "app": 2}
_ENDS: Final = ("when the handler returns", "when the answer is sent", "when the app ends")


def _check_lives(plan: Plan) -> None:
    """Check that each dependency lasts as long as those that need it, and needs nothing that does not exist yet.

    :raises TypeError: one does not.
    """
    for one in plan.dependencies:
        name = place(one.declared)
        if one.until == "app":
            if one.kind is DependencyKind.TASK_GROUP:
                raise TypeError(
                    f'{place(plan.handler)}: task_group with scope="app" is app.task_group: use that'
                )
            if one.parameters:
                raise TypeError(
                    f"{name} is entered before there is a request, so its parameter "
                    f"{one.parameters[0].name!r} cannot come from one"
                )
        for need in closure([one]) if one.until == "app" or one.kind.has_exit else ():
            if _LIVES[need.until] < _LIVES[one.until] and (
                need.kind.has_exit or one.until == "app"
            ):
                raise TypeError(
                    f"{name} is left {_ENDS[_LIVES[one.until]]}, but needs "
                    f"{describe(need.declared)}, which is left {_ENDS[_LIVES[need.until]]}: let "
                    f"that one last as long"
                )
    guarding = closure(plan.security)
    first = outermost(plan)
    for one in plan.dependencies:
        if one in guarding and any(each.source == "body" for each in one.parameters):
            raise TypeError(
                f"{place(one.declared)} decides who may, before the body is read: it cannot declare "
                f"a part of the body"
            )
        if one in first and one.kind.has_exit and one.until == "return":
            raise TypeError(
                f"{place(one.declared)} is entered for security before the dependencies that last "
                f'until the answer is sent: declare it with until="sent" too'
            )
        if one in first and one.reads_body():
            raise TypeError(
                f"{place(one.declared)} lasts until the answer is sent, so it is entered before the "
                f"body is read: declare that in the handler"
            )


def outermost(plan: Plan) -> set[Dependency]:
    """Return the dependencies that are resolved around the middlewares.

    These are the ones with `until="sent"` and those that they need; if there are any, also those of `Security`, because
    security comes first.
    """
    if plan.is_socket:
        return set()
    lasting = closure(one for one in plan.dependencies if one.until == "sent" and one.kind.has_exit)
    return lasting | closure(plan.security) if lasting else lasting
