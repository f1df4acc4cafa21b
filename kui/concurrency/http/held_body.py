"""What was read of a request's body, and which reader may still read it. Nothing here waits.

A body arrives once, but middlewares, the handler and a mounted app may all want to read it. A reader that keeps what it
reads (`request.body`) leaves the body for all others. A reader that takes the body away (`request.stream()`) is the
only one.
"""

from __future__ import annotations

from baize.typing import Message

__all__ = ["NEXT_APP", "HeldBody"]

NEXT_APP = "the next app"
"""The name of the reader that calls the ASGI `receive` itself."""


class HeldBody:
    """The state of one body.

    - `chunks`: what was read and kept, in order.
    - `size`: the length of `chunks`, in bytes.
    - `complete`: True if `chunks` is the whole body.
    - `keepers`: how many tasks are reading the body to keep it.
    - `reader`: the name of the only reader that may read the body, such as `"request.stream()"`, or None.
    - `taken`: True if that reader has taken a part of it.
    """

    __slots__ = ("chunks", "complete", "keepers", "reader", "size", "taken")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.size = 0
        self.complete = False
        self.keepers = 0
        self.reader: str | None = None
        self.taken = False

    def keep(self, chunk: bytes) -> None:
        """Add what was read next."""
        if chunk:
            self.chunks.append(chunk)
            self.size += len(chunk)

    def value(self) -> bytes:
        """Return what was kept, as one bytes object."""
        if len(self.chunks) != 1:
            self.chunks = [b"".join(self.chunks)]
        return self.chunks[0]

    def first_chunks(self) -> list[bytes]:
        """Return a list of the chunks that were kept, with which a new reader begins.

        If the body is complete, the list is a copy that ends with `b""`. Otherwise it is `chunks` itself, from which
        the reader must remove what it takes.

        :raises RuntimeError: the body was given to another reader.
        """
        if self.complete:
            return [*filter(None, self.chunks), b""]
        self.check()
        return self.chunks

    def give(self, reader: str) -> None:
        """Make `reader` the only reader, unless the whole body is kept."""
        if not self.complete:
            self.reader = reader

    def check(self) -> None:
        """Check that no reader was given the body.

        :raises RuntimeError: it was.
        """
        if self.reader is not None:
            how = "to" if self.reader == NEXT_APP else "away by"
            raise RuntimeError(
                f"the body was given {how} {self.reader}; it can be read once, or again and again"
                " where request.body is read first"
            )

    def check_keepers(self) -> None:
        """Check that no task is reading the body to keep it.

        :raises RuntimeError: one is.
        """
        if self.keepers and not self.complete:
            raise RuntimeError("another task is reading request.body; await it here as well")

    @property
    def to_hand_on(self) -> bool:
        """True if the next app must begin with `hand_on`: a part was or is being kept, or another reader has the body."""
        if self.reader is None:
            return bool(self.chunks or self.keepers) or self.complete
        return self.reader != NEXT_APP

    def hand_on(self, over: bool) -> Message:
        """Return an `http.request` message with what was kept, for the next app, which is the reader from now on.

        :param over: True if the body has been received to its end.
        :raises RuntimeError: another task is reading the body, or another reader was given it, unless it was empty.
        """
        self.check_keepers()
        if self.reader is not None and (self.taken or not over):
            self.check()
        self.reader = NEXT_APP
        self.taken = True
        return {"type": "http.request", "body": self.value(), "more_body": not over}
