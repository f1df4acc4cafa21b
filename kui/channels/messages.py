"""The messages and gaps that a reader of channels gets, and the exceptions of channels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kui.http.exceptions import Unavailable
from kui.responses.events import EncodedEvent, encode_event

from .positions import Position

__all__ = ["ChannelsUnavailable", "Gap", "Message", "ReaderTooSlow"]


class ChannelsUnavailable(Unavailable):
    """Raised if the store of the channels cannot be reached, or has not answered in time.

    If the handler does not catch it, the client gets 503; a request for an event stream is told to reconnect later.

    `sent` is True if a message may have been published nevertheless. Then publish again with the same `key`, so that it
    is not stored twice.
    """

    def __init__(self, reason: str, *, sent: bool = False) -> None:
        super().__init__(retry_after=1)
        self.reason = reason
        self.sent = sent

    def __str__(self) -> str:
        return self.reason


class ReaderTooSlow(Exception):
    """Raised if a subscription with `overflow="disconnect"` has fallen behind the buffer of its channel."""


class Message:
    """A message of a channel. All subscribers of a process share the object.

    - `channel`: the name of the channel.
    - `id`: the id within the channel.
    - `json`: the published value, as JSON.
    """

    __slots__ = ("_event", "channel", "json", "position")

    def __init__(self, channel: str, position: Position, json: bytes) -> None:
        self.channel = channel
        self.position = position
        self.json = json
        self._event: EncodedEvent | None = None

    def __repr__(self) -> str:
        return f"<Message {self.channel!r} {self.id}>"

    @property
    def id(self) -> str:
        """The id within the channel. `after=` takes it."""
        return str(self.position)

    @property
    def data(self) -> Any:
        """The published value. It is decoded anew each time, so that the caller may change it."""
        return json.loads(self.json)

    def as_event(self) -> EncodedEvent:
        """Return the message as an event with its id. It is encoded once for all readers."""
        if self._event is None:
            self._event = EncodedEvent(encode_event({"id": self.id, "data": self.event_data()}))
        return self._event

    def event_data(self) -> str:
        """Return the data of its event: a published str unchanged, any other value as JSON."""
        if self.json.startswith(b'"'):
            text: str = json.loads(self.json)
            return text
        return self.json.decode()


@dataclass(frozen=True)
class Gap:
    """Some messages of a channel are lost to this reader.

    - `channel`: the name of the channel.
    - `after`: the id of the last message before the gap.
    - `next`: the id of the first message after the gap, which may not be published yet.
    """

    channel: str
    after: str
    next: str
