"""Positions in channels: ids of messages, and the cursors with which clients resume.

The id of a message is `epoch-seq`. The epoch identifies the channel's history, and the sequence has no holes. So a
reader can tell by two ids whether it has missed a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from secrets import randbelow
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

__all__ = [
    "MOST_CHANNELS",
    "Kept",
    "Position",
    "bounds",
    "check_channel",
    "check_channels",
    "format_cursor",
    "new_epoch",
    "parse_cursor",
    "resumed",
]

MOST_CHANNELS: Final = 16
"""How many channels one subscription may have."""
LONGEST_CHANNEL: Final = 200
"""Limit of a channel's name, in bytes of UTF-8."""
LONGEST_CURSOR: Final = 4096
"""Limit of a cursor, in characters: clients send it in a header, of which servers accept 8 KiB."""

_VERSION: Final = "1"
_is_number_pair = re.compile(r"([1-9][0-9]{0,15})-(0|[1-9][0-9]{0,17})").fullmatch
_EPOCHS: Final = 2**53  # Lua and JavaScript represent smaller numbers exactly


class Position(NamedTuple):
    """The place of a message in its channel: the history, and the number in it."""

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Return the position of an id.

        :raises ValueError: `text` is no id.
        """
        found = _is_number_pair(text)
        if found is None or int(found[1]) >= _EPOCHS:
            raise ValueError(f"not the id of a message: {text[:60]!r}")
        return cls(int(found[1]), int(found[2]))


class Kept(NamedTuple):
    """The messages that a store has of a channel: the first number that is kept, and the last one given.

    If no message is kept, `first` is `top + 1`.
    """

    epoch: int
    first: int
    top: int


def new_epoch() -> int:
    """Return a random epoch, which no other history has in all likelihood."""
    return randbelow(_EPOCHS - 1) + 1


def bounds(kept: Kept, history: int) -> Position:
    """Return the position after which the last `history` messages come, as far as they are kept."""
    return Position(kept.epoch, max(kept.top - history, kept.first - 1))


def resumed(kept: Kept, after: Position) -> Position | None:
    """Return the position at which a reader that has seen `after` must go on if there is a gap; None if there is none.

    There is no gap if the history is the same and the next message is kept or not published yet.
    """
    if kept.epoch != after.epoch or after.seq + 1 < kept.first:
        return Position(kept.epoch, kept.first - 1)
    if after.seq > kept.top:
        return Position(kept.epoch, kept.top)
    return None


def check_channel(name: str) -> str:
    """Return `name`.

    :raises ValueError: a channel must not have this name.
    :raises TypeError: it is not a str.
    """
    if not isinstance(name, str):
        raise TypeError(f"a channel's name is a str, not {name!r}")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError("a channel's name is text that UTF-8 can hold") from None
    if not 0 < length <= LONGEST_CHANNEL or not name.isprintable():
        raise ValueError(
            f"a channel's name has 1 to {LONGEST_CHANNEL} bytes, all of them printable: {name[:60]!r}"
        )
    return name


def check_channels(names: Sequence[str]) -> tuple[str, ...]:
    """Return the channels of one subscription.

    :raises ValueError: a name is wrong or occurs twice, or there are too many channels or none.
    :raises TypeError: a name is not a str.
    """
    if not 0 < len(names) <= MOST_CHANNELS:
        raise ValueError(f"a subscription has 1 to {MOST_CHANNELS} channels, not {len(names)}")
    checked = tuple(map(check_channel, names))
    if len(set(checked)) < len(checked):
        raise ValueError("a subscription has each channel once")
    longest = sum(len(quote(name, safe="")) + 38 for name in checked)
    if len(checked) > 1 and longest > LONGEST_CURSOR:
        raise ValueError("the names of these channels are too long for one subscription")
    return checked


def format_cursor(positions: Mapping[str, Position]) -> str:
    """Return the cursor of a subscription: an id for one channel; names and ids for several."""
    if len(positions) == 1:
        return str(next(iter(positions.values())))
    entries = (f"{quote(name, safe='')}={position}" for name, position in positions.items())
    return ";".join((_VERSION, *entries))


def parse_cursor(text: str, channels: Sequence[str]) -> dict[str, Position]:
    """Return the positions of a cursor for those of its channels that are among `channels`.

    :raises ValueError: `text` is no cursor that `format_cursor` has made.

    Example: `parse_cursor("7-41", ["news"])` -> `{"news": Position(7, 41)}`.
    """
    if not isinstance(text, str) or len(text) > LONGEST_CURSOR:
        raise ValueError("not a cursor")
    version, separator, rest = text.partition(";")
    if not separator:
        if len(channels) != 1:
            raise ValueError("the cursor of one channel is none of several")
        return {channels[0]: Position.parse(text)}
    entries = rest.split(";")
    if version != _VERSION or not 1 < len(entries) <= MOST_CHANNELS:
        raise ValueError("not a cursor of this version")
    found: dict[str, Position] = {}
    for entry in entries:
        name, _, position = entry.partition("=")
        channel = unquote(name, errors="strict")
        if quote(channel, safe="") != name or channel in found:
            raise ValueError("not a cursor: its channels are not written as they were")
        found[check_channel(channel)] = Position.parse(position)
    return {channel: found[channel] for channel in channels if channel in found}
