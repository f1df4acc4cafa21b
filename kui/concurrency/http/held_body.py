"""What was read of a request's body, and which reader may still have it: no waiting, no messages from a server.

A body arrives once, and may be wanted by several: middlewares, the handler, an app that is mounted.
A reader that keeps what it reads (`request.body`) leaves it for all others; one that is given the body to read it
once (`request.stream()`) is the only one.
"""

from __future__ import annotations

from baize.typing import Message

__all__ = ["NEXT_APP", "HeldBody"]

NEXT_APP = "the next app"
"""The reader that calls the ASGI `receive` itself."""


class HeldBody:
    """The state of one body.

    - `chunks`: what was read and kept, in order; `size` is its length in bytes.
    - `complete`: True if that is all of it.
    - `reader`: the name of the reader that was given the body to read it once, such as `"request.stream()"`, or None.
    - `taken`: True if that reader has taken any of it.
    """

    __slots__ = ("chunks", "complete", "reader", "size", "taken")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.size = 0
        self.complete = False
        self.reader: str | None = None
        self.taken = False

    def keep(self, chunk: bytes) -> None:
        """Add what was read next; `b""` completes the body."""
        if chunk:
            self.chunks.append(chunk)
            self.size += len(chunk)
        else:
            self.complete = True

    def value(self) -> bytes:
        """Return all that was kept, as one."""
        if len(self.chunks) != 1:
            self.chunks = [b"".join(self.chunks)]
        return self.chunks[0]

    def first_chunks(self) -> list[bytes]:
        """Return the chunks with which a reader begins, and which it takes out of the list; `b""` ends a whole body.

        :raises RuntimeError: if the body was given to another.
        """
        if self.complete:
            return [*filter(None, self.chunks), b""]
        self.check()
        return self.chunks

    def give(self, reader: str) -> None:
        """Note that this reader alone reads the body from now on, unless all of it is kept."""
        if not self.complete:
            self.reader = reader

    def check(self) -> None:
        """Raise RuntimeError if a reader was given the body."""
        if self.reader is not None:
            how = "to" if self.reader == NEXT_APP else "away by"
            raise RuntimeError(
                f"the body was given {how} {self.reader}; it can be read once, or again and again"
                " where request.body is read first"
            )

    @property
    def to_hand_on(self) -> bool:
        """True if the next app must begin with `hand_on`: the body was read, or may be read, by another reader."""
        if self.reader is None:
            return bool(self.chunks) or self.complete
        return self.reader != NEXT_APP

    def hand_on(self, over: bool) -> Message:
        """Return the message with which the next app gets what was kept.

        :param over: True if the body has been received to its end.
        :raises RuntimeError: if another reader was given the body, unless that was empty.
        """
        if self.reader is not None and (self.taken or not over):
            self.check()
        self.reader = NEXT_APP
        self.taken = True
        return {"type": "http.request", "body": self.value(), "more_body": not over}
