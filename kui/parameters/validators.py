"""From declared types to validators, compiled once: pydantic's for most, msgspec's for Structs.

A validator takes what was read of a source and gives values; what it raises is what `refusals` says. pydantic is
imported here and nowhere above, when the first parameter is planned that needs it.
"""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, Protocol, TypeAlias
from uuid import UUID

from kui.http.exceptions import HTTPException
from kui.http.json import decode_json

from .markers import Source
from .plans import Parameter
from .refusals import Fault, RequestValidationError, of_msgspec, of_pydantic
from .shapes import bare, model_kind
from .signatures import place

if TYPE_CHECKING:
    from pydantic import TypeAdapter

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
"""What the path's own converters give."""


def validator_of(parameter: Parameter, converter: str | None = None) -> Validate | None:
    """Return what makes a value of the declared type; None where what a request gives is of it already, as text is `str`.

    It raises pydantic's ValidationError. Compiled now: raises TypeError, in a sentence, for a type that
    cannot be validated.

    :param converter: that of a parameter of the path; None for an application's own.
    """
    if not parameter.marker.constraints:
        if parameter.source == "path":
            given = CONVERTED.get(converter or "")
            if parameter.annotation is Any or (given and parameter.annotation is given):
                return None
        elif parameter.source != "body" and parameter.annotation in (str, str | None):
            return None
    validate: Validate = _adapter(parameter).validator.validate_python
    return validate


def model_of(parameter: Parameter) -> Model:
    """Return the validator of a whole source. Raises TypeError, in a sentence, for a type that cannot be validated."""
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
    """Raise TypeError for a default in a type: it would be written twice, or where it is not looked for."""
    pydantic = sys.modules.get("pydantic.fields")
    if pydantic is None:
        return
    for one in getattr(parameter.annotation, "__metadata__", ()):
        if isinstance(one, pydantic.FieldInfo) and not one.is_required():
            raise TypeError(
                f"{place(parameter.owner)}: the default of {parameter.name!r} is in its type: write "
                f"it behind ="
            )


def _cannot(parameter: Parameter, error: Exception) -> TypeError:
    reason = str(error).partition("\n")[0]
    return TypeError(f"{place(parameter.owner)}: {parameter.name!r} cannot be validated: {reason}")


class Fields:
    """The fields of a JSON body that are declared one by one, validated at once.

    Raises TypeError, in a sentence, for a type that cannot be validated.
    """

    __slots__ = ("_slots", "_validate")

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        from typing import NotRequired

        from pydantic import Field, TypeAdapter
        from typing_extensions import TypedDict

        self._slots: dict[str, int] = {}
        fields: dict[str, Any] = {}
        for one in parameters:
            _adapter(one)  # raises with its name
            key = f"{one.name}_{one.slot}"
            self._slots[key] = one.slot
            field = Field(validation_alias=one.alias, **one.marker.constraints)
            kind: Any = Annotated[modern(one.annotation), field]
            fields[key] = kind if one.required else NotRequired[kind]
        made: Any = TypedDict("Fields", fields)  # type: ignore[misc]  # made at run time
        self._validate = TypeAdapter(made).validator.validate_json

    def validate_json(
        self, body: bytes, charset: str | None, slots: list[Any], faults: list[Fault]
    ) -> None:
        """Put what is there into its slots; what is wrong is added to `faults`.

        Raises HTTPException 400 for what is not JSON.
        """
        from pydantic import ValidationError

        text = checked(body, charset)
        try:
            found = self._validate(text)
        except ValidationError as error:
            refuse_broken(error, text)
            faults += of_pydantic("body", error.errors(include_url=False, include_input=False))
            return
        for key, value in found.items():
            slots[self._slots[key]] = value


def modern(annotation: Any) -> Any:
    """Return a type as pydantic takes it: before Python 3.12 it does not take `typing.TypedDict` itself."""
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
    """The validator of one type. Both methods raise RequestValidationError for what does not fit."""

    def validate(self, values: Any, source: Source) -> Any:
        """Return the model of what was read of a query, a form and so on: texts are converted."""
        ...

    def validate_json(self, body: bytes, charset: str | None) -> Any:
        """Return the model of a JSON text. Raises HTTPException 400 for what is not JSON."""
        ...


def model_validator(model: Any) -> Model:
    """Return the validator of a type, compiled now.

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

        if not is_utf8(charset):
            return self._again(body, charset)
        try:
            return self._decode(body)
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
    if is_utf8(charset):
        if b"N" in body and (b"NaN" in body or b"Infinity" in body):
            decode_json(body, charset)  # which refuses them where they are not in a text
        if body[:1] < b"\xef" and b"\0" not in body[:4]:
            return body
    return _plain(decode_json(body, charset))


def is_utf8(charset: str | None) -> bool:
    """True if a charset is that of JSON, or none is named."""
    return charset is None or charset.lower() in ("utf-8", "utf8")


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
