"""Where the frames of HTTP/2 begin and end (RFC 9113, 4.1), so that h2 is given whole ones only.

h2 4.4 waits for all of a frame, 16 MiB of it, before it looks at its size; and it takes a client's
GOAWAY for the end of the connection, after which it refuses to send what is in flight.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .protocol import PREFACE

__all__ = ["FrameTooLarge", "WholeFrames"]

LARGEST_FRAME: Final = 16 * 1024
"""Bytes of a frame (SETTINGS_MAX_FRAME_SIZE, whose default and least value this is)."""
HEADER: Final = 9
"""Bytes before those of a frame."""
BATCH: Final = 4 * 1024
"""Bytes of small frames that are handled together."""
_GOAWAY: Final = 7


class FrameTooLarge(Exception):
    """A frame begins that is larger than the client was told."""


class WholeFrames:
    """Cuts bytes into batches of whole frames."""

    __slots__ = ("_rest", "_skip", "goaways")

    def __init__(self) -> None:
        self._rest = b""
        self._skip = len(PREFACE)
        self.goaways = 0
        """GOAWAY frames that were left out: a server has nothing to do for them."""

    def batches(self, data: bytes) -> Iterator[bytes]:
        """Yield what has become whole with these bytes, the preface included.

        :raises FrameTooLarge: what comes after it is thrown away.
        """
        data = self._rest + data if self._rest else data
        self._rest = b""
        begin = 0
        end = self._skip
        if len(data) < end:
            self._rest = data
            return
        self._skip = 0
        while (size := _size(data, end)) is not None:
            if size > LARGEST_FRAME:
                raise FrameTooLarge(f"a frame of {size} bytes")
            after = end + HEADER + size
            if after > len(data):
                break
            if data[end + 3] == _GOAWAY:
                if begin < end:
                    yield data[begin:end]
                begin = after
                self.goaways += 1
            end = after
            if end - begin >= BATCH:
                yield data[begin:end]
                begin = end
        if begin < end:
            yield data[begin:end]
        self._rest = data[end:]


def _size(data: bytes, at: int) -> int | None:
    """Return the size of the frame that begins there; None if its header is not complete."""
    if len(data) < at + HEADER:
        return None
    return int.from_bytes(data[at : at + 3], "big")
