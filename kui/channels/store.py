"""What keeps the messages of channels: the interface that the stores share, and what they promise.

A store numbers the messages of a channel without holes, keeps the last ones, and tells its listener
of new ones. What a reader makes of it is decided in `hub` and `subscriptions`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .messages import Message
from .positions import Kept, Position

__all__ = ["Listener", "Page", "Retention", "Store"]


@dataclass(frozen=True)
class Retention:
    """How much a store keeps of a channel.

    `entries`: messages; `silence`: seconds after which a channel without any is forgotten; `keys`:
    seconds for which the key of a publish is remembered.
    """

    entries: int = 1000
    silence: float = 86_400
    keys: float = 600

    def __post_init__(self) -> None:
        if self.entries < 1 or not self.silence >= 1 or not self.keys >= 1:
            raise ValueError("a store keeps one entry at least, and each for a second at least")


class Page(NamedTuple):
    """Some messages of a channel in order, and what was kept of it at that moment."""

    kept: Kept
    messages: Sequence[Message]


class Listener(Protocol):
    """Who is told what a store learns. Every method returns at once."""

    def followed(self, channel: str) -> None:
        """Note that from now on messages of a channel arrive; there may be others since the last that did."""

    def arrived(self, channel: str, position: Position, json: bytes) -> None:
        """Note that a message has been published in a channel that is followed; perhaps told before."""

    def lost(self) -> None:
        """Note that nothing arrives any more until channels are `followed` again."""


class Store(ABC):
    """Keeps messages. Its methods may be cancelled anywhere; other callers are not affected."""

    @property
    @abstractmethod
    def available(self) -> bool:
        """True if the store can be reached, as far as it knows."""

    @property
    @abstractmethod
    def one_process(self) -> bool:
        """True if only the clients of one process meet in this store."""

    @abstractmethod
    def open(self, listener: Listener) -> None:
        """Begin, in a running loop; `listener` is told of what is followed."""

    @abstractmethod
    async def run(self) -> None:
        """Do the store's own work while it is open: a task, cancelled before `close`."""

    @abstractmethod
    async def ready(self) -> None:
        """Wait until `run` has reached what keeps the messages, or has tried to, once."""

    @abstractmethod
    def close(self) -> None:
        """End; the store may be opened again, in another loop too."""

    @abstractmethod
    async def publish(self, channel: str, json: bytes, key: str | None) -> Position:
        """Store a message; with a `key` that was used before, return the position it has had then.

        :raises ChannelsUnavailable: in bounded time; `sent` tells whether it may be stored.
        """

    @abstractmethod
    async def read(self, channel: str, after: Position | None, limit: int) -> Page:
        """Read at most `limit` messages behind `after`; from the first that is kept if that is no position here.

        A channel that is not there gets its epoch by this. None as `after` reads no messages.

        :raises ChannelsUnavailable: in bounded time.
        """

    @abstractmethod
    async def tails(self, channels: Sequence[str]) -> list[Position | None]:
        """Return the last position of each channel, None where there is none; they count as used by this.

        :raises ChannelsUnavailable: in bounded time.
        """

    @abstractmethod
    def follow(self, channels: Iterable[str]) -> None:
        """Have the listener told of channels; `followed` is called once that has begun."""

    @abstractmethod
    def unfollow(self, channels: Iterable[str]) -> None:
        """End `follow`; something may still arrive."""
