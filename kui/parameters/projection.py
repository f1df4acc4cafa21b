"""Write msgspec's Structs by their declared type, because msgspec itself writes all fields of a subclass."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, get_args, get_origin

import msgspec

from .shapes import is_named_tuple, members, model_kind, unrequired

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
    """Return a function that makes a value of exactly this type of another; None if the type holds no model."""
    kinds = list(members(annotation))
    declared = [one for one in kinds if one is not type(None)]
    project = _of_kind(declared[0], known) if len(declared) == 1 else _of_union(declared, known)
    return project if project is None or len(declared) == len(kinds) else _optional(project)


def _optional(project: Project) -> Project:
    return lambda value: None if value is None else project(value)


def _of_kind(kind: Any, known: dict[Any, Project]) -> Project | None:
    model = model_kind(kind)
    if model in ("struct", "dataclass"):
        return _of_model(kind, known)
    if model == "typed dict":
        return _of_typed_dict(kind, known)
    if is_named_tuple(kind):
        return _of_named_tuple(kind, known)
    origin, arguments = get_origin(kind), get_args(kind)
    of_one = len(arguments) == 1 or arguments[1:] == (...,)
    if isinstance(origin, type) and of_one and hasattr(origin, "__iter__"):
        inner = _projection(arguments[0], known)
        return None if inner is None else lambda values: [inner(one) for one in values]
    if origin is tuple:
        inners = [_projection(one, known) or _same for one in arguments]
        return None if all(one is _same for one in inners) else _of_tuple(inners)
    if len(arguments) == 2 and isinstance(origin, type):
        each = _projection(arguments[1], known)
        return None if each is None else lambda items: {k: each(v) for k, v in items.items()}
    return None


def _of_tuple(inners: list[Project]) -> Project:
    return lambda values: tuple(one(value) for one, value in zip(inners, values, strict=True))


def _of_named_tuple(kind: Any, known: dict[Any, Project]) -> Project:
    if kind in known:  # the type contains itself
        return lambda value: known[kind](value)
    inners: list[Project] = []
    known[kind] = _of_tuple(inners)
    inners += [_projection(one, known) or _same for one in typing.get_type_hints(kind).values()]
    return known[kind]


def _of_union(kinds: list[Any], known: dict[Any, Project]) -> Project | None:
    projects = [_projection(one, known) for one in kinds]
    if all(project is None for project in projects):
        return None
    classes = [(_class_of(one), each or _same) for one, each in zip(kinds, projects, strict=True)]

    def project(value: Any) -> Any:
        kind = type(value)
        for one, each in classes:  # the class itself comes before its bases
            if kind is one:
                return each(value)
        for one, each in classes:
            if isinstance(value, one):
                return each(value)
        if (isinstance(value, Iterable) and not isinstance(value, str | bytes)) or model_kind(kind):
            raise TypeError(
                f"a {kind.__qualname__} was returned, which is none of the declared types"
            )
        return value  # it has no fields, such as an int where a float is declared

    return project


def _class_of(kind: Any) -> type:
    """Return the class of the values of a type; NoneType for a type that has no class, such as a Literal."""
    if model_kind(kind) == "typed dict":
        return dict
    origin = get_origin(kind) or kind
    return origin if isinstance(origin, type) else type(None)


def _of_typed_dict(kind: Any, known: dict[Any, Project]) -> Project:
    if kind in known:  # the type contains itself
        return lambda value: known[kind](value)
    fields: dict[str, Project] = {}

    def project(value: Any) -> Any:
        return {name: each(value[name]) for name, each in fields.items() if name in value}

    known[kind] = project
    for name, annotation in typing.get_type_hints(get_origin(kind) or kind).items():
        fields[name] = _projection(unrequired(annotation), known) or _same
    return project


def _of_model(model: Any, known: dict[Any, Project]) -> Project:
    if model in known:  # the type contains itself
        return lambda value: known[model](value)
    kind = get_origin(model) or model
    fields: dict[str, Project] = {}

    def project(value: Any) -> Any:
        if type(value) is kind and not fields:
            return value
        if isinstance(value, dict):
            value = msgspec.convert(value, model)  # its values may be objects, and are projected
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
    hints = typing.get_type_hints(kind)
    return {one.name: hints[one.name] for one in dataclasses.fields(kind)}


def _with(value: Any, changes: dict[str, Any]) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changes)
    return dataclasses.replace(value, **changes)


def _made(kind: Any, value: Any, changed: dict[str, Any]) -> Any:
    """Return an instance of exactly this class, whose fields have the values of `value` or those in `changed`."""
    names = _annotations(kind)
    return kind(**{name: changed.get(name, getattr(value, name)) for name in names})
