"""Write msgspec's Structs by their declared type, because msgspec itself writes all fields of a subclass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, get_args, get_origin

import msgspec

from .shapes import bare, members, model_kind

__all__ = ["of_struct"]

Project: TypeAlias = Callable[[Any], Any]


def of_struct(model: Any) -> tuple[Callable[[Any], bytes], Callable[[Any], object]]:
    """Return two functions for a type with Structs in it: one writes a value, the other raises if a value does not fit.

    :raises TypeError: msgspec does not know the type.
    """
    msgspec.json.Decoder(model)  # raises for a type that it does not know
    project = _projection(model, {}) or _same
    write = msgspec.json.Encoder().encode

    def encode(value: Any) -> bytes:
        return write(project(value))

    def check(value: Any) -> None:
        msgspec.convert(msgspec.to_builtins(project(value)), model, strict=False)

    return encode, check


def _same(value: Any) -> Any:
    return value


def _projection(annotation: Any, known: dict[Any, Project]) -> Project | None:
    """Return a function that makes a value of exactly this type of another; None if the type holds no Struct."""
    kinds = [one for one in members(annotation) if one is not type(None)]
    if len(kinds) != 1:
        return _of_union(kinds, known)
    kind = kinds[0]
    if model_kind(kind) in ("struct", "dataclass"):
        return _of_model(kind, known)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (list, set, frozenset) or (
        isinstance(origin, type) and len(arguments) == 1 and hasattr(origin, "__iter__")
    ):
        inner = _projection(arguments[0], known)
        return None if inner is None else lambda values: [inner(one) for one in values]
    if origin is tuple:
        kept = arguments[:1] if arguments[-1:] == (...,) else arguments
        inners = [_projection(one, known) or _same for one in kept]
        if all(one is _same for one in inners):
            return None
        if len(kept) < len(arguments):
            return lambda values: tuple(inners[0](one) for one in values)
        return lambda values: tuple(one(value) for one, value in zip(inners, values, strict=True))
    if len(arguments) == 2 and isinstance(origin, type):
        each = _projection(arguments[1], known)
        return None if each is None else lambda items: {k: each(v) for k, v in items.items()}
    return None


def _of_union(kinds: list[Any], known: dict[Any, Project]) -> Project | None:
    models = [(one, _projection(one, known)) for one in kinds]
    if all(project is None for _, project in models):
        return None
    classes = [(get_origin(bare(one)) or bare(one), project or _same) for one, project in models]

    def project(value: Any) -> Any:
        kind = type(value)
        for one, each in classes:  # the class itself comes before its bases
            if kind is one:
                return each(value)
        for one, each in classes:
            if isinstance(one, type) and isinstance(value, one):
                return each(value)
        if value is None:
            return None
        raise TypeError(f"a {kind.__qualname__} was returned, which is none of the declared types")

    return project


def _of_model(model: Any, known: dict[Any, Project]) -> Project:
    if model in known:  # the type contains itself
        return lambda value: known[model](value)
    kind = get_origin(model) or model
    fields: dict[str, Project] = {}
    known[model] = lambda value: value

    def project(value: Any) -> Any:
        if value is None:
            return None
        if type(value) is kind and not fields:
            return value
        if isinstance(value, dict):
            return msgspec.convert(value, model)
        changed = {name: each(getattr(value, name)) for name, each in fields.items()}
        if type(value) is kind:
            if all(changed[name] is getattr(value, name) for name in fields):
                return value
            return _with(value, changed)
        return _made(kind, value, changed)

    known[model] = project
    for name, annotation in _annotations(model).items():
        inner = _projection(annotation, known)
        if inner is not None:
            fields[name] = inner
    return project


def _annotations(model: Any) -> dict[str, Any]:
    kind = get_origin(model) or model
    if model_kind(model) == "struct":
        return {one.name: one.type for one in msgspec.structs.fields(model)}
    import dataclasses
    import typing

    hints = typing.get_type_hints(kind)
    return {one.name: hints[one.name] for one in dataclasses.fields(kind)}


def _with(value: Any, changes: dict[str, Any]) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changes)
    import dataclasses

    return dataclasses.replace(value, **changes)


def _made(kind: Any, value: Any, changed: dict[str, Any]) -> Any:
    """Return an instance of exactly this class, whose fields have the values of `value` or those in `changed`."""
    names = _annotations(kind)
    return kind(**{name: changed.get(name, getattr(value, name)) for name in names})
