"""Check the arguments of constructors, so that a mistake is reported where it was made, in one sentence."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

__all__ = [
    "describe",
    "expect",
    "function_of",
    "list_of_functions",
    "own_signature",
    "table_of_types",
    "takes",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def expect(parameter: str, value: T, kind: type, advice: str) -> T:
    """Return `value`.

    :param advice: what the parameter takes, for the message.
    :raises TypeError: `value` is neither of type `kind` nor None.
    """
    if value is None or isinstance(value, kind):
        return value
    raise TypeError(f"{parameter}= takes {advice}, not {value!r}")


def describe(function: object) -> str:
    """Return the name of a function or a class for error messages: its module and its qualified name."""
    name = getattr(function, "__qualname__", None)
    if not isinstance(name, str):
        return repr(function)
    module = getattr(function, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) else name


def own_signature(function: Callable[..., object], *, as_text: bool = False) -> inspect.Signature:
    """Return the signature of a function, and not that of a function that it wraps, which is called by it.

    From Python 3.14 on, annotations are evaluated when they are read (PEP 649). A name that is not defined (yet) is a
    `ForwardRef` in them.

    :param as_text: True to have annotations as text, if they were not evaluated already.
    :raises ValueError: the function is a built-in one without a signature.
    """
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        wanted = Format.STRING if as_text else Format.FORWARDREF
        return inspect.signature(function, follow_wrapped=False, annotation_format=wanted)
    return inspect.signature(function, follow_wrapped=False)


def takes(function: Callable[..., object], count: int) -> bool:
    """True if a function can be called with `count` arguments, or if its signature is unknown."""
    try:
        own_signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # some built-in callables have no signature
        return True
    return True


def function_of(argument: str, what: str, function: F) -> F:
    """Return `function`.

    :param what: what the function is, for the message.
    :raises TypeError: it cannot be called with one argument.
    """
    if not callable(function):
        raise TypeError(f"{what} is a function of {argument}, not {function!r}")
    if not takes(function, 1):
        raise TypeError(f"{what} is called with {argument} and nothing else: {describe(function)}")
    return function


def list_of_functions(parameter: str, functions: Iterable[Any]) -> tuple[Any, ...]:
    """Return the functions of a list as a tuple.

    :raises TypeError: a single function was given without a list around it.
    """
    if callable(functions):
        raise TypeError(f"{parameter} are a list: write [...] around {describe(functions)}")
    return tuple(functions)


def table_of_types(
    parameter: str, table: Mapping[type, Callable[..., Any]] | None
) -> dict[type, Callable[..., Any]]:
    """Return a mapping from types to functions as a new dictionary.

    :raises TypeError: a key is no type, or a value is no function.
    """
    given = expect(parameter, table, Mapping, "a mapping from types to functions")
    found = dict(given or {})
    for kind, function in found.items():
        if not isinstance(kind, type):
            raise TypeError(f"{parameter}= maps types to functions, not {kind!r}")
        function_of("a value", f"{parameter}= maps a type to what", function)
    return found
