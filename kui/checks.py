"""What was given to a constructor by mistake: said in one sentence, and where it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

__all__ = ["expect", "list_of_functions", "table_of_types"]

T = TypeVar("T")


def expect(parameter: str, value: T, kind: type, advice: str) -> T:
    """`value`, which may be None. Raises TypeError, with the advice, if it is of no such kind."""
    if value is None or isinstance(value, kind):
        return value
    raise TypeError(f"{parameter}= takes {advice}, not {value!r}")


def list_of_functions(parameter: str, functions: Iterable[Any]) -> tuple[Any, ...]:
    """The functions of a list. Raises TypeError for one on its own, and for what is none."""
    if callable(functions):
        raise TypeError(f"{parameter}= takes a list: write [...] around {functions!r}")
    found = tuple(functions)
    for function in found:
        if not callable(function):
            raise TypeError(f"{parameter}= takes functions, not {function!r}")
    return found


def table_of_types(
    parameter: str, table: Mapping[type, Callable[..., Any]] | None
) -> dict[type, Callable[..., Any]]:
    """A table from types to functions. Raises TypeError for anything else."""
    given = expect(parameter, table, Mapping, "a mapping from types to functions")
    found = dict(given or {})
    for kind, function in found.items():
        if not (isinstance(kind, type) and callable(function)):
            raise TypeError(f"{parameter}= maps a type to a function, not {kind!r} to {function!r}")
    return found
