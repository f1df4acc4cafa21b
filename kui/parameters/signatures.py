"""Read what a function declares: its parameters with their markers, and its return annotation.

Annotations that are text (`from __future__ import annotations`) are resolved with the names of the function's module,
of its closure, and of the frame that registers it.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any, get_args, get_origin

from kui.argument_checks import describe, own_signature

from .markers import Depends, SourceMarker
from .plans import NO_DEFAULT
from .shapes import bare
from .targets import underlying

__all__ = ["Declared", "Signature", "Unresolved", "place", "signature_of"]


class Unresolved(TypeError):
    """Raised if an annotation uses a name that is not defined, or not yet."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A parameter of a function, with its marker and its type apart."""

    name: str
    annotation: Any
    marker: SourceMarker | Depends | None
    default: Any
    positional_only: bool
    keyword_only: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a function that can be declared, and its return annotation."""

    parameters: tuple[Declared, ...]
    returns: Any


def place(function: object) -> str:
    """Return the name of a function with its file and line, if known, as the beginning of an error message."""
    code = getattr(underlying(function), "__code__", None)
    name = describe(function)
    return name if code is None else f"{name} ({code.co_filename}, line {code.co_firstlineno})"


def signature_of(
    function: Callable[..., Any],
    names: Mapping[str, Any],
    *,
    skip: int = 0,
    needs_return: bool = True,
) -> Signature:
    """Return what a function declares. `*args` and `**kwargs` are ignored.

    :param names: names that are defined besides the globals of its module and its closure.
    :param skip: how many of the first parameters are not declared.
    :param needs_return: False to ignore a return annotation that uses an undefined name.
    :raises Unresolved: an annotation uses a name that is not defined.
    :raises TypeError: a marker is in a wrong place.
    """
    try:
        signature = own_signature(function)
    except ValueError:  # some built-in callables have no signature
        return Signature((), NO_DEFAULT)
    parameters = [
        one
        for one in list(signature.parameters.values())[skip:]
        if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    written = {one.name: one.annotation for one in parameters if one.annotation is not one.empty}
    hints = _resolved(function, written, names)
    returns: Any = NO_DEFAULT
    if signature.return_annotation is not signature.empty:
        try:
            written = {"return": signature.return_annotation}
            returns = _resolved(function, written, names)["return"]
        except Unresolved:
            if needs_return:
                raise
    declared = [_declared(function, one, hints.get(one.name, NO_DEFAULT)) for one in parameters]
    return Signature(tuple(declared), returns)


def _resolved(function: Any, written: dict[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    if not written:
        return {}
    code = underlying(function)
    home = function if isinstance(function, type) else code
    module = sys.modules.get(getattr(home, "__module__", None) or "")
    globals_ = getattr(code, "__globals__", None) or getattr(module, "__dict__", {})
    if isinstance(function, type) and module is not None:
        globals_ = module.__dict__  # for a dataclass, whose __init__ has other globals
    closure = getattr(code, "__closure__", None) or ()
    cells = zip(getattr(getattr(code, "__code__", None), "co_freevars", ()), closure, strict=False)
    locals_ = {**names, **{name: cell.cell_contents for name, cell in cells if _is_set(cell)}}
    try:
        return typing.get_type_hints(
            SimpleNamespace(__annotations__=written), globals_, locals_, include_extras=True
        )
    except NameError as error:
        raise Unresolved(
            f"{place(function)} has an annotation that names {error.name!r}, which is not defined "
            f"there: import it at the top of the module, and not only for the type checker"
        ) from None
    except (SyntaxError, TypeError, AttributeError) as error:
        raise TypeError(f"{place(function)} has an annotation that is no type: {error}") from error


def _is_set(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - it raises if the cell is empty
    except ValueError:
        return False
    return True


_MARKERS = (SourceMarker, Depends)


def _declared(function: Any, parameter: inspect.Parameter, annotation: Any) -> Declared:
    name = parameter.name
    if isinstance(parameter.default, _MARKERS):
        kind = type(parameter.default).__name__
        raise TypeError(
            f"{place(function)}: the marker of {name!r} is no default: write "
            f"{name}: Annotated[..., {kind}(...)]"
        )
    while type(annotation).__name__ == "TypeAliasType":
        annotation = annotation.__value__
    marker: SourceMarker | Depends | None = None
    if get_origin(annotation) is Annotated:
        kind, *rest = get_args(annotation)
        others = [one for one in rest if not isinstance(one, _MARKERS)]
        markers = [one for one in rest if isinstance(one, _MARKERS)]
        for one in others:
            if isinstance(one, type) and issubclass(one, _MARKERS):
                call = "(function)" if issubclass(one, Depends) else "()"
                raise TypeError(
                    f"{place(function)}: the marker of {name!r} is a class: write {one.__name__}{call}"
                )
        if len(markers) > 1:
            raise TypeError(
                f"{place(function)}: {name!r} has several markers, {markers[0]!r} and "
                f"{markers[1]!r}: leave one"
            )
        marker = markers[0] if markers else None
        annotation = Annotated[(kind, *others)] if others else kind
    for one in get_args(bare(annotation)):
        if get_origin(one) is Annotated and any(
            isinstance(each, _MARKERS) for each in get_args(one)
        ):
            raise TypeError(
                f"{place(function)}: the marker of {name!r} is inside of its type: write "
                f"Annotated[...] around the whole of it"
            )
    return Declared(
        name,
        annotation,
        marker,
        parameter.default,
        positional_only=parameter.kind is parameter.POSITIONAL_ONLY,
        keyword_only=parameter.kind is parameter.KEYWORD_ONLY,
    )
