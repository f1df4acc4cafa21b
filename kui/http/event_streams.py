"""Choose when clients of event streams reconnect (WHATWG HTML, section 9.2): each after another random time."""

from __future__ import annotations

from random import randint
from typing import Final

__all__ = ["farewell", "later"]

LATER: Final = (1000, 10_000)
"""The range of times, in milliseconds, after which clients reconnect if all are disconnected at once."""


def later() -> int:
    """Return the random time, in milliseconds, after which a client should reconnect."""
    return randint(*LATER)


def farewell() -> bytes:
    """Return the last bytes of a stream: the `retry` field that tells the client when to reconnect."""
    return b"retry: %d\n\n" % later()
