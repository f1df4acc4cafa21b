"""A handler without a path: the functions that declare its parameters, and the names that their annotations need."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from kui.argument_checks import own_signature
from kui.endpoints import Endpoint

__all__ = ["EMPTY", "Planned", "RoutePath", "Target", "declares", "registering_names", "underlying"]

EMPTY: Final[Mapping[Any, Any]] = MappingProxyType({})


class Planned(NamedTuple):
    """A function to plan for: the handler, or a method of a view, whose first `skip` arguments the caller gives."""

    function: Callable[..., Any]
    skip: int = 0


def declares(function: Callable[..., Any], *, skip: int = 0) -> bool:
    """True if a function has parameters after the first `skip` that may be declared."""
    try:
        signature = own_signature(function)
    except ValueError:
        return False
    return any(
        one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        for one in list(signature.parameters.values())[skip:]
    )


def registering_names(function: object) -> Mapping[str, Any]:
    """Return the local names of the frame that registers a function, and of the functions in which it is defined.

    The names of an enclosing function are found only while that function runs; afterwards its closure must do.
    """
    around = getattr(underlying(function), "__qualname__", "").split(".<locals>.")[:-1]
    enclosing = {".<locals>.".join(around[: end + 1]) for end in range(len(around))}
    names: dict[str, Any] = {}
    registering = False
    frame = sys._getframe(1).f_back  # noqa: SLF001  # a documented function of CPython
    while frame is not None and (enclosing or not registering):
        module = frame.f_globals.get("__name__", "")
        local = frame.f_locals is not frame.f_globals
        if not registering and module != "kui" and not module.startswith("kui."):
            registering = True
            names.update(frame.f_locals if local else {})
        elif frame.f_code.co_qualname in enclosing and local:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def underlying(function: Any) -> Any:
    """Return the function in whose module and closure the annotations of a callable are written."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, type):
        made_by = vars(function)
        function = made_by.get("__init__") or made_by.get("__new__") or function
    elif not inspect.isroutine(function):
        function = getattr(type(function), "__call__", function)  # noqa: B004  # its method
    return getattr(function, "__func__", function)


class RoutePath(Protocol):
    """The part of a route's path that is needed here."""

    @property
    def converters(self) -> Mapping[str, str]:
        """A mapping from the names of the path's parameters to the names of their converters."""
        ...


class Target(NamedTuple):
    """A handler, or a method of a view, without a path.

    - `planned`: the functions that declare its parameters; several methods if they share their values.
    - `invoke`: an async callable that calls it with the arguments for each of these functions.
    - `endpoint`: calls it without arguments.
    - `declared`: True if it may declare parameters.
    - `names`: the names that were defined where it was registered.
    """

    planned: tuple[Planned, ...]
    invoke: Callable[..., Awaitable[Any]]
    endpoint: Endpoint
    declared: bool = False
    names: Mapping[str, Any] = EMPTY
    is_socket: bool = False
