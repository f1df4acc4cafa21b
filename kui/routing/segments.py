"""Divide the text of one segment among several placeholders, as in `/{a}-{n:int}.{b}`.

The first placeholder takes as much as it can, then the next, as in a greedy regular expression, but in linear time.
Sets of positions are integers used as bit masks: bit r is the position r characters before the end of the text, so that
whole sets are shifted and intersected at once. A pass from the right computes for each part the positions from which
the rest can still match; a pass from the left then chooses the longest match of each part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from .converters import NO_MATCH, Converter

__all__ = ["SegmentPart", "divide"]

SegmentPart: TypeAlias = str | Converter

LONGEST_WITH_OWN: Final = 255
"""Limit of the segment's length, in characters, if it has an application's own regex: that takes quadratic time."""

_digits = re.compile("[0-9]+")
_fixed_length: Final = {
    "uuid": (
        (36, re.compile("(?=[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12})")),
        (32, re.compile("(?=[0-9A-Fa-f]{32})")),
    ),
    "date": ((10, re.compile("(?=[0-9]{4}-[0-9]{2}-[0-9]{2})")),),
}
"""The regular expressions of texts with a fixed length, the longest first."""


def divide(parts: Sequence[SegmentPart], text: str, *, open_end: bool = False) -> list[str] | None:
    """Return the text of each converter in `parts`, in order; None if `text` does not match.

    Only the form is checked, not the value: `2026-02-30` has the form of a date.

    :param open_end: if True, the parts need not reach the end of `text`, and the last item of the result is the rest.
    """
    if not open_end and _only_str(parts):
        return _divide_str(parts, text)
    reach = _Reach(text)
    if any(not isinstance(part, str) and part.own for part in parts):
        if len(text) > LONGEST_WITH_OWN:
            return None
    masks = [reach.everywhere if open_end else 1]
    for index in range(len(parts) - 1, -1, -1):
        before = parts[index - 1] if index else None
        mask = reach.back(parts[index], masks[-1], before)
        if not mask:
            return None
        masks.append(mask)
    size = len(text)
    if not masks[-1] >> size & 1:
        return None
    masks.reverse()
    pieces = []
    start = 0
    for part, mask in zip(parts, masks[1:], strict=True):
        if isinstance(part, str):
            start += len(part)
            continue
        end = reach.furthest(part, mask, start)
        pieces.append(text[start:end])
        start = end
    if open_end:
        pieces.append(text[start:])
    return pieces


def _only_str(parts: Sequence[SegmentPart]) -> bool:
    """True if all placeholders are of type str, with fixed text between each two."""
    free = False
    for part in parts:
        if isinstance(part, str):
            free = False
        elif free or part.name != "str" or part.own:
            return False
        else:
            free = True
    return True


def _divide_str(parts: Sequence[SegmentPart], text: str) -> list[str] | None:
    """Divide among str placeholders, from the right: each separator matches as far to the right as it can."""
    start = 0
    end = len(text)
    if isinstance(parts[0], str):
        if not text.startswith(parts[0]):
            return None
        start = len(parts[0])
        parts = parts[1:]
    if isinstance(parts[-1], str):
        if not text.endswith(parts[-1]):
            return None
        end -= len(parts[-1])
        parts = parts[:-1]
    pieces = []
    for part in reversed(parts):
        if isinstance(part, str):
            found = text.rfind(part, start, max(start, end - 1))
            if found < 0:
                return None
            pieces.append(text[found + len(part) : end])
            end = found
    if start >= end:
        return None
    pieces.append(text[start:end])
    pieces.reverse()
    return pieces


class _Reach:
    """A text, and the positions at which each kind of part can begin and end."""

    __slots__ = ("_cache", "everywhere", "size", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.size = len(text)
        self.everywhere = (1 << self.size + 1) - 1
        self._cache: dict[str, int] = {}

    def back(self, part: SegmentPart, ends: int, before: SegmentPart | None) -> int:
        """Return the positions from which `part` reaches one of `ends`; `before` is the part to its left."""
        if isinstance(part, str):
            return (ends & self._ending(part)) << len(part)
        if part.own:
            return self._back_own(part, ends, before)
        if part.name == "str":
            return self.everywhere & -((ends & -ends) << 1)
        if part.name == "int":
            return self._back_digits(ends)
        if part.name == "decimal":
            whole = self._back_digits(ends)
            return whole | self._back_digits((whole & self._ending(".")) << 1)
        mask = 0
        for length, form in _fixed_length[part.name]:
            mask |= (ends & self._forms(f"{part.name}{length}", form, length)) << length
        return mask

    def furthest(self, part: Converter, ends: int, start: int) -> int:
        """Return the furthest of `ends` that `part` reaches from `start`; it must reach one."""
        if part.own:
            return next(end for end in self._places(ends) if self._fits(part, start, end))
        if part.name == "str":
            return self._last(ends, self.size)
        if part.name in _fixed_length:
            return next(
                start + length
                for length, form in _fixed_length[part.name]
                if form.match(self.text, start) and self._is_in(ends, start + length)
            )
        run = self._run(start)
        if part.name == "decimal" and self.text.startswith(".", run):
            tail = self._run(run + 1)
            if tail > run + 1:
                end = self._last(ends, tail)
                if end > run + 1:
                    return end
        return self._last(ends, run)

    def _back_digits(self, ends: int) -> int:
        """Do as `back`, for one digit or more. An addition to a run of one bits carries through the whole run."""
        digits = self._forms("digit", _digits, 1)
        first = (ends & digits) << 1
        return (((first & digits) + digits) ^ digits) | first

    def _back_own(self, part: Converter, ends: int, before: SegmentPart | None) -> int:
        starts: Iterator[int]
        if before is None:
            starts = iter((0,))
        elif isinstance(before, str):
            starts = self._places(self._ending(before))
        else:
            starts = iter(range(self.size + 1))
        mask = 0
        for start in starts:
            if any(self._fits(part, start, end) for end in self._places(ends)):
                mask |= 1 << self.size - start
        return mask

    def _fits(self, part: Converter, start: int, end: int) -> bool:
        return start <= end and part.parse(self.text[start:end]) is not NO_MATCH

    def _places(self, mask: int) -> Iterator[int]:
        """Iterate over the positions in a mask, from right to left."""
        while mask:
            lowest = mask & -mask
            yield self.size - lowest.bit_length() + 1
            mask ^= lowest

    def _is_in(self, mask: int, place: int) -> bool:
        return bool(mask >> self.size - place & 1)

    def _last(self, mask: int, limit: int) -> int:
        """Return the last position in a mask that is not after `limit`; -1 if there is none."""
        mask >>= self.size - limit
        return limit - (mask & -mask).bit_length() + 1 if mask else -1

    def _run(self, start: int) -> int:
        found = _digits.match(self.text, start)
        return found.end() if found else start

    def _ending(self, fixed: str) -> int:
        """Return the positions where an occurrence of `fixed` ends."""

        def mark(marks: bytearray) -> None:
            found = self.text.find(fixed)
            while found >= 0:
                marks[found + len(fixed)] = 49
                found = self.text.find(fixed, found + 1)

        return self._marked(fixed, mark)

    def _forms(self, name: str, form: re.Pattern[str], length: int) -> int:
        """Return the positions where a text of this form ends; for digits, the position after each digit."""

        def mark(marks: bytearray) -> None:
            for found in form.finditer(self.text):
                start, end = found.span()
                if start == end:
                    marks[start + length] = 49
                else:
                    marks[start + 1 : end + 1] = b"1" * (end - start)

        return self._marked("/" + name, mark)

    def _marked(self, key: str, mark: Callable[[bytearray], None]) -> int:
        known = self._cache.get(key)
        if known is None:
            marks = bytearray(b"0") * (self.size + 1)
            mark(marks)
            known = self._cache[key] = int(marks, 2)
        return known
