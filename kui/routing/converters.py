"""Convert the text of a placeholder to a Python value, and back.

Six converters are built in. Others, and a built-in name for which an application has registered its own class, come
from `baize.routing.CONVERTOR_TYPES` when a path is registered. `patterns` defines the syntax of placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from baize.routing import (
    CONVERTOR_TYPES,
    AnyConvertor,
    Convertor,
    DateConvertor,
    DecimalConvertor,
    IntegerConvertor,
    StringConvertor,
    UUIDConvertor,
)

from kui.habits import CONVERTERS

__all__ = ["NO_MATCH", "RANKS", "Converter", "converter_named"]

NO_MATCH: Final = object()
"""Returned by `Converter.parse` for a text that does not fit; None would be a valid value."""

RANKS: Final = {"int": 1, "uuid": 2, "date": 3, "decimal": 4, "str": 6, "any": 7}
"""The order in which placeholders are tried; 0 is fixed text, 5 an application's own converter."""

MAX_DIGITS: Final = 4300  # CPython's default limit; without a limit int() takes quadratic time

_decimal = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_uuid = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|[0-9A-Fa-f]{32}")
_date = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Converter:
    """One kind of placeholder.

    - `parse(text)` returns the value, or `NO_MATCH`. It never raises.
    - `format(value)` returns a text that `parse` accepts. It raises ValueError or TypeError for a value that has none.
    - `spans` is True if the text may be empty and may contain slashes.
    """

    __slots__ = ("format", "name", "own", "parse", "rank", "spans")

    def __init__(
        self,
        name: str,
        parse: Callable[[str], Any],
        format: Callable[[Any], str],
        *,
        own: Convertor[Any] | None = None,
        spans: bool = False,
    ) -> None:
        self.name = name
        self.parse = parse
        self.format = format
        self.own = own
        self.spans = spans
        self.rank = RANKS.get(name, 5)

    def __repr__(self) -> str:
        return f"<Converter {self.name}>"

    def text_of(self, value: Any) -> str:
        """Return the text for `value`, not quoted.

        :raises ValueError: the value has no text that this converter would match again.
        """
        try:
            text = self.format(value)
        except (ValueError, TypeError, ArithmeticError, AttributeError) as exc:
            raise self._misfit(value) from exc
        if not isinstance(text, str) or self.parse(text) is NO_MATCH:
            raise self._misfit(value)
        return text

    def _misfit(self, value: Any) -> ValueError:
        try:
            shown = f"{value!r:.80}"
        except ValueError:  # an int that is too long to be shown
            shown = f"an enormous {type(value).__name__}"
        return ValueError(f"{shown} does not fit the converter {self.name}")


def _parse_str(text: str) -> Any:
    return text or NO_MATCH


def _parse_any(text: str) -> Any:
    return text


def _parse_int(text: str) -> Any:
    # isdigit() alone accepts superscripts and digits of other scripts.
    if text.isdigit() and text.isascii() and len(text) <= MAX_DIGITS:
        try:
            return int(text)
        except ValueError:  # the interpreter was given a lower limit
            return NO_MATCH
    return NO_MATCH


def _parse_decimal(text: str) -> Any:
    if len(text) <= MAX_DIGITS and _decimal.fullmatch(text):
        return Decimal(text)
    return NO_MATCH


def _parse_uuid(text: str) -> Any:
    return UUID(text) if _uuid.fullmatch(text) else NO_MATCH


def _parse_date(text: str) -> Any:
    if not _date.fullmatch(text):
        return NO_MATCH
    try:
        return date.fromisoformat(text)
    except ValueError:
        return NO_MATCH


def _plain(value: Any) -> str:
    """Return the text of a str or a number. None, True and other objects are refused, as they are likely mistakes.

    :raises TypeError: the value is neither a str nor a number.
    :raises ValueError: the number cannot be written out.
    """
    if isinstance(value, str):
        return str.__str__(value)  # the value of an enumeration's member, not its name
    if isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > MAX_DIGITS * 4:
            raise ValueError("too many digits")
        return int.__str__(value)
    if isinstance(value, UUID | date):
        return str(value)
    if isinstance(value, Decimal):
        # A number with a large exponent, written out, can exceed the memory.
        if value.is_finite() and abs(value.adjusted()) <= MAX_DIGITS:
            return format(value, "f")
        raise ValueError("not a number that can be written out")
    if isinstance(value, float):
        return _plain(Decimal(repr(value)))
    raise TypeError("neither text nor a number")


_BUILT_IN: Final = {
    "str": Converter("str", _parse_str, _plain),
    "int": Converter("int", _parse_int, _plain),
    "uuid": Converter("uuid", _parse_uuid, _plain),
    "date": Converter("date", _parse_date, _plain),
    "decimal": Converter("decimal", _parse_decimal, _plain),
    "any": Converter("any", _parse_any, _plain, spans=True),
}

_REPLACED: Final[dict[str, type[Convertor[Any]]]] = {
    "str": StringConvertor,
    "int": IntegerConvertor,
    "uuid": UUIDConvertor,
    "date": DateConvertor,
    "decimal": DecimalConvertor,
    "any": AnyConvertor,
}


def _own(name: str, convertor: Convertor[Any]) -> Converter:
    """Return the converter for an application's own. A subclass of baize's AnyConvertor accepts slashes, as `any`."""
    spans = isinstance(convertor, AnyConvertor)
    to_python = convertor.to_python
    if spans and convertor.regex == AnyConvertor.regex:
        fits: Callable[[str], Any] = _anything
    else:
        try:
            fits = re.compile(convertor.regex).fullmatch
        except re.error as exc:
            raise ValueError(
                f"the regex of the converter {name!r} is not a regular expression: {exc}; correct it"
            ) from None

    def parse(text: str) -> Any:
        if not fits(text):
            return NO_MATCH
        try:
            return to_python(text)
        except (ValueError, ArithmeticError):
            return NO_MATCH

    return Converter(name, parse, convertor.to_string, own=convertor, spans=spans)


def _anything(text: str) -> bool:
    return True


def converter_named(name: str) -> Converter:
    """Return the converter for `{parameter:name}` that is registered now.

    :raises ValueError: there is none; the message lists the known names.
    """
    convertor = CONVERTOR_TYPES.get(name)
    if name in _BUILT_IN and (convertor is None or type(convertor) is _REPLACED[name]):
        return _BUILT_IN[name]
    if convertor is None:
        if name in CONVERTERS:
            advice = f"write {CONVERTERS[name]}"
        else:
            advice = "use one of " + ", ".join(dict.fromkeys([*_BUILT_IN, *CONVERTOR_TYPES]))
        raise ValueError(
            f"there is no converter {name!r}: {advice}, "
            f"or register your own in baize.routing.CONVERTOR_TYPES"
        )
    return _own(name, convertor)
