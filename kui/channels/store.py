"""The interface of the stores that keep the messages of channels.

A store numbers the messages of a channel without holes, keeps the last ones, and reports new ones to its listener.
`hub` and `subscriptions` pass them on to readers.
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

    - `entries`: how many messages.
    - `silence`: seconds after which an unused channel is deleted.
    - `keys`: seconds for which the key of a publish is kept.
    """

    entries: int = 1000
    silence: float = 86_400
    keys: float = 600

    def __post_init__(self) -> None:
        if self.entries < 1 or not self.silence >= 1 or not self.keys >= 1:
            raise ValueError("a store keeps one entry at least, and each for a second at least")

    @property
    def unwritten(self) -> float:
        """Seconds after which an unused channel is deleted in which nothing was ever published.

        It is short, because clients may choose the names of channels that they subscribe to.
        """
        return min(120, self.silence)


class Page(NamedTuple):
    """Some messages of a channel in order, and the range that was kept at that moment."""

    kept: Kept
    messages: Sequence[Message]


class Listener(Protocol):
    """Receives the reports of a store. Its methods must return at once."""

    def followed(self, channel: str) -> None:
        """Messages of a channel arrive from now on. Others may have been missed before."""

    def arrived(self, channel: str, position: Position, json: bytes) -> None:
        """A message was published in a channel that is followed. It may have been reported before."""

    def lost(self) -> None:
        """No message arrives any more until channels are `followed` again."""


class Store(ABC):
    """Keeps messages. The cancellation of a call does not affect other callers."""

    @property
    @abstractmethod
    def available(self) -> bool:
        """True if the store could be reached last."""

    @property
    @abstractmethod
    def one_process(self) -> bool:
        """True if the store is not shared with other processes."""

    @abstractmethod
    def open(self, listener: Listener) -> None:
        """Open the store in the running loop. `listener` gets the reports about followed channels."""

    @abstractmethod
    async def run(self) -> None:
        """Run the store's own task while it is open. The caller must cancel this before `close`."""

    @abstractmethod
    async def ready(self) -> None:
        """Wait until `run` has connected to the server, or has failed to once."""

    @abstractmethod
    def close(self) -> None:
        """Close the store. It may be opened again, also in another loop."""

    @abstractmethod
    async def publish(self, channel: str, json: bytes, key: str | None) -> Position:
        """Store a message, and return its position; if `key` was used before, store nothing and return that position.

        :raises ChannelsUnavailable: within the timeout; `sent` is True if the message may be stored.
        """

    @abstractmethod
    async def read(self, channel: str, after: Position | None, limit: int) -> Page:
        """Read at most `limit` messages after a position. A channel that does not exist is created.

        :param after: None reads no messages. If it is no position of this history, reading begins with the first
            message that is kept.
        :raises ChannelsUnavailable: within the timeout.
        """

    @abstractmethod
    async def tails(self, channels: Sequence[str]) -> list[Position | None]:
        """Return the last position of each channel, or None, and mark the channels as used.

        :raises ChannelsUnavailable: within the timeout.
        """

    @abstractmethod
    def follow(self, channels: Iterable[str]) -> None:
        """Begin to report channels to the listener. Its `followed` is called once that has begun."""

    @abstractmethod
    def unfollow(self, channels: Iterable[str]) -> None:
        """Stop reporting channels. Some messages may still be reported."""
