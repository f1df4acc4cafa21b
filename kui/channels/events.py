"""Send channels as an event stream that a browser resumes by itself."""

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
    """The events of a subscription. `Channels.events` makes it, and a SendEventResponse sends it.

    The first event has an id and no data, so that a client that is disconnected before its first message resumes from
    it. A message becomes an event with the message's id. A gap becomes an event `gap` without an id, whose data is
    `channel`, `after` and `next`. If the store cannot be reached at the beginning, the only event tells the client to
    reconnect later, because a browser never reconnects after a 503.
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
        except ReaderTooSlow:  # the client reconnects, and resumes after its last event
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
