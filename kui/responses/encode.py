"""Python objects as JSON bytes (RFC 8259), objects that JSON does not know included.

An object that `json` cannot encode is given to the response's own `default`, then to the
application's `json_encoder`. Dataclasses, pydantic models and the types in `_KNOWN` need neither.
"""

from __future__ import annotations

import dataclasses
import json
import json.encoder
import re
import sys
from collections.abc import Callable, Mapping, Set
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from operator import attrgetter, methodcaller
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from kui.http.text import encode_text

from .context import current_app

__all__ = ["is_model", "to_json", "to_json_with"]

Default = Callable[[Any], Any]

_COMPACT = (",", ":")
# A pair of escapes, a lone one (the group), or another escape.
_escape = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.", re.DOTALL)


def is_model(kind: type) -> bool:
    """True if a class is pydantic's BaseModel itself. Does not import pydantic."""
    pydantic = sys.modules.get("pydantic.main")
    return pydantic is not None and kind is getattr(pydantic, "BaseModel", None)


def _duration(value: timedelta) -> str:
    """Return a duration by ISO 8601, such as "P1DT2H" or "-PT0.5S"; "PT0S" for none."""
    sign = "-" if value < timedelta() else ""
    value = abs(value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06}".rstrip("0") if value.microseconds else ""
    days = f"{value.days}D" if value.days else ""
    time = f"{hours}H" if hours else ""
    time += f"{minutes}M" if minutes else ""
    time += f"{seconds}{fraction}S" if seconds or fraction or not (time or days) else ""
    return f"{sign}P{days}{'T' if time else ''}{time}"


def _in_order(values: Set[Any]) -> list[Any]:
    """Return the elements of a set, sorted if they can be, so that each process writes the same bytes."""
    try:
        return sorted(values)
    except TypeError:
        return list(values)


_KNOWN: Final[dict[type, Default]] = {
    date: methodcaller("isoformat"),  # a datetime is a date too
    time: methodcaller("isoformat"),
    timedelta: _duration,
    UUID: str,
    Decimal: str,
    Enum: attrgetter("value"),
    set: _in_order,
    frozenset: _in_order,
    PurePath: str,
}


def jsonable(value: Any) -> Any:
    """Return what represents `value` in JSON: by the application, as a dataclass, as a model, or as text.

    The application's `json_encoder` is asked for the type, then for its bases; `_KNOWN` comes after
    it. Raises TypeError for a value that none of them knows.
    """
    kind = type(value)
    app = current_app()
    encoders: Mapping[type, Default] = {} if app is None else app.json_encoder
    for base in kind.__mro__:
        encoder = encoders.get(base)
        if encoder is not None:
            return encoder(value)
        if "__dataclass_fields__" in base.__dict__:
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if is_model(base):
            return value.model_dump(mode="json")
    for base in kind.__mro__:
        encoder = _KNOWN.get(base)
        if encoder is not None:
            return encoder(value)
    raise TypeError(
        f"{kind.__qualname__} is not JSON: name it in Kui(json_encoder=...), or pass default= to"
        " JSONResponse"
    )


def _encoder() -> Callable[[Any], str]:
    """Return the encoder for a response without options, made once.

    Circles are found by the depth of the recursion: to keep track of them costs a quarter.
    """
    encoder = json.JSONEncoder(
        ensure_ascii=False,
        allow_nan=False,
        check_circular=False,
        separators=_COMPACT,
        default=jsonable,
    )
    # JSONEncoder makes its C encoder anew for each call, which takes as long as a small answer.
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    try:
        chunks = make(
            None, jsonable, json.encoder.encode_basestring, None, ":", ",", False, False, False
        )
    except TypeError:  # a Python whose C encoder takes something else
        return encoder.encode

    def encode(value: Any) -> str:
        return "".join(chunks(value, 0))

    return encode


_encode = _encoder()


def to_json(value: Any) -> bytes:
    """Return `value` as compact JSON in UTF-8.

    Raises ValueError for NaN and infinities and for what contains itself, TypeError for what is
    not JSON.
    """
    try:
        text = _encode(value)
    except RecursionError:
        raise ValueError("this contains itself, or is nested too deeply for JSON") from None
    return encode_text(text)


def to_json_with(value: Any, options: Mapping[str, Any]) -> bytes:
    """Return `value` as JSON by these options of `json.dumps`; raises as that does.

    Where nothing is said, NaN is refused, text is not escaped, and separators are compact unless
    there is an `indent`.
    """
    chosen: dict[str, Any] = {
        "skipkeys": False,
        "ensure_ascii": False,
        "check_circular": True,
        "allow_nan": False,
        "indent": None,
        "separators": None if options.get("indent") is not None else _COMPACT,
        "default": None,
        "sort_keys": False,
        **options,
    }
    make = chosen.pop("cls", None) or json.JSONEncoder
    encoder = make(**chosen)
    known = vars(encoder)
    known["default"] = _either(encoder.default)  # as JSONEncoder itself does with a default
    return encode_text(_without_lone(encoder.encode(value)))


def _either(default: Default) -> Default:
    """Return `default`, and where it does not know a value (its TypeError says so), `jsonable`."""

    def encode(value: Any) -> Any:
        try:
            return default(value)
        except TypeError as unknown:
            try:
                return jsonable(value)
            except TypeError:
                raise unknown from None

    return encode


def _without_lone(text: str) -> str:
    """JSON text whose escapes have U+FFFD for each lone surrogate, as `encode_text` does for others.

    JSON allows them, I-JSON does not (RFC 7493, 2.1), and many a parser refuses them.
    """
    if "\\ud" not in text:
        return text
    return _escape.sub(lambda match: "\\ufffd" if match[1] else match[0], text)
