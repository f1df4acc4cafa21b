"""Rewrite a multipart body where the package `multipart` would misread it (RFC 2046, section 5.1.1).

Blanks after a boundary are left out. A part without a body, whose head is followed directly by the next boundary, gets
the line end of an empty body. The package gets each head as a whole, and no preamble, because it judges them
differently depending on where the body is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from .refusals import too_large

__all__ = ["BoundaryRepair"]

_Step: TypeAlias = "Callable[[BoundaryRepair], bytes | None]"


class BoundaryRepair:
    """Rewrites a multipart body piece by piece.

    It takes linear time, and keeps at most a boundary and a head. The result does not depend on where the body is cut.

    :param boundary: the boundary parameter of the Content-Type, without the hyphens before it.
    :param most_head: limit of a head, and of the blanks after a boundary, in bytes.

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
        """Return the next bytes of the rewritten body.

        :raises HTTPException: 413, if a head, or the blanks after a boundary, exceed `most_head`.
        """
        self._data += data
        pieces = []
        while (piece := self._step(self)) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> bytes:
        """Return the last bytes, which were held back because a boundary might have begun with them."""
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
        """Take the boundary with which the data begins, without the blanks after it."""
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
