"""Cut the bytes of HTTP/2 into whole frames (RFC 9113, section 4.1) for h2.

h2 4.4 waits for a whole frame, of up to 16 MiB, before it checks the size. It also treats a client's GOAWAY as the end
of the connection, and then refuses to send the open streams; so GOAWAY frames are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .protocol import PREFACE

__all__ = ["FrameTooLarge", "WholeFrames"]

LARGEST_FRAME: Final = 16 * 1024
"""Limit of a frame in bytes (SETTINGS_MAX_FRAME_SIZE, of which this is the default and the least value)."""
HEADER: Final = 9
"""The size of a frame's header, in bytes."""
BATCH: Final = 4 * 1024
"""How many bytes of small frames are handled together, at most."""
_GOAWAY: Final = 7


class FrameTooLarge(Exception):
    """Raised if a frame is larger than the limit that the client was told."""


class WholeFrames:
    """Cuts bytes into batches of whole frames."""

    __slots__ = ("_rest", "_skip", "goaways")

    def __init__(self) -> None:
        self._rest = b""
        self._skip = len(PREFACE)
        self.goaways = 0
        """How many GOAWAY frames were left out."""

    def batches(self, data: bytes) -> Iterator[bytes]:
        """Yield the frames that are complete with these bytes, in batches; the preface comes first.

        :raises FrameTooLarge: a frame is too large. Its bytes, and all after them, are discarded.
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
    """Return the size of the frame that begins at `at`; None if its header is not complete."""
    if len(data) < at + HEADER:
        return None
    return int.from_bytes(data[at : at + 3], "big")
