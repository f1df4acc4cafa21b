"""Inspect declared types: whether a type is a model or takes several values, and which fields a model has.

pydantic and msgspec are looked up in `sys.modules` and not imported: their classes exist only once they are loaded.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections import deque
from collections.abc import (
    Awaitable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    MutableSequence,
    Sequence,
    Set,
)
from collections.abc import Iterable as AbstractIterable
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin

__all__ = [
    "Field",
    "ModelKind",
    "awaited",
    "bare",
    "fields_of",
    "is_file",
    "is_many",
    "is_named_tuple",
    "is_no_model",
    "is_plain",
    "members",
    "model_kind",
    "not_of_text",
    "parts_of",
    "unrequired",
]

ModelKind: TypeAlias = Literal["pydantic", "dataclass", "typed dict", "struct"]

_CONVERTS: Final = "__get_pydantic_core_schema__"
"""The method by which a class, or an object in `Annotated`, tells pydantic how to convert values."""
_PLAIN: Final = (str, int, float, bool, type(None))
_MANY: Final = (list, set, frozenset, tuple, Sequence, MutableSequence, Set, AbstractIterable)


def bare(annotation: Any) -> Any:
    """Return a type without `Annotated`, type aliases and NewTypes around it."""
    return deque(_layers(annotation), maxlen=1).pop()


def awaited(annotation: Any) -> Any:
    """Return the type of what an awaitable gives, which a `def` may return; another type is returned unchanged."""
    kind = bare(annotation)
    arguments = get_args(kind)
    return arguments[-1] if arguments and get_origin(kind) in (Awaitable, Coroutine) else annotation


def _layers(annotation: Any) -> Iterator[Any]:
    """Yield a type, and what is below each `Annotated`, type alias and NewType around it."""
    yield annotation
    if get_origin(annotation) is Annotated:
        yield from _layers(get_args(annotation)[0])
    elif type(annotation).__name__ == "TypeAliasType":
        yield from _layers(annotation.__value__)
    elif isinstance(annotation, typing.NewType):
        yield from _layers(annotation.__supertype__)


def members(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union, also of nested ones, without `Annotated`; for another type yield the type."""
    annotation = bare(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from members(one)
    else:
        yield annotation


def is_plain(annotation: Any) -> bool:
    """True if a type is one that a parameter of a query often has, such as `int | None`."""
    return all(kind in _PLAIN for kind in members(annotation))


def parts_of(annotation: Any, within: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Yield a type and all types in its brackets, also nested ones, and those of the items of a NamedTuple."""
    for one in members(annotation):
        yield one
        if is_named_tuple(one):
            if one not in within:  # it may contain itself
                for hint in typing.get_type_hints(one).values():
                    yield from parts_of(hint, (*within, one))
        elif get_origin(one) is not Literal:
            for argument in get_args(one):
                if isinstance(argument, list):  # the arguments of a Callable
                    continue
                yield from parts_of(argument, within)


def is_named_tuple(kind: Any) -> bool:
    """True if a class is a NamedTuple."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def is_many(annotation: Any) -> bool:
    """True if the type takes all values of a name, and not only the last one."""
    return any((get_origin(one) or one) in _MANY for one in members(annotation))


def model_kind(annotation: Any) -> ModelKind | None:
    """Return the kind of model of a class, also of a generic one; None for other types and for unions."""
    kind = bare(annotation)
    kind = get_origin(kind) or kind
    if not isinstance(kind, type):
        return None
    pydantic = sys.modules.get("pydantic.main")
    if pydantic is not None and issubclass(kind, pydantic.BaseModel):
        return "pydantic"
    msgspec = sys.modules.get("msgspec")
    if msgspec is not None and issubclass(kind, msgspec.Struct):
        return "struct"
    if dataclasses.is_dataclass(kind):
        return "dataclass"
    if hasattr(kind, "__required_keys__") and hasattr(kind, "__total__"):
        return "typed dict"
    return None


def not_of_text(annotation: Any) -> str:
    """Return what a type is, such as "a model", if no text is a value of it; "" if one may be.

    A text may be converted by pydantic in a way of the type's own, such as that of `Json[dict[str, int]]`.
    """
    kind = bare(annotation)
    origin = get_origin(kind) or kind
    if _is_converted(annotation):
        return ""
    if origin in (Union, types.UnionType) or origin in _MANY:
        return next(filter(None, map(not_of_text, get_args(kind))), "")
    if model_kind(kind) is not None:
        root = getattr(kind, "__pydantic_root_model__", False)
        return not_of_text(kind.model_fields["root"].annotation) if root else "a model"
    if is_file(kind):
        return "a file"
    is_mapping = isinstance(origin, type) and issubclass(origin, Mapping)
    return "a mapping" if is_mapping and not hasattr(origin, _CONVERTS) else ""


def is_no_model(annotation: Any) -> bool:
    """True if a type takes single values or a list of them, and so never the names and values of a whole source."""
    kind = bare(annotation)
    origin = get_origin(kind) or kind
    if _is_converted(annotation):
        return False
    if origin in (Union, types.UnionType):
        return all(map(is_no_model, get_args(kind)))
    return origin in (*_PLAIN, bytes, Literal) or (
        origin in _MANY and origin is not AbstractIterable
    )


def _is_converted(annotation: Any) -> bool:
    """True if a validator in `Annotated` may convert any value to the type."""
    metadata = [one for each in _layers(annotation) for one in getattr(each, "__metadata__", ())]
    return any(hasattr(one, _CONVERTS) for one in metadata)


def is_file(annotation: Any) -> bool:
    """True if a type is an `UploadFile`, or a list of them, or a union with one of these."""
    forms = sys.modules.get("kui.forms.collector")
    return forms is not None and any(
        one is forms.UploadFile
        for each in members(annotation)
        for one in (each, *(get_args(each) if is_many(each) else ()))
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A field of a model: its names in a request, and whether it takes all values of a name."""

    names: tuple[str, ...]
    many: bool


def fields_of(annotation: Any) -> tuple[Field, ...]:
    """Return the fields of a model; an empty tuple for a mapping."""
    kind = model_kind(annotation)
    model = bare(annotation)
    origin: Any = get_origin(model) or model
    if kind == "pydantic":
        return tuple(_pydantic_fields(model.model_fields.items(), model.model_config))
    if kind == "struct":
        import msgspec

        return tuple(
            Field((one.encode_name,), is_many(one.type)) for one in msgspec.structs.fields(model)
        )
    if kind is None:
        return ()
    own = getattr(origin, "__pydantic_fields__", None)
    if own is not None:  # a dataclass of pydantic's
        return tuple(_pydantic_fields(own.items(), origin.__pydantic_config__))
    hints = typing.get_type_hints(origin)
    names: Iterable[str] = (
        [one.name for one in dataclasses.fields(origin) if one.init]
        if kind == "dataclass"
        else hints
    )
    return tuple(Field((name,), is_many(unrequired(hints[name]))) for name in names)


def unrequired(annotation: Any) -> Any:
    """Return the type of a TypedDict's field without Required and NotRequired."""
    while getattr(get_origin(annotation), "_name", None) in ("Required", "NotRequired", "ReadOnly"):
        annotation = get_args(annotation)[0]
    return annotation


def _pydantic_fields(
    fields: Iterable[tuple[str, Any]], config: Mapping[str, Any]
) -> Iterator[Field]:
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    for name, info in fields:
        alias = info.validation_alias or info.alias
        choices = getattr(alias, "choices", None) or ([] if alias is None else [alias])
        # The first step of an AliasPath is a name in the request; pydantic follows the others.
        names = [one if isinstance(one, str) else str(one.path[0]) for one in choices]
        if by_name or not names:
            names.append(name)
        yield Field(tuple(names), is_many(info.annotation))
