"""Decide what a request for a file gets: all of it, parts, or "not modified" (RFC 9110, sections 13 and 14).

These are pure functions of headers, size and validators. `responses/file.py` calls `choose`, and sends its `Choice`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from .dates import parse_date

__all__ = [
    "MAX_RANGES",
    "ByteRange",
    "Choice",
    "Validators",
    "choose",
    "conditions",
    "parse_etags",
    "parse_range",
    "same_strongly",
    "same_weakly",
]

MAX_RANGES: Final = 100
"""How many ranges a request may ask for. With more, it gets the whole representation (RFC 9110, section 14.2)."""

_SPACE: Final = " \t"
_ETAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*+"'
_etag = re.compile(_ETAG).fullmatch
# One element of a list, which may be empty (RFC 9110, 5.6.1), and the comma or the end after it.
_listed_etag = re.compile(rf"[ \t]*+({_ETAG})?[ \t]*+(?:,|\Z)").match
_range_spec = re.compile(r"([0-9]*+)-([0-9]*+)").fullmatch

_CONDITIONS: Final = {
    name.encode(): name
    for name in (
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "if-range",
        "range",
    )
}


class ByteRange(NamedTuple):
    """The bytes from `start` to before `stop`, at least one."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """Return the Content-Range of this part of a representation of `size` bytes (RFC 9110, 14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


class Validators(NamedTuple):
    """The validators, which tell one state of a representation from another (RFC 9110, section 8.8).

    - `etag`: an entity tag in the form of the header, or "".
    - `last_modified`: in whole seconds since 1970, or None.
    - `settled`: True if the representation cannot change again within that second, which makes the date a strong
      validator (8.8.2.2).
    """

    etag: str = ""
    last_modified: int | None = None
    settled: bool = True


class Choice(NamedTuple):
    """The status to send: 200 (all of it), 206 (`ranges`), 304, 412 or 416."""

    status: int
    ranges: tuple[ByteRange, ...] = ()


_ALL: Final = Choice(200)
_NOT_MODIFIED: Final = Choice(304)
_FAILED: Final = Choice(412)
_UNSATISFIABLE: Final = Choice(416)


def conditions(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the request headers that `choose` needs; {} for most requests.

    Several lines of a field are joined to one list (RFC 9110, 5.3). A field that must not be a list thereby becomes
    invalid.
    """
    found: dict[str, str] = {}
    for raw, value in headers:
        if raw in _CONDITIONS:
            name = _CONDITIONS[raw]
            text = value.decode("latin-1")
            found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def choose(method: str, asked: Mapping[str, str], size: int, validators: Validators) -> Choice:
    """Decide what a request gets of an existing representation, in the order of RFC 9110, section 13.2.2.

    Malformed headers are ignored, as the standard requires.

    :param method: the method of the request.
    :param asked: the request's `conditions`.
    :param size: the size of the representation in bytes.
    :param validators: the validators of the representation.

    Example::

        choose("GET", {"range": "bytes=-500"}, 10_000, Validators('"v1"'))
        # Choice(status=206, ranges=(ByteRange(start=9500, stop=10000),))
    """
    if not asked:
        return _ALL
    reads = method in ("GET", "HEAD")
    etag, modified, settled = validators
    if "if-match" in asked:
        if not _listed(asked["if-match"], etag, strongly=True):
            return _FAILED
    elif "if-unmodified-since" in asked:
        newer = _newer(modified, asked["if-unmodified-since"])
        if newer is not None and newer >= (1 if settled else 0):
            return _FAILED
    if "if-none-match" in asked:
        if _listed(asked["if-none-match"], etag, strongly=False):
            return _NOT_MODIFIED if reads else _FAILED
    elif reads and "if-modified-since" in asked:
        newer = _newer(modified, asked["if-modified-since"])
        if newer is not None and newer <= 0 and settled:
            return _NOT_MODIFIED
    if method != "GET" or "range" not in asked:
        return _ALL
    if "if-range" in asked and not _unchanged(asked["if-range"], validators):
        return _ALL
    ranges = parse_range(asked["range"], size)
    if ranges is None:
        return _ALL
    return Choice(206, ranges) if ranges else _UNSATISFIABLE


def parse_range(header: str, size: int) -> tuple[ByteRange, ...] | None:
    """Return the parts that a Range field selects of `size` bytes (RFC 9110, sections 14.1.2 and 14.2).

    Return () if it selects no byte (416). Return None if the field must be ignored: it has another unit than bytes, is
    malformed, has more than `MAX_RANGES` ranges, or is a suffix of an empty file. Ranges that overlap or touch are
    joined at the place of the first, so that no byte is sent twice. This takes linear time for numbers of any size.

    Example: `parse_range("bytes=0-9,5-19,-1", 100)` -> `(ByteRange(0, 20), ByteRange(99, 100))`.
    """
    unit, equals, spec_list = header.partition("=")
    if not equals or unit.strip(_SPACE).lower() != "bytes":
        return None
    specs = [spec for text in spec_list.split(",") if (spec := text.strip(_SPACE))]
    if not 1 <= len(specs) <= MAX_RANGES:
        return None
    selected: list[ByteRange] = []
    for spec in specs:
        if not (match := _range_spec(spec)):
            return None
        first, last = match[1].lstrip("0"), match[2].lstrip("0")
        if match[1]:
            if match[2] and (len(last), last) < (len(first), first):
                return None
            start = _clamp(first, size)
            stop = _clamp(last, size - 1) + 1 if match[2] else size
        elif match[2]:
            start, stop = size - _clamp(last, size), size
            if last and not size:
                return None  # it is satisfiable, and selects all zero bytes
        else:
            return None
        if start < stop:
            selected.append(ByteRange(start, stop))
    return _coalesced(selected)


def _clamp(digits: str, most: int) -> int:
    """Return the number of these digits (no leading zero), or `most` if it is larger, without parsing a huge number."""
    if len(digits) > 19:
        return most
    return min(int(digits or "0"), most)


def _coalesced(ranges: list[ByteRange]) -> tuple[ByteRange, ...]:
    if len(ranges) < 2:
        return tuple(ranges)
    merged: list[tuple[int, ByteRange]] = []
    for order, (start, stop) in sorted(enumerate(ranges), key=lambda item: item[1]):
        if merged and start <= merged[-1][1].stop:
            first, before = merged[-1]
            merged[-1] = (min(first, order), ByteRange(before.start, max(before.stop, stop)))
        else:
            merged.append((order, ByteRange(start, stop)))
    return tuple(part for _, part in sorted(merged))


def parse_etags(header: str) -> list[str]:
    """Return the entity tags of an If-Match or If-None-Match field in the form of the header; `["*"]` for any.

    A malformed list gives an empty list, which matches nothing: that is safe for both fields.

    Example: `parse_etags('"a", W/"b,c"')` -> `['"a"', 'W/"b,c"']`.
    """
    if header.strip(_SPACE) == "*":
        return ["*"]
    tags: list[str] = []
    position = 0
    while position < len(header):
        if not (match := _listed_etag(header, position)):
            return []
        if match[1]:
            tags.append(match[1])
        position = match.end()
    return tags


def same_strongly(one: str, other: str) -> bool:
    """True if two entity tags identify the same bytes; False if one is weak (RFC 9110, 8.8.3.2)."""
    return one == other and one.startswith('"')


def same_weakly(one: str, other: str) -> bool:
    """True if two entity tags identify equivalent representations (RFC 9110, 8.8.3.2)."""
    return one.removeprefix("W/") == other.removeprefix("W/")


def _listed(header: str, etag: str, *, strongly: bool) -> bool:
    tags = parse_etags(header)
    if tags == ["*"]:
        return True
    same = same_strongly if strongly else same_weakly
    return any(same(tag, etag) for tag in tags)


def _newer(modified: int | None, header: str) -> int | None:
    """Return the seconds from the date in `header` to `modified`; None if one of them is unknown."""
    date = parse_date(header)
    return None if date is None or modified is None else modified - int(date.timestamp())


def _unchanged(if_range: str, validators: Validators) -> bool:
    """True if the condition of an If-Range field holds: by strong comparison or exact date (RFC 9110, 13.1.5)."""
    if_range = if_range.strip(_SPACE)
    if _etag(if_range):
        return same_strongly(if_range, validators.etag)
    return validators.settled and _newer(validators.last_modified, if_range) == 0
