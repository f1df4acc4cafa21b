"""Write a handler's return value as JSON by its return annotation, so that no undeclared field is sent.

The value is not validated: the annotation only selects what is sent. Under `kui.testing`, a value that does not fit its
annotation raises. Without a model in the annotation the value is left to `responses.convert`.
"""

from __future__ import annotations

import types
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Mapping,
)
from inspect import isasyncgen, isgenerator
from typing import Any, Final, TypeAlias, Union, get_args, get_origin

from kui.current import request_var
from kui.responses.base import HttpResponse
from kui.responses.content import JSONResponse
from kui.responses.convert import is_answer
from kui.responses.events import Event, SendEventResponse, ServerSentEvent, encode_event
from kui.responses.stream import JSONLinesResponse

from .plans import NO_DEFAULT
from .shapes import awaited, bare, members, model_kind, parts_of
from .signatures import place

__all__ = ["Answer", "answer_of", "data_of_lines", "data_of_stream", "model_of_answer"]

Answer: TypeAlias = Callable[[Any], Any]
"""Makes a response of the value that a handler has returned."""

TESTING: Final = "kui.testing"
"""The key that a test client of `kui.testing` adds to the scope."""


_STREAMS: Final = (AsyncIterable, AsyncIterator, AsyncGenerator, Iterator, Generator)


def data_of_stream(annotation: Any) -> Any:
    """Return the type of the data in a stream of events; NO_DEFAULT if it is not declared.

    `AsyncIterator[Event[Price]]` and `AsyncIterator[Price]` have data of the type Price, and
    `AsyncIterator[Event[Price] | Event[News]]` of the type `Price | News`.
    """
    kind = bare(awaited(annotation))
    if get_origin(kind) not in _STREAMS or not get_args(kind):
        return NO_DEFAULT
    item = get_args(kind)[0]
    kinds = list(members(item))
    data = [_data_of_event(one) for one in kinds]
    if any(one is NO_DEFAULT for one in data):
        return NO_DEFAULT
    return item if data == kinds else Union[tuple(data)]  # noqa: UP007 - made at run time


def _data_of_event(kind: Any) -> Any:
    """Return the type of the data of what a stream yields; NO_DEFAULT if it is not declared."""
    if get_origin(kind) is Event:
        return get_args(kind)[0]
    return NO_DEFAULT if kind in (Event, ServerSentEvent) or model_kind(kind) is None else kind


def data_of_lines(annotation: Any) -> Any:
    """Return the type of the lines of a `JSONLinesResponse[Price]`; NO_DEFAULT if it has no model."""
    kind = bare(awaited(annotation))
    if get_origin(kind) is not JSONLinesResponse:
        return NO_DEFAULT
    (line,) = get_args(kind)
    return line if any(model_kind(one) for one in parts_of(line)) else NO_DEFAULT


def model_of_answer(annotation: Any) -> Any:
    """Return the type by which a returned value is written; NO_DEFAULT if no model is declared.

    Responses in a union are left out. `tuple[Model, int]` and `tuple[Model, int, Mapping]` give Model.
    """
    annotation = awaited(annotation)
    if annotation in (NO_DEFAULT, Any, None):
        return NO_DEFAULT
    kind = bare(annotation)
    if get_origin(kind) in (Union, types.UnionType):
        found = [
            model
            for one in get_args(kind)
            if not (isinstance(bare(one), type) and issubclass(bare(one), HttpResponse))
            and (model := _first(one)) is not NO_DEFAULT
        ]
        if not any(model_kind(part) for one in found for part in parts_of(one)):
            return NO_DEFAULT
        return Union[tuple(found)]  # noqa: UP007 - made at run time
    origin = get_origin(kind)
    if origin in _STREAMS or (isinstance(origin, type) and issubclass(origin, HttpResponse)):
        return NO_DEFAULT
    model = _first(annotation)
    return model if any(model_kind(one) for one in parts_of(model)) else NO_DEFAULT


def _first(annotation: Any) -> Any:
    """Return the type of the value in a return annotation that may be a tuple with a status."""
    kind = bare(annotation)
    arguments = get_args(kind)
    if get_origin(kind) is tuple and len(arguments) in (2, 3) and arguments[1] is int:
        return arguments[0]
    return annotation


def answer_of(handler: Callable[..., Any], annotation: Any) -> Answer | None:
    """Return the function that makes responses by this return annotation; None if it declares no model.

    :raises TypeError: the type cannot be written.
    """
    data = data_of_stream(annotation)
    lines = data_of_lines(annotation)
    model = next((one for one in (data, lines) if one is not NO_DEFAULT), None)
    if model is None:
        model = model_of_answer(annotation)
    if model is NO_DEFAULT:
        return None
    try:
        encode, check = _writer(model)
    except TypeError as error:
        raise TypeError(f"{place(handler)} returns what cannot be written: {error}") from error
    if data is not NO_DEFAULT:

        def events(returned: Any) -> HttpResponse:
            value, status, headers = _value_of(returned)
            if isinstance(value, HttpResponse):
                return _amended(value, status, headers)
            if not _is_generator(value):
                raise _other(handler, "a stream", value, "return a generator")
            return TypedEvents(value, status, headers, encode, check if _is_tested() else None)

        return events

    if lines is not NO_DEFAULT:

        def written(returned: Any) -> Any:
            value, _, _ = _value_of(returned)
            if isinstance(value, JSONLinesResponse):
                value.write = _checked(encode, check) if _is_tested() else encode
            elif not isinstance(value, HttpResponse):
                raise _other(handler, "JSON lines", value, "return JSONLinesResponse(...)")
            return returned

        return written

    def answer(returned: Any) -> Any:
        value, status, headers = _value_of(returned)
        if isinstance(value, HttpResponse):
            return _amended(value, status, headers)
        if _is_generator(value):
            raise _other(
                handler, "no stream", value, "write AsyncIterator[Event[...]] as annotation"
            )
        if value is None and not _fits(value, check):
            return returned  # a forgotten `return`, which pydantic would write as null
        if _is_tested():
            check(value)
        return Written(encode(value), status, headers)

    return answer


def _value_of(returned: Any) -> tuple[Any, int, Mapping[str, str] | None]:
    """Return the value, the status and the headers that a handler has returned."""
    if type(returned) is tuple and is_answer(returned):
        value, status, *rest = returned
        return value, status, rest[0] if rest else None
    return returned, 200, None


def _amended(
    response: HttpResponse, status: int, headers: Mapping[str, str] | None
) -> HttpResponse:
    return response if status == 200 and headers is None else response.amended(status, headers)


def _is_generator(value: Any) -> bool:
    return isgenerator(value) or isasyncgen(value)


def _is_tested() -> bool:
    return TESTING in request_var.get().scope


def _checked(
    encode: Callable[[Any], bytes], check: Callable[[Any], object]
) -> Callable[[Any], bytes]:
    def checked(value: Any) -> bytes:
        check(value)
        return encode(value)

    return checked


def _other(handler: Callable[..., Any], declared: str, value: Any, advice: str) -> TypeError:
    """Return the error for a value that would be sent without its declared type."""
    kind = type(value).__name__
    return TypeError(
        f"{place(handler)} is declared to return {declared}, and has returned an object of type {kind}: "
        f"{advice}"
    )


class Written(JSONResponse):
    """A JSON response whose body is encoded already."""

    __slots__ = ()

    def __init__(self, body: bytes, status_code: int, headers: Mapping[str, str] | None) -> None:
        HttpResponse.__init__(self, status_code, headers)
        self.body = body


class TypedEvents(SendEventResponse):
    """A stream of events whose data is written by a declared type."""

    __slots__ = ("_check", "_write")

    def __init__(
        self,
        events: Any,
        status_code: int,
        headers: Mapping[str, str] | None,
        write: Callable[[Any], bytes],
        check: Answer | None,
    ) -> None:
        super().__init__(events, status_code, headers)
        self._write = write
        self._check = check

    def encode(self, chunk: Any) -> bytes:
        """Return the bytes of an event: a mapping is the event, and any other value is its data."""
        if isinstance(chunk, Mapping):
            if "data" not in chunk:
                return encode_event(chunk)  # only a comment or a `retry`
            event = dict(chunk)
        else:
            event = {"data": chunk}
        if self._check is not None:
            self._check(event["data"])
        return encode_event({**event, "data": self._write(event["data"])})


def _fits(value: Any, check: Callable[[Any], object]) -> bool:
    try:
        check(value)
    except Exception:
        return False
    return True


Writer: TypeAlias = tuple[Callable[[Any], bytes], Callable[[Any], object]]
"""Two functions: one writes a value, the other raises if a value does not fit the type."""


def _writer(model: Any) -> Writer:
    kinds = {model_kind(one) for one in parts_of(model)} - {None}
    if "struct" not in kinds:
        return _of_pydantic(model)
    if "pydantic" in kinds:
        raise TypeError("pydantic's models and Structs do not know each other: use one kind")
    from .projection import of_struct

    return of_struct(model)


def _of_pydantic(model: Any) -> Writer:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    from .validators import modern

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(modern(model))
    except PydanticUserError as error:
        raise TypeError(str(error).partition("\n")[0]) from error
    to_json = adapter.serializer.to_json
    validate = adapter.validator.validate_python

    def encode(value: Any) -> bytes:
        # An instance is not validated again. A mapping, or an object of another class with the same attributes, becomes
        # one: the serializer would leave out attributes that are not in the object's `__dict__`.
        return to_json(validate(value, from_attributes=True), by_alias=True, warnings="error")

    def check(value: Any) -> None:
        # pydantic does not validate the fields of an instance again: dump it first.
        value = validate(value, from_attributes=True)
        validate(adapter.dump_python(value, round_trip=True), by_alias=True, by_name=True)

    return encode, check
