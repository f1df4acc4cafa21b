"""From declared types to validators, compiled once: pydantic's for most, msgspec's for Structs.

A validator takes what was read of a source and gives values; what it raises is what `refusals` says. pydantic is
imported here and nowhere above, when the first parameter is planned that needs it.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Final, NoReturn, Protocol
from uuid import UUID

from kui.http.exceptions import HTTPException
from kui.http.json import decode_json

from .markers import Source, SourceMarker
from .plans import Parameter
from .refusals import Fault, RequestValidationError, of_msgspec, of_pydantic
from .shapes import bare, model_kind
from .signatures import place

__all__ = ["Fields", "Model", "fits_already", "model_validator"]

CONVERTED: Final[Mapping[str, type]] = {
    "str": str,
    "any": str,
    "int": int,
    "uuid": UUID,
    "date": date,
    "decimal": Decimal,
}
"""What the path's own converters give."""


def fits_already(parameter: Parameter, converter: str | None) -> bool:
    """True if what a request gives is of the declared type without a look, such as text for `str`.

    :param converter: that of a parameter of the path; None for an application's own.
    """
    if parameter.marker.constraints or parameter.exclusive or parameter.source == "body":
        return False
    if parameter.source != "path":
        return parameter.annotation in (str, str | None)
    given = CONVERTED.get(converter or "")
    return parameter.annotation is Any or (given is not None and parameter.annotation is given)


class Fields:
    """The single values of one source, validated at once; whole models of pydantic's among them.

    `validate` takes a mapping from names in the request to values, where a whole model is under its
    `key`, and returns `{slot: value}` for those that were there.

    Raises TypeError, in a sentence, for a type that cannot be validated.
    """

    __slots__ = ("_adapter", "_exclusive", "_slots", "_source")

    def __init__(self, source: Source, parameters: Iterable[Parameter]) -> None:
        from typing import NotRequired

        from pydantic import TypeAdapter
        from typing_extensions import TypedDict

        self._source: Source = source
        self._slots: dict[str, int] = {}
        fields: dict[str, Any] = {}
        exclusive = set()
        for one in parameters:
            key = f"{one.name}_{one.slot}"
            self._slots[key] = one.slot
            kind = _with_field(one)
            fields[key] = kind if one.required else NotRequired[kind]
            if one.exclusive:
                exclusive.add(key_of(one))
            _check(one)
        self._exclusive = frozenset(exclusive)
        made: Any = TypedDict("Fields", fields)  # type: ignore[misc]  # made at run time
        self._adapter: TypeAdapter[Any] = TypeAdapter(made)

    def validate(self, values: Mapping[str, Any], faults: list[Fault]) -> dict[int, Any]:
        """Return the values by their slots; what is wrong is added to `faults`."""
        return self._run(self._adapter.validator.validate_python, values, faults)

    def validate_json(
        self, body: bytes, charset: str | None, faults: list[Fault]
    ) -> dict[int, Any]:
        """Do as `validate` does, of a JSON object. Raises HTTPException 400 for what is not JSON."""
        return self._run(self._adapter.validator.validate_json, checked(body, charset), faults)

    def _run(
        self, validate: Callable[[Any], dict[str, Any]], given: Any, faults: list[Fault]
    ) -> dict[int, Any]:
        from pydantic import ValidationError

        try:
            found = validate(given)
        except ValidationError as error:
            refuse_broken(error, given)
            details = error.errors(include_url=False, include_input=False)
            faults += of_pydantic(self._source, details, self._exclusive)
            return {}
        slots = self._slots
        return {slots[key]: value for key, value in found.items()}


def key_of(parameter: Parameter) -> str:
    """Return the name of a parameter in what `Fields.validate` takes."""
    # A name with a space is none of a header's or a cookie's, and a query that has it does no harm.
    return f"{parameter.name} {parameter.slot}" if parameter.exclusive else parameter.alias


def _with_field(parameter: Parameter) -> Any:
    from pydantic import Field

    kind = modern(parameter.annotation)
    return Annotated[
        kind, Field(validation_alias=key_of(parameter), **parameter.marker.constraints)
    ]


def _check(parameter: Parameter) -> None:
    """Compile one type by itself, for an error that names it."""
    from pydantic import Field, TypeAdapter
    from pydantic.errors import PydanticUserError
    from pydantic.fields import FieldInfo
    from pydantic_core import PydanticUndefined, SchemaError

    marker: SourceMarker = parameter.marker
    for one in getattr(parameter.annotation, "__metadata__", ()):
        if isinstance(one, FieldInfo) and (
            one.default is not PydanticUndefined or one.default_factory is not None
        ):
            raise TypeError(
                f"{place(parameter.owner)}: the default of {parameter.name!r} is in its type: write "
                f"it behind ="
            )
    try:
        kind = modern(parameter.annotation)
        TypeAdapter(Annotated[kind, Field(**marker.constraints)] if marker.constraints else kind)
    except (PydanticUserError, SchemaError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise TypeError(
            f"{place(parameter.owner)}: {parameter.name!r} cannot be validated: {reason}"
        ) from error


def modern(annotation: Any) -> Any:
    """Return a type as pydantic takes it: before Python 3.12 it does not take `typing.TypedDict` itself."""
    if model_kind(annotation) != "typed dict" or type(bare(annotation)).__module__ != "typing":
        return annotation
    import sys

    if sys.version_info >= (3, 12):
        return annotation
    from typing import NotRequired, Required

    from typing_extensions import TypedDict

    kind = bare(annotation)
    required = kind.__required_keys__
    hints = {
        name: (Required if name in required else NotRequired)[hint]
        for name, hint in typing.get_type_hints(kind, include_extras=True).items()
    }
    return TypedDict(kind.__name__, hints)  # type: ignore[operator]  # made at run time


# ---- whole models


class Model(Protocol):
    """The validator of one type. Both methods raise RequestValidationError for what does not fit."""

    def validate(self, values: Any, source: Source) -> Any:
        """Return the model of what was read of a query, a form and so on: texts are converted."""
        ...

    def validate_json(self, body: bytes, charset: str | None) -> Any:
        """Return the model of a JSON text. Raises HTTPException 400 for what is not JSON."""
        ...


@lru_cache(maxsize=1024)
def model_validator(model: Any) -> Model:
    """Return the validator of a type, compiled once.

    Raises TypeError for a type that cannot be validated.
    """
    if model_kind(model) == "struct" or _holds_structs(model):
        return _Msgspec(model)
    return _Pydantic(model)


def _holds_structs(annotation: Any) -> bool:
    from .shapes import parts_of

    return any(model_kind(one) == "struct" for one in parts_of(annotation))


class _Pydantic:
    __slots__ = ("_validator",)

    def __init__(self, model: Any) -> None:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticUserError

        try:
            adapter: TypeAdapter[Any] = TypeAdapter(modern(model))
        except PydanticUserError as error:
            reason = str(error).partition("\n")[0]
            raise TypeError(f"{model!r} cannot be validated: {reason}") from error
        self._validator = adapter.validator

    def validate(self, values: Any, source: Source) -> Any:
        from pydantic import ValidationError

        try:
            return self._validator.validate_python(values)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            raise RequestValidationError(of_pydantic(source, details)) from None

    def validate_json(self, body: bytes, charset: str | None) -> Any:
        from pydantic import ValidationError

        text = checked(body, charset)
        try:
            return self._validator.validate_json(text)
        except ValidationError as error:
            refuse_broken(error, text)
            details = error.errors(include_url=False, include_input=False)
            raise RequestValidationError(of_pydantic("body", details)) from None


class _Msgspec:
    __slots__ = ("_decode", "_model")

    def __init__(self, model: Any) -> None:
        from msgspec.json import Decoder

        self._model = model
        self._decode = Decoder(model).decode

    def validate(self, values: Any, source: Source) -> Any:
        import msgspec

        try:
            return msgspec.convert(values, self._model, strict=False)
        except msgspec.ValidationError as error:
            raise RequestValidationError([of_msgspec(source, error)]) from None

    def validate_json(self, body: bytes, charset: str | None) -> Any:
        import msgspec

        text = checked(body, charset)
        try:
            return self._decode(text)
        except msgspec.ValidationError as error:
            decode_json(body, charset)  # what is wrong may be followed by what is no JSON
            raise RequestValidationError([of_msgspec("body", error)]) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._again(body, charset)

    def _again(self, body: bytes, charset: str | None) -> Any:
        """Return the model of a text that msgspec does not read, such as one in UTF-16."""
        import msgspec

        value = decode_json(body, charset)  # raises with a sentence, mostly
        try:
            return msgspec.convert(value, self._model)
        except msgspec.ValidationError as error:
            raise RequestValidationError([of_msgspec("body", error)]) from None


# ---- JSON


def checked(body: bytes, charset: str | None) -> bytes | str:
    """Return a JSON text as the quick parsers take it. Raises HTTPException 400 for what JSON does not have."""
    if charset is None or charset.lower() in ("utf-8", "utf8"):
        if b"N" in body and (b"NaN" in body or b"Infinity" in body):
            decode_json(body, charset)  # which refuses them where they are not in a text
        if body[:1] < b"\xef" and b"\0" not in body[:4]:
            return body
    return _plain(decode_json(body, charset))


def _plain(value: Any) -> str:
    return json.dumps(value)


def refuse_broken(error: Any, text: Any) -> None:
    """Raise HTTPException 400 if pydantic refused a text because it is not JSON."""
    if error.error_count() == 1:
        (only,) = error.errors(include_url=False, include_input=False, include_context=False)
        if only["type"] == "json_invalid":
            _broken(text)


def _broken(text: bytes | str) -> NoReturn:
    body = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    decode_json(body)  # says what is wrong
    raise HTTPException(400, content="The JSON body is not valid.")
