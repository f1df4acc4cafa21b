"""Repairs what the package `multipart` reads wrong, in the bytes before it reads them (RFC 2046, 5.1.1).

Written as the package takes them are blanks behind a boundary, which are left out, and a part without a body, whose
head is followed by the next boundary at once, which is given the line end of an empty body. The package gets heads
whole, and no preamble, since what it says of these depends on where they are cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from .refusals import too_large

__all__ = ["BoundaryRepair"]

_Step: TypeAlias = "Callable[[BoundaryRepair], bytes | None]"


class BoundaryRepair:
    """Rewrites a multipart body piece by piece.

    Takes linear time, and keeps no more than a boundary and a head. How the body is cut changes only where the result
    is cut.

    :param boundary: the boundary parameter of the Content-Type, without the hyphens before it.
    :param most_head: bytes of a head, and of the blanks behind a boundary.

    Example: `BoundaryRepair(b"xx", most_head=100).feed(b"--xx \\r\\nA: b\\r\\n\\r\\nc")` ->
    `b"--xx\\r\\nA: b\\r\\n\\r\\nc"`.
    """

    __slots__ = ("_data", "_delimiter", "_most_head", "_step")

    def __init__(self, boundary: bytes, *, most_head: int) -> None:
        self._delimiter: Final = b"\r\n--" + boundary
        self._most_head = most_head
        self._data = b"\r\n"  # the first boundary needs no line end before it
        self._step: _Step = BoundaryRepair._pass_preamble

    def feed(self, data: bytes) -> bytes:
        """Return what follows of the body, as far as it is known to need no repair.

        :raises HTTPException: 413 for a head, or blanks behind a boundary, of more than `most_head` bytes.
        """
        self._data += data
        pieces = []
        while (piece := self._step(self)) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> bytes:
        """Return the end of the body that was held back, for it might have begun a boundary."""
        return self._data if self._step is BoundaryRepair._pass_body else b""

    # Each step takes what it returns out of `_data`; None if it waits for more.

    def _pass_preamble(self) -> bytes | None:
        found = self._data.find(self._delimiter)
        if found < 0:
            self._data = self._data[-len(self._delimiter) :]
            return None
        self._data = self._data[found:]
        boundary = self._pass_boundary()
        return None if boundary is None else boundary[2:]

    def _pass_body(self) -> bytes | None:
        found = self._data.find(self._delimiter)
        if found == 0:
            return self._pass_boundary()
        if found < 0:
            found = max(0, len(self._data) - len(self._delimiter) + 1)
        piece, self._data = self._data[:found], self._data[found:]
        return piece or None

    def _pass_boundary(self) -> bytes | None:
        """Take the boundary with which the data begins, without the blanks behind it."""
        size = len(self._delimiter)
        rest = self._data[size : size + self._most_head + 2]
        line = rest.lstrip(b" \t")
        if len(line) < 2:
            if len(rest) > self._most_head:
                raise too_large("has too many blanks behind a boundary")
            return None
        if line[:2] == b"\r\n":
            self._step = BoundaryRepair._pass_head
            self._data = self._data[size + len(rest) - len(line) :]
        else:  # the last one, or one that the package refuses
            self._step = BoundaryRepair._pass_body
            self._data = self._data[size:]
        return self._delimiter

    def _pass_head(self) -> bytes | None:
        end = self._data.find(b"\r\n\r\n") + 4
        if (len(self._data) if end < 4 else end) > self._most_head + 4:
            raise too_large("has a part whose headers are too large")
        boundary = self._delimiter[2:]
        follows = self._data[end : end + len(boundary)]
        if end < 4 or (len(follows) < len(boundary) and boundary.startswith(follows)):
            return None  # the head, or the boundary that may follow it, has not arrived
        head, self._data = self._data[:end], self._data[end:]
        if follows == boundary:
            self._data = b"\r\n" + self._data
        self._step = BoundaryRepair._pass_body
        return head
