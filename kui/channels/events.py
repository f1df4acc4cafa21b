"""Channels as an event stream that a browser resumes by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kui.http.event_streams import later
from kui.responses.events import RETRY, EventSource

from .messages import ChannelsUnavailable, Message, ReaderTooSlow
from .subscriptions import Subscription

if TYPE_CHECKING:
    from typing import Self

__all__ = ["ChannelEvents"]


class ChannelEvents(EventSource):
    """The events of a subscription: made by `Channels.events`, and given to a SendEventResponse.

    The first event has an id and no data, so that a client that is cut before its first message
    comes back with it. A message becomes an event with its id. A gap becomes an event `gap`, with
    `channel`, `after` and `next` as its data and no id. Where the store is away at the beginning, the
    only event asks to come back later: a browser gives up for good on a 503.
    """

    __slots__ = ("_ended", "_opened", "_several", "_subscription")

    def __init__(self, subscription: Subscription, several: bool) -> None:
        self._subscription = subscription
        self._several = several
        self._opened = False
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._ended:
            raise StopAsyncIteration
        if not self._opened:
            return await self._open()
        try:
            item = await self._subscription.__anext__()
        except ReaderTooSlow:  # it comes back, and goes on behind what it has got
            self._subscription.close()
            raise StopAsyncIteration from None
        if not isinstance(item, Message):
            data = {"channel": item.channel, "after": item.after, "next": item.next}
            return {"event": "gap", "data": data}
        if self._several:
            return {"id": self._subscription.cursor, "data": item.event_data()}
        return item.as_event()

    async def _open(self) -> dict[str, Any]:
        try:
            await self._subscription.__aenter__()
        except ChannelsUnavailable:
            self._ended = True
            return {"retry": later()}
        self._opened = True
        return {"retry": RETRY, "id": self._subscription.cursor}
