"""The buffer of the newest messages of one channel, which all its readers in this process share.

Readers have no queues of their own: each has a position, takes the messages after it from the buffer, and waits for the
notice of the next message. Messages that are no longer buffered are read from the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from itertools import islice
from typing import Final
from weakref import WeakSet

from kui.concurrency import AsyncCached
from kui.concurrency.notice import Notice

from .messages import Message
from .positions import Position, resumed
from .store import Page

__all__ = ["Place", "Topic"]

MOST_BYTES: Final = 1 << 20
"""Limit of the messages that a topic buffers, in bytes. One message is always buffered.

The last answer of `Topic.following` may hold as much again, for a moment.
"""


class Place(Enum):
    """Where a position is if the topic does not have the message after it."""

    TIP = auto()
    """The message after it is not published yet."""
    BEHIND = auto()
    """The message after it was buffered, and is not any more."""
    ELSEWHERE = auto()
    """Unknown: the store must be read."""


class Topic:
    """The newest messages of a channel, without a hole, up to `last`.

    `live` is True while new messages are appended as they arrive; when something may be missing it
    turns False until the store has been read, which one task does at a time: it is `reading`.
    `generation` grows with each time that this begins anew:
    a position that is not in the topic, and was compared with an older one, says nothing. `wave` counts
    how often readers were woken: one that has taken all there was waits for the next wave. `unannounced`
    counts the messages that have come since. `pages` are the reads of the store that are under way for readers, by
    the position behind which they read: many readers that have fallen behind together read once.
    """

    __slots__ = (
        "_answer",
        "_asked",
        "_bytes",
        "_capacity",
        "_doubted",
        "_others",
        "_ring",
        "_seen",
        "generation",
        "idle_since",
        "last",
        "live",
        "name",
        "notice",
        "pages",
        "readers",
        "reading",
        "unannounced",
        "wave",
    )

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.last: Position | None = None
        self.live = False
        self.reading = False
        self.generation = 0
        self.wave = 0
        self.unannounced = 0
        self.pages: dict[Position, AsyncCached[Page]] = {}
        self.notice = Notice()
        self.readers: WeakSet[object] = WeakSet()
        self.idle_since: float | None = None
        self._capacity = capacity
        self._ring: deque[Message] = deque()
        self._bytes = 0
        self._asked: tuple[Position, Position, int] | None = None
        self._answer: Sequence[Message] = ()
        self._seen: Position | None = None
        self._doubted = False
        self._others: WeakSet[Notice] = WeakSet()

    def notify_also(self, notice: Notice) -> None:
        """Also notify the notice of a reader of several channels, as long as it exists."""
        self._others.add(notice)

    def notify(self) -> None:
        """Wake the readers that wait for this topic."""
        self.wave += 1
        self.unannounced = 0
        self.notice.notify()
        if self._others:
            for notice in list(self._others):
                notice.notify()

    # ---- for readers

    def has_more(self, position: Position) -> bool:
        """True if the message after a position is buffered."""
        last = self.last
        return (
            last is not None
            and position.epoch == last.epoch
            and 0 < last.seq - position.seq <= len(self._ring)
        )

    def following(self, position: Position, limit: int) -> Sequence[Message]:
        """Return the next messages after a position, the last one first. `has_more` must be True.

        Readers that ask for the same messages, one after the other, get the same list.
        """
        assert self.last is not None
        asked = position, self.last, limit
        if asked != self._asked:
            behind = self.last.seq - position.seq
            self._asked = asked
            self._answer = list(islice(reversed(self._ring), max(behind - limit, 0), behind))
        return self._answer

    def place(self, position: Position) -> Place:
        """Return where `position` is if the message after it is not buffered."""
        last = self.last
        if last is None or position.epoch != last.epoch or position.seq > last.seq:
            return Place.ELSEWHERE
        return Place.TIP if position.seq == last.seq else Place.BEHIND

    @property
    def first(self) -> Position:
        """The position before the first buffered message."""
        assert self.last is not None
        return Position(self.last.epoch, self.last.seq - len(self._ring))

    # ---- for the hub

    def arrive(self, message: Message) -> bool:
        """Append a published message without waking readers. Return False if the store must be read first."""
        last, position = self.last, message.position
        if self.live and last is not None and position.epoch == last.epoch:
            if position.seq <= last.seq:
                return True
            if position.seq == last.seq + 1:
                self._append(message)
                return True
        self._seen = position
        self.live = False
        return False

    def doubt(self) -> None:
        """From now on append nothing until the store was read."""
        self.live = False
        self._doubted = True

    def begin_anew(self) -> None:
        """Do what `doubt` does, and begin a new generation."""
        self.doubt()
        self.generation += 1

    def before_reading(self) -> None:
        """Record that the store is read now: messages that arrive meanwhile may be missing in its answer."""
        self._seen = None
        self._doubted = False

    def repair(self, page: Page) -> bool:
        """Append the messages that the store has after `last`. Return True if nothing is missing now."""
        kept = page.kept
        if self.last is None:
            self.last = Position(kept.epoch, kept.top)
        elif (there := resumed(kept, self.last)) is not None:
            self._restart(there)
        elif kept.top - self.last.seq > self._capacity:
            self._restart(Position(kept.epoch, kept.top))  # each reader reads what it needs
        last = self.last
        for message in page.messages:
            if message.position.epoch == last.epoch and message.position.seq == last.seq + 1:
                self._append(message)
                last = message.position
        complete = last.seq >= kept.top and self._covers(self._seen)
        self.live = complete and not self._doubted
        self.notify()
        return self.live

    def _covers(self, seen: Position | None) -> bool:
        last = self.last
        return seen is None or (
            last is not None and seen.epoch == last.epoch and seen.seq <= last.seq
        )

    def _restart(self, there: Position) -> None:
        self._ring.clear()
        self._bytes = 0
        self.last = there
        self.generation += 1

    def _append(self, message: Message) -> None:
        self._ring.append(message)
        self.unannounced += 1
        self._bytes += len(message.json)
        self.last = message.position
        while len(self._ring) > self._capacity or (
            self._bytes > MOST_BYTES and len(self._ring) > 1
        ):
            self._bytes -= len(self._ring.popleft().json)
