"""What a request that does not fit is told: 422 with all its faults, as problem details (RFC 9457).

Carries the promise that an answer never holds what was sent: a message of a validator's is passed on only where it
is known to be made of the declaration alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypedDict

from kui.http.exceptions import HTTPException
from kui.http.problems import PROBLEM_JSON, problem

from .markers import Source

if TYPE_CHECKING:
    import msgspec
    from pydantic_core import ErrorDetails

__all__ = ["Fault", "RequestValidationError", "missing", "of_msgspec", "of_pydantic", "of_value"]

MOST: Final = 100
"""Faults that one answer tells."""
LONGEST: Final = 200
"""Characters of a pointer; the names in it may be the client's."""

_UNSAID: Final = "The value is not valid"


Fault = TypedDict("Fault", {"in": Source, "detail": str, "pointer": str})
"""What is wrong with a value: where it was, a sentence, and a JSON Pointer (RFC 6901) in that source."""


class RequestValidationError(HTTPException[dict[str, Any]]):
    """A request whose parameters or body do not fit what was declared: status 422.

    `errors` are its faults, none of which holds what was sent. An exception handler for this class
    replaces the shape of the answer.

    Example::

        @app.exception_handler(RequestValidationError)
        async def not_valid(exc):
            return {"detail": exc.errors}, 422
    """

    def __init__(self, errors: Iterable[Fault]) -> None:
        self.errors: Sequence[Fault] = tuple(errors)[:MOST]
        super().__init__(
            422,
            {"content-type": PROBLEM_JSON},
            problem(
                422, "The request does not fit what is declared here.", errors=list(self.errors)
            ),
        )


def missing(source: Source, *path: object) -> Fault:
    """Return the fault of a value that is not there."""
    return {"in": source, "detail": "Field required", "pointer": pointer(path)}


def pointer(path: Iterable[object]) -> str:
    """Return a JSON Pointer, cut where it becomes too long."""
    text = ""
    for one in path:
        step = "/" + str(one).replace("~", "~0").replace("/", "~1")
        if len(text) + len(step) > LONGEST:
            break
        text += step
    return text


# What these say besides the text before the comma is made of the input.
_CUT: Final = frozenset(
    (
        "date_from_datetime_parsing",
        "date_parsing",
        "datetime_from_date_parsing",
        "datetime_object_invalid",
        "datetime_parsing",
        "mapping_type",
        "time_delta_parsing",
        "time_parsing",
        "url_parsing",
        "url_syntax_violation",
        "uuid_parsing",
    )
)
_REWRITTEN: Final = {
    "union_tag_invalid": "Input should have one of the expected tags",
    "timezone_offset": "Input should have another timezone offset",
    "bytes_invalid_encoding": "Data should be valid in its encoding",
    "is_instance_of": "Input should be of another type",
}
_PASSED_ON: Final = frozenset(
    """
    arguments_type bool_parsing bool_type bytes_too_long bytes_too_short bytes_type complex_str_parsing
    complex_type counter_type dataclass_type date_from_datetime_inexact date_future date_past date_type
    datetime_future datetime_past datetime_type decimal_max_digits decimal_max_places decimal_parsing
    decimal_type decimal_whole_digits deque_type dict_type enum extra_forbidden finite_number float_parsing
    float_type fraction_parsing fraction_type frozen_set_type greater_than greater_than_equal int_from_float
    int_parsing int_parsing_size int_type invalid_key less_than less_than_equal list_type literal_error
    missing model_attributes_type model_type multiple_of named_tuple_type none_required
    recursion_depth_exceeded set_type string_not_ascii string_pattern_mismatch string_too_long
    string_too_short string_type string_unicode time_delta_type time_type timezone_aware timezone_naive
    too_long too_short tuple_type union_tag_not_found url_scheme url_too_long url_type uuid_type uuid_version
    """.split()
)


def of_value(source: Source, name: str, error: ValueError) -> Iterable[Fault]:
    """Return the faults of one value; `error` is what its validator has raised, and is raised if it is none of pydantic's."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        raise error
    return of_pydantic(source, error.errors(include_url=False, include_input=False), name)


def of_pydantic(source: Source, errors: Iterable[ErrorDetails], *path: object) -> Iterable[Fault]:
    """Return the faults that pydantic has found in what is at this path of the source."""
    for error in errors:
        kind = error["type"]
        if kind in _CUT:
            detail = error["msg"].partition(",")[0]
        elif kind in _PASSED_ON:
            detail = error["msg"]
        else:  # a custom validator's may say anything
            detail = _REWRITTEN.get(kind, _UNSAID)
        yield {"in": source, "detail": detail, "pointer": pointer((*path, *error["loc"]))}


_where = re.compile(r" - at `(?:key in )?\$((?:[^`\\]|\\.)*)`$").search
_steps = re.compile(r"\.([^.\[\]]+)|\[([0-9]+|\.\.\.)\]").findall
_made_of_types = re.compile(
    r"Expected `[^`]*`(?: (?:[<>]=?|of length [<>=]+) -?[0-9.e+-]+|, got `[^`]*`| that's a multiple of [0-9.]+)?"
    r"|Expected `array` of (?:at (?:least|most) )?length [<>=0-9 ]+(?:, got [0-9]+)?"
).fullmatch
_required = re.compile(r"Object missing required field `([^`]+)`").fullmatch


def of_msgspec(source: Source, error: msgspec.ValidationError) -> Fault:
    """Return the fault that msgspec has found, the first there is."""
    text = str(error)
    found = _where(text)
    path: list[str] = []
    if found is not None:
        text = text[: found.start()]
        path = [name or index for name, index in _steps(found[1])]
        if "..." in path:  # a key or a value of a mapping: which, it does not say
            path = path[: path.index("...")]
    required = _required(text)
    if required is not None:
        return missing(source, *path, required[1])
    if text.startswith("Object contains unknown field"):
        detail = "Extra inputs are not permitted"
    elif _made_of_types(text):
        detail = text.replace("`", "")
    elif text.startswith("Invalid enum value"):
        detail = "The value is none of those that are expected"
    else:
        detail = _UNSAID
    return {"in": source, "detail": detail, "pointer": pointer(path)}
