"""What was given to a constructor by mistake: said in one sentence, and where it was given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

__all__ = ["describe", "expect", "function_of", "list_of_functions", "table_of_types", "takes"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def expect(parameter: str, value: T, kind: type, advice: str) -> T:
    """`value`, which may be None. Raises TypeError, with the advice, if it is of no such kind."""
    if value is None or isinstance(value, kind):
        return value
    raise TypeError(f"{parameter}= takes {advice}, not {value!r}")


def describe(function: object) -> str:
    """Return the name by which an error shows a function or a class: its module and its own name."""
    name = getattr(function, "__qualname__", None)
    if not isinstance(name, str):
        return repr(function)
    module = getattr(function, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) else name


def takes(function: Callable[..., object], count: int) -> bool:
    """True if a function can be called with so many arguments, or if that cannot be told."""
    try:
        # What a decorator replaced does not matter: its own function is what is called.
        inspect.signature(function, follow_wrapped=False).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # some built-in callables have no signature
        return True
    return True


def function_of(argument: str, what: str, function: F) -> F:
    """`function`, if it can be called with one argument. Raises TypeError, which says what it is."""
    if not callable(function):
        raise TypeError(f"{what} is a function of {argument}, not {function!r}")
    if not takes(function, 1):
        raise TypeError(f"{what} is called with {argument} and nothing else: {describe(function)}")
    return function


def list_of_functions(parameter: str, functions: Iterable[Any]) -> tuple[Any, ...]:
    """Return the functions of a list. Raises TypeError for one on its own, which is an easy mistake."""
    if callable(functions):
        raise TypeError(f"{parameter} are a list: write [...] around {describe(functions)}")
    return tuple(functions)


def table_of_types(
    parameter: str, table: Mapping[type, Callable[..., Any]] | None
) -> dict[type, Callable[..., Any]]:
    """Return a table from types to functions. Raises TypeError for anything else."""
    given = expect(parameter, table, Mapping, "a mapping from types to functions")
    found = dict(given or {})
    for kind, function in found.items():
        if not isinstance(kind, type):
            raise TypeError(f"{parameter}= maps types to functions, not {kind!r}")
        function_of("a value", f"{parameter}= maps a type to what", function)
    return found
