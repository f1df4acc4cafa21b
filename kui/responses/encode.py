"""Encode Python objects as JSON bytes (RFC 8259), also objects that `json` does not know.

Dataclasses, pydantic models and the types in `_KNOWN` are encoded here. Other objects are given to the response's
`default`, and then to the application's `json_encoder`.
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
from inspect import isawaitable, iscoroutine
from operator import attrgetter, methodcaller
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from kui.http.text import encode_text

from .context import current_app

__all__ = ["is_model", "to_json", "to_json_with"]

Default = Callable[[Any], Any]

_COMPACT = (",", ":")
# A pair of escaped surrogates, a lone one (the group), or another escape.
_escape = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.", re.DOTALL)


def is_model(kind: type) -> bool:
    """True if a class is pydantic's BaseModel itself. Does not import pydantic."""
    pydantic = sys.modules.get("pydantic.main")
    return pydantic is not None and kind is getattr(pydantic, "BaseModel", None)


def _duration(value: timedelta) -> str:
    """Return a duration by ISO 8601, such as "P1DT2H", "-PT0.5S" or "PT0S"."""
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
    """Return the elements of a set, sorted if they can be compared, so that each process writes the same bytes."""
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
    """Return a value that JSON has for one that it has not: by the application, as a dataclass, as a model, or as text.

    The application's `json_encoder` is searched for the type, then for its bases; then `_KNOWN` is.

    :raises TypeError: there is no way to encode the value.
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
    if isawaitable(value):
        if iscoroutine(value):
            value.close()
        raise TypeError(f"an awaitable ({kind.__qualname__}) is not JSON: put await before it")
    raise TypeError(
        f"{kind.__qualname__} is not JSON: name it in Kui(json_encoder=...), or pass default= to"
        " JSONResponse"
    )


def _encoder() -> Callable[[Any], str]:
    """Return the encoder for responses without options, which is made once.

    A value that contains itself is found by the depth of the recursion; to track the objects takes a quarter longer.
    """
    encoder = json.JSONEncoder(
        ensure_ascii=False,
        allow_nan=False,
        check_circular=False,
        separators=_COMPACT,
        default=jsonable,
    )
    # JSONEncoder makes its C encoder anew for each call, which takes as long as encoding a small value.
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    try:
        chunks = make(
            None, jsonable, json.encoder.encode_basestring, None, ":", ",", False, False, False
        )
    except TypeError:  # the C encoder of this Python takes other arguments
        return encoder.encode

    def encode(value: Any) -> str:
        return "".join(chunks(value, 0))

    return encode


_encode = _encoder()


def to_json(value: Any) -> bytes:
    """Return `value` as compact JSON in UTF-8.

    :raises ValueError: it holds NaN or an infinity, or contains itself.
    :raises TypeError: it, or a part of it, cannot be encoded.
    """
    try:
        text = _encode_keys_too(_encode, value, jsonable)
    except RecursionError:
        raise ValueError("this contains itself, or is nested too deeply for JSON") from None
    return encode_text(text)


def to_json_with(value: Any, options: Mapping[str, Any]) -> bytes:
    """Return `value` as JSON with options of `json.dumps`. Raises what `json.dumps` raises.

    The defaults differ from those of `json.dumps`: NaN is refused, text is not escaped, and separators are compact
    unless there is an `indent`.
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
    default = known["default"] = _either(encoder.default)  # as JSONEncoder does with a default
    return encode_text(_without_lone(_encode_keys_too(encoder.encode, value, default)))


def _encode_keys_too(encode: Callable[[Any], str], value: Any, default: Default) -> str:
    """Return `encode(value)`. `default` is asked for keys as well, which encoders of `json` do not ask it for."""
    try:
        return encode(value)
    except TypeError:  # if not because of a key, it is raised again
        pass
    return encode(_with_plain_keys(value, default))


def _with_plain_keys(value: Any, default: Default) -> Any:
    """Return a value of the types of JSON alone, in which all keys are what `json` takes as keys."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, dict):
        return {
            _plain_key(key, default): _with_plain_keys(each, default) for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_with_plain_keys(each, default) for each in value]
    return _with_plain_keys(default(value), default)


def _plain_key(key: Any, default: Default) -> Any:
    if key is None or isinstance(key, (str, int, float)):
        return key
    plain = default(key)
    if plain is not None and not isinstance(plain, (str, int, float)):
        raise TypeError(f"a key of JSON is text, and {key!r} is none")
    return plain


def _either(default: Default) -> Default:
    """Return a function that calls `default`, and `jsonable` if that raises TypeError."""

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
    """Return JSON text with U+FFFD in place of each escape of a lone surrogate.

    JSON allows lone surrogates, I-JSON does not (RFC 7493, section 2.1), and many parsers refuse them.
    """
    if "\\ud" not in text:
        return text
    return _escape.sub(lambda match: "\\ufffd" if match[1] else match[0], text)
