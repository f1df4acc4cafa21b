"""Where the parts of a multipart body begin and end (RFC 2046, 5.1.1): bytes in, events out.

For every input it takes linear time, and keeps at most one piece and the head of one part. A head is
parsed in `kui.forms.disposition`; the limits of a form are checked in `kui.forms.multipart`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from kui.http.exceptions import HTTPException
from kui.http.headers import is_token

__all__ = ["BoundaryParser", "Head", "malformed", "too_large"]

_MOST_HEADERS: Final = 16
_fold = re.compile(rb"\r\n[ \t]++")
_padding = re.compile(rb"[ \t]*+").match


@dataclass(frozen=True, slots=True)
class Head:
    """The header lines with which a part begins: (lower-case name, value) each."""

    lines: list[tuple[str, str]]


_Event: TypeAlias = "Head | bytes | None"
_Step: TypeAlias = "Callable[[BoundaryParser], tuple[_Event, ...]]"


class BoundaryParser:
    """Splits a multipart body into parts.

    :param boundary: the boundary parameter of the Content-Type, without the hyphens before it.
    :param most_parts: how many parts there may be.
    :param most_head: bytes of the head of one part.

    Example::

        parser = BoundaryParser(b"xx", most_parts=10, most_head=1024)
        list(parser.feed(b'--xx\\r\\nContent-Disposition: form-data; name="a"\\r\\n\\r\\n1\\r\\n--xx--'))
        # [Head(lines=[("content-disposition", 'form-data; name="a"')]), b"1", None]
    """

    __slots__ = (
        "_at",
        "_data",
        "_delimiter",
        "_most_head",
        "_no_content",
        "_parts_left",
        "_step",
    )

    def __init__(self, boundary: bytes, *, most_parts: int, most_head: int) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._most_head = most_head
        self._parts_left = most_parts
        # What the bytes at `_at` belong to: the method that parses them.
        self._step: _Step = BoundaryParser._in_preamble
        # A boundary includes the line end before it. The first one may have none; that of a part
        # without a body also ends the head. So there is always one in the data before a body.
        self._data = b"\r\n"
        self._at = 0  # where `_data` has been parsed up to
        self._no_content = 2  # bytes at `_at` that are no content of the body

    @property
    def complete(self) -> bool:
        """True if the last boundary has arrived."""
        return self._step is BoundaryParser._in_epilogue

    def feed(self, data: bytes) -> Iterator[Head | bytes | None]:
        """Yield what `data` brings: the head of a part, pieces of its body, None at its end.

        Must be exhausted before the next call. How a body is cut changes only the sizes of the
        pieces.

        :raises HTTPException: 400 if the body is malformed, 413 if it has too many parts or a head
            is too large.
        """
        self._data, self._at = self._data[self._at :] + data, 0
        step, at = None, 0
        while step is not self._step or at != self._at:  # else it waits for more
            step, at = self._step, self._at
            yield from step(self)

    def _in_preamble(self) -> tuple[_Event, ...]:
        self._at, found = self._seek_boundary()
        if found:
            self._pass_boundary()
        return ()

    def _in_body(self) -> tuple[_Event, ...]:
        stop, found = self._seek_boundary()
        piece = b""
        if stop > self._at:
            piece = self._data[self._at + self._no_content : stop]
            self._at = stop
            self._no_content = 0
        if not found:
            return (piece,) if piece else ()
        self._pass_boundary()
        return (piece, None) if piece else (None,)

    def _seek_boundary(self) -> tuple[int, bool]:
        """Return where the next boundary begins or may begin, and True if it is complete."""
        data, start = self._data, self._at
        found = data.find(self._delimiter, start)
        if found >= 0:
            return found, True
        last = data.rfind(b"\r", max(start, len(data) - len(self._delimiter) + 1))
        if last >= 0 and self._delimiter.startswith(data[last:]):
            return last, False
        return len(data), False

    def _pass_boundary(self) -> None:
        self._at += len(self._delimiter)
        self._step = BoundaryParser._behind_boundary

    def _behind_boundary(self) -> tuple[_Event, ...]:
        data, at = self._data, self._at
        if data.startswith(b"--", at):
            self._step = BoundaryParser._in_epilogue
        elif data[at : at + 2] != b"-" and (blanks := _padding(data, at)):
            end = blanks.end()
            if end - at > self._most_head:
                raise too_large("has too many blanks behind a boundary")
            if data.startswith(b"\r\n", end):
                self._parts_left -= 1
                if self._parts_left < 0:
                    raise too_large("has too many parts")
                self._at = end  # at the line end, with which an empty head would begin
                self._step = BoundaryParser._in_head
            elif data[end : end + 2] not in (b"", b"\r"):
                raise malformed("has something behind a boundary")
        return ()

    def _in_head(self) -> tuple[_Event, ...]:
        end = self._data.find(b"\r\n\r\n", self._at)
        # Three bytes of the end may have arrived.
        size = (len(self._data) - 3 if end < 0 else end) - self._at
        if size > self._most_head:
            raise too_large("has a part whose headers are too large")
        if end < 0:
            return ()
        head = Head(_lines(self._data[self._at + 2 : end]))
        self._at = end + 2
        self._no_content = 2
        self._step = BoundaryParser._in_body
        return (head,)

    def _in_epilogue(self) -> tuple[_Event, ...]:
        self._at = len(self._data)
        return ()


def _lines(head: bytes) -> list[tuple[str, str]]:
    """Return the header lines of a head, those that are folded joined (RFC 5322, 2.2.3)."""
    lines: list[tuple[str, str]] = []
    for raw in _fold.sub(b" ", head).split(b"\r\n"):
        line = raw.decode("utf-8", "replace")
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not is_token(name):
            raise malformed("has a header without a name")
        if "\n" in value or "\r" in value:
            raise malformed("has a line end in a header")
        lines.append((name.lower(), value.strip(" \t")))
    if len(lines) > _MOST_HEADERS:
        raise too_large("has a part with too many headers")
    return lines


def malformed(problem: str) -> HTTPException[str]:
    """Return the refusal of a body that is malformed; `problem` ends the sentence."""
    return HTTPException(400, content=f"The multipart body {problem}.")


def too_large(problem: str) -> HTTPException[str]:
    """Return the refusal of a body that is too large; `problem` ends the sentence."""
    return HTTPException(413, content=f"The multipart body {problem}.")
