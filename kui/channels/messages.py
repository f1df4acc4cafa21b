"""What a reader of channels is given, and what can go wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kui.http.exceptions import Unavailable
from kui.responses.events import EncodedEvent, encode_event

from .positions import Position

__all__ = ["ChannelsUnavailable", "Gap", "Message", "ReaderTooSlow"]


class ChannelsUnavailable(Unavailable):
    """The store of the channels cannot be reached, or has not answered in time.

    If the handler does not catch it the answer is 503; a request for an event stream is asked to come back later.

    `sent` is True if a message may have been published all the same: then publish again with the
    same `key`, which does no harm.
    """

    def __init__(self, reason: str, *, sent: bool = False) -> None:
        super().__init__(retry_after=1)
        self.reason = reason
        self.sent = sent

    def __str__(self) -> str:
        return self.reason


class ReaderTooSlow(Exception):
    """A subscription with `overflow="disconnect"` has fallen behind what is buffered for it."""


class Message:
    """A message of a channel. It is shared by all subscribers of a process.

    `channel` is its channel's name, `id` its id there, `json` what was published, as JSON.
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
        """The id within the channel, as `after=` takes it."""
        return str(self.position)

    @property
    def data(self) -> Any:
        """What was published; decoded anew each time, so that the caller owns it."""
        return json.loads(self.json)

    def as_event(self) -> EncodedEvent:
        """Return the message as an event of an event stream, with its id; encoded once for all readers."""
        if self._event is None:
            self._event = EncodedEvent(encode_event({"id": self.id, "data": self.event_data()}))
        return self._event

    def event_data(self) -> str:
        """Return the data of its event: a published str as it is, all else as JSON."""
        if self.json.startswith(b'"'):
            text: str = json.loads(self.json)
            return text
        return self.json.decode()


@dataclass(frozen=True)
class Gap:
    """Some messages of `channel` after the id `after` are lost to this reader; it goes on with `next`.

    `next` is the id of the next message that it will be given, now or once there is one.
    """

    channel: str
    after: str
    next: str
