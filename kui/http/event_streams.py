"""When the clients of event streams come back (WHATWG HTML, 9.2): each at a time of its own."""

from __future__ import annotations

from random import randint
from typing import Final

__all__ = ["farewell", "later"]

LATER: Final = (1000, 10_000)
"""From and to how many milliseconds clients come back when all are sent away at once."""


def later() -> int:
    """Return the milliseconds after which one client of many should come back."""
    return randint(*LATER)


def farewell() -> bytes:
    """Return the end of a stream whose client is sent away: the field that says when to come back."""
    return b"retry: %d\n\n" % later()
