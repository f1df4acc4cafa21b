"""Refuse a request that does not fit its declaration: 422 with all faults, as problem details (RFC 9457).

A response never repeats what the client has sent: the message of a validator is passed on only if it is known to be
made of the declaration alone.
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
"""How many faults one response has, at most."""
LONGEST: Final = 200
"""How many characters a pointer has, at most, because names in it may come from the client."""

_UNSAID: Final = "The value is not valid"


Fault = TypedDict("Fault", {"in": Source, "detail": str, "pointer": str})
"""A fault of a value: its source, a sentence about it, and a JSON Pointer (RFC 6901) to it in that source."""


class RequestValidationError(HTTPException[dict[str, Any]]):
    """Raised if the parameters or the body of a request do not fit their declaration: status 422.

    `errors` are the faults, none of which repeats what was sent. Write an exception handler for this class to change
    the form of the response.

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
    """Return the fault of a value that is missing."""
    return {"in": source, "detail": "Field required", "pointer": pointer(path)}


def pointer(path: Iterable[object]) -> str:
    """Return a JSON Pointer, cut off if it is too long."""
    text = ""
    for one in path:
        step = "/" + str(one).replace("~", "~0").replace("/", "~1")
        if len(text) + len(step) > LONGEST:
            break
        text += step
    return text


# The message of these errors after the comma is made of the input, so it is cut off.
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
    """Return the faults of one value.

    :param error: what its validator has raised. It is raised again if it is no error of pydantic's.
    """
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        raise error
    return of_pydantic(source, error.errors(include_url=False, include_input=False), name)


def of_pydantic(source: Source, errors: Iterable[ErrorDetails], *path: object) -> Iterable[Fault]:
    """Return the faults that pydantic has found in the value at this path of the source."""
    for error in errors:
        kind = error["type"]
        if kind in _CUT:
            detail = error["msg"].partition(",")[0]
        elif kind in _PASSED_ON:
            detail = error["msg"]
        else:  # the message of a custom validator may hold anything
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
    """Return the fault that msgspec has found. It reports only the first."""
    text = str(error)
    found = _where(text)
    path: list[str] = []
    if found is not None:
        text = text[: found.start()]
        path = [name or index for name, index in _steps(found[1])]
        if "..." in path:  # in a mapping; msgspec does not say at which key
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
