"""Compile validators for declared types: with pydantic, or with msgspec for Structs.

A validator makes values of what was read of a source, and raises the exceptions of `refusals`. This module imports
pydantic; it is imported itself only when the first parameter that needs it is planned.
"""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, TypeAlias
from uuid import UUID

from kui.http.exceptions import HTTPException
from kui.http.json import decode_json

from .markers import Source
from .plans import Parameter
from .refusals import RequestValidationError, of_msgspec, of_pydantic
from .shapes import bare, model_kind, not_of_text
from .signatures import place

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

__all__ = ["Fields", "Model", "Validate", "model_of", "model_validator", "validator_of"]

Validate: TypeAlias = Callable[[Any], Any]

CONVERTED: Final[Mapping[str, type]] = {
    "str": str,
    "any": str,
    "int": int,
    "uuid": UUID,
    "date": date,
    "decimal": Decimal,
}
"""The types that the built-in path converters return."""


def validator_of(parameter: Parameter, converter: str | None = None) -> Validate | None:
    """Return a function that makes a value of the declared type, or raises pydantic's ValidationError.

    Return None if the value in the request has the declared type already, such as a text for `str`.

    :param converter: the name of a path parameter's converter; None for an application's own.
    :raises TypeError: the type cannot be validated.
    """
    if not parameter.marker.constraints:
        if parameter.source == "path":
            given = CONVERTED.get(converter or "")
            kind = not_of_text(parameter.annotation) if given else ""
            if given and kind not in ("", "a model"):  # a model may validate itself from a text
                raise _cannot(parameter, f"it is {kind}, and the path gives it as {given.__name__}")
            if parameter.annotation is Any or (given and parameter.annotation is given):
                return None
        elif parameter.source != "body" and parameter.annotation in (str, str | None):
            return None
    validate: Validate = _adapter(parameter).validator.validate_python
    return validate


def model_of(parameter: Parameter) -> Model:
    """Return the validator for a model of a whole source.

    :raises TypeError: the type cannot be validated.
    """
    _refuse_default(parameter)
    try:
        return model_validator(parameter.annotation)
    except TypeError as error:
        raise _cannot(parameter, error) from error


def _adapter(parameter: Parameter) -> TypeAdapter[Any]:
    from pydantic import Field, TypeAdapter
    from pydantic.errors import PydanticUserError
    from pydantic_core import SchemaError

    _refuse_default(parameter)
    constraints = parameter.marker.constraints
    try:
        kind = modern(parameter.annotation)
        return TypeAdapter(Annotated[kind, Field(**constraints)] if constraints else kind)
    except (PydanticUserError, SchemaError, TypeError) as error:
        raise _cannot(parameter, error) from error


def _refuse_default(parameter: Parameter) -> None:
    """Refuse a default inside of a type, such as that of pydantic's `Field`: only a default after `=` is used.

    :raises TypeError: there is one.
    """
    pydantic = sys.modules.get("pydantic.fields")
    if pydantic is None:
        return
    for one in getattr(parameter.annotation, "__metadata__", ()):
        if isinstance(one, pydantic.FieldInfo) and not one.is_required():
            raise TypeError(
                f"{place(parameter.owner)}: the default of {parameter.name!r} is in its type: write "
                f"it behind ="
            )


def _cannot(parameter: Parameter, error: Exception | str) -> TypeError:
    reason = str(error).partition("\n")[0]
    return TypeError(f"{place(parameter.owner)}: {parameter.name!r} cannot be validated: {reason}")


class Fields:
    """Validates together the fields of a JSON body that are declared one by one.

    :raises TypeError: a type cannot be validated.
    """

    __slots__ = ("_model", "_slots")

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        from typing import NotRequired

        from pydantic import Field
        from typing_extensions import TypedDict

        self._slots: dict[str, int] = {}
        fields: dict[str, Any] = {}
        for one in parameters:
            _adapter(one)  # its error names the parameter
            key = f"{one.name}_{one.slot}"
            self._slots[key] = one.slot
            field = Field(validation_alias=one.alias, **one.marker.constraints)
            kind: Any = Annotated[modern(one.annotation), field]
            fields[key] = kind if one.required else NotRequired[kind]
        made: Any = TypedDict("Fields", fields)  # type: ignore[misc]  # made at run time
        self._model = _Pydantic(made)

    def validate_json(self, body: bytes, charset: str | None, slots: list[Any]) -> None:
        """Put the fields of the body into their slots. Raises what `Model.validate_json` raises."""
        for key, value in self._model.validate_json(body, charset).items():
            slots[self._slots[key]] = value


def modern(annotation: Any) -> Any:
    """Return a type that pydantic accepts: before Python 3.12 it does not accept `typing.TypedDict`."""
    if model_kind(annotation) != "typed dict" or type(bare(annotation)).__module__ != "typing":
        return annotation
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
    """The validator of one type. Both methods raise RequestValidationError for a value that does not fit."""

    def validate(self, values: Any, source: Source) -> Any:
        """Return the model of the values of a query, a form and so on. Texts are converted."""
        ...

    def validate_json(self, body: bytes, charset: str | None) -> Any:
        """Return the model of a JSON text.

        :raises HTTPException: 400, if it is not JSON.
        """
        ...


def model_validator(model: Any) -> Model:
    """Return the validator of a type.

    :raises TypeError: the type cannot be validated.
    """
    if model_kind(model) == "struct" or _holds_structs(model):
        return _Msgspec(model)
    return _Pydantic(model)


def _holds_structs(annotation: Any) -> bool:
    from .shapes import parts_of

    return any(model_kind(one) == "struct" for one in parts_of(annotation))


class _Pydantic:
    __slots__ = ("_invalid", "_validator")

    def __init__(self, model: Any) -> None:
        from pydantic import TypeAdapter, ValidationError
        from pydantic.errors import PydanticUserError

        try:
            adapter: TypeAdapter[Any] = TypeAdapter(modern(model))
        except PydanticUserError as error:
            reason = str(error).partition("\n")[0]
            raise TypeError(f"{model!r} cannot be validated: {reason}") from error
        self._validator = adapter.validator
        self._invalid = ValidationError

    def validate(self, values: Any, source: Source) -> Any:
        try:
            return self._validator.validate_python(values)
        except self._invalid as error:
            raise refused(source, error) from None

    def validate_json(self, body: bytes, charset: str | None) -> Any:
        if charset is not None and not is_utf8(charset):
            return self._again(body, charset)
        if (_N in body or _I in body) and may_have_constants(body):
            return self._again(body, charset)
        try:
            return self._validator.validate_json(body)
        except self._invalid as error:
            if not is_broken(error):
                raise refused("body", error) from None
        return self._again(body, charset)

    def _again(self, body: bytes, charset: str | None) -> Any:
        """Return the model of a text that pydantic cannot read, such as one in UTF-16, or accepts wrongly."""
        text = json.dumps(decode_json(body, charset))  # refuses most of them with a sentence
        try:
            return self._validator.validate_json(text)
        except self._invalid as error:
            if is_broken(error):
                raise HTTPException(400, content="The JSON body is not valid.") from None
            raise refused("body", error) from None


class _Msgspec:
    __slots__ = ("_decode", "_invalid", "_model", "_unread")

    def __init__(self, model: Any) -> None:
        from msgspec import DecodeError, ValidationError
        from msgspec.json import Decoder

        self._model = model
        self._decode = Decoder(model).decode
        self._invalid = ValidationError
        self._unread = (DecodeError, UnicodeDecodeError, RecursionError)

    def validate(self, values: Any, source: Source) -> Any:
        from msgspec import convert

        try:
            return convert(values, self._model, strict=False)
        except self._invalid as error:
            raise RequestValidationError([of_msgspec(source, error)]) from None

    def validate_json(self, body: bytes, charset: str | None) -> Any:
        if charset is not None and not is_utf8(charset):
            return self._again(body, charset)
        try:
            return self._decode(body)
        except self._invalid as error:
            decode_json(body, charset)  # raises 400 if the text is not JSON after the fault
            raise RequestValidationError([of_msgspec("body", error)]) from None
        except self._unread:
            return self._again(body, charset)

    def _again(self, body: bytes, charset: str | None) -> Any:
        """Return the model of a text that msgspec cannot read, such as one in UTF-16."""
        text = json.dumps(decode_json(body, charset))  # refuses most of them with a sentence
        try:
            return self._decode(text)
        except self._invalid as error:
            raise RequestValidationError([of_msgspec("body", error)]) from None
        except self._unread:  # a lone surrogate
            raise HTTPException(400, content="The JSON body is not valid.") from None


# ---- JSON

_N: Final = ord("N")  # `in` finds a number in bytes faster than a bytes object
_I: Final = ord("I")


def is_utf8(charset: str) -> bool:
    """True if a charset is UTF-8."""
    return charset.lower() in ("utf-8", "utf8")


def may_have_constants(body: bytes) -> bool:
    """True if a text may hold NaN or Infinity, which pydantic accepts although JSON does not have them."""
    return b"NaN" in body or b"Infinity" in body


def is_broken(error: ValidationError) -> bool:
    """True if pydantic has refused a text because it is not JSON."""
    if error.error_count() > 1:
        return False
    (only,) = error.errors(include_url=False, include_input=False, include_context=False)
    return only["type"] == "json_invalid"


def refused(source: Source, error: ValidationError) -> RequestValidationError:
    """Return the refusal for an error of pydantic's."""
    details = error.errors(include_url=False, include_input=False)
    return RequestValidationError(of_pydantic(source, details))
