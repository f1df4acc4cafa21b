"""A reader of channels: its positions, and the next message that it gets.

A reader has no task of its own. It may be left and cancelled anywhere, because its position changes only when it
returns a message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from kui.concurrency.cancel import until
from kui.concurrency.loops import clock
from kui.concurrency.notice import Notice, checkpoint
from kui.exceptions import HTTPException

from .hub import Hub
from .messages import ChannelsUnavailable, Gap, Message, ReaderTooSlow
from .positions import Position, bounds, format_cursor, resumed
from .store import Store
from .topic import Place, Topic

if TYPE_CHECKING:
    from typing import Self

__all__ = ["OVERFLOWS", "Allow", "Overflow", "SharedReading", "Subscription"]

Allow: TypeAlias = Callable[[str], Awaitable[bool]]
Overflow: TypeAlias = Literal["catch_up", "drop_oldest", "disconnect"]

TURN: Final = 128
"""Messages of a channel that a reader takes at a time from what is here, after a checkpoint."""

OVERFLOWS: Final = ("catch_up", "drop_oldest", "disconnect")


class SharedReading:
    """The objects that all subscriptions of a process share: the hub, the store, and `allow`."""

    __slots__ = ("allow", "hub", "store", "timeout")

    def __init__(self, hub: Hub, store: Store, allow: Allow | None, timeout: float) -> None:
        self.hub = hub
        self.store = store
        self.allow = allow
        self.timeout = timeout


class Subscription:
    """The messages of some channels: an async iterable of `Message` and `Gap`, made by `Channels.subscribe`.

    It is opened by its first message, or by an `async with` block, so that a refusal is known before a WebSocket is
    accepted. It ends when the loop is left or the subscription is garbage collected, and `max_age` seconds after the
    opening. Only one task may read at a time. While the store cannot be reached, reading waits. If reading is
    cancelled, no message is lost.

    :raises HTTPException: 403 at the opening, if `allow` refuses a channel.
    :raises ChannelsUnavailable: at the opening, if the store does not answer in time.
    :raises ReaderTooSlow: while reading, with `overflow="disconnect"`.

    Example::

        async with channels.subscribe("news", after=cursor) as subscription:
            await websocket.accept()
            async for message in subscription:
                await websocket.send_json([subscription.cursor, message.data])
    """

    __slots__ = (
        "__weakref__",
        "_after",
        "_channels",
        "_deadline",
        "_history",
        "_max_age",
        "_notice",
        "_overflow",
        "_page",
        "_reading",
        "_topics",
        "_tracks",
        "_turn",
    )

    def __init__(
        self,
        reading: SharedReading,
        channels: Sequence[str],
        after: Mapping[str, Position],
        history: int,
        overflow: Overflow,
        max_age: float | None,
    ) -> None:
        self._reading = reading
        self._channels = channels
        self._after = after
        self._history = history
        self._overflow: Overflow = overflow
        self._max_age = max_age
        self._deadline: float | None = None
        self._topics: list[Topic] = []
        self._tracks: list[_Track] = []
        self._notice: Notice | None = None
        self._turn = 0
        self._page: list[Message] = []  # of the only track, if nothing but the track has a say

    @property
    def cursor(self) -> str:
        """The position after the last message that was returned. `after=` takes it.

        :raises RuntimeError: the subscription is not open yet.
        """
        if not self._tracks:
            raise RuntimeError("a subscription has a cursor once it is open")
        if len(self._tracks) == 1:
            return str(self._tracks[0].position)
        return format_cursor({track.topic.name: track.position for track in self._tracks})

    async def __aenter__(self) -> Self:
        if self._tracks or self._deadline is not None:
            raise RuntimeError("a subscription is entered once, before it is read")
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the subscription. Reading it afterwards raises StopAsyncIteration."""
        self._reading.hub.leave(self._topics, self)
        self._deadline = 0.0
        self._page = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Gap:
        if self._page:
            return self._page.pop()
        if not self._tracks and self._deadline is None:
            await self._open()
        elif any(track.has_turn() for track in self._tracks):
            await checkpoint()
        while self._deadline is None or clock()() < self._deadline:
            behind = [track for track in self._tracks if track.must_read()]
            for track in behind:
                await self._read(track)
            item = self._take()
            if item is not None:
                return item
            if not behind:
                await self._next_notice()
        raise StopAsyncIteration

    async def _open(self) -> None:
        reading = self._reading
        if reading.allow is not None:
            for channel in self._channels:
                if await reading.allow(channel) is not True:
                    raise HTTPException(403, content="This channel is not for you.")
        self._topics = reading.hub.join(self._channels, self)
        notice = self._topics[0].notice
        if len(self._topics) > 1:
            notice = Notice()
            for topic in self._topics:
                topic.notify_also(notice)
        self._notice = notice
        opened = clock()()
        found = await until(opened + reading.timeout, self._locate)
        if found is None:
            raise ChannelsUnavailable("the store of the channels has not answered in time")
        if self._max_age is not None:
            self._deadline = opened + self._max_age
        self._tracks = [
            _Track(topic, position, self._overflow)
            for topic, position in zip(self._topics, found[0], strict=True)
        ]
        if len(self._tracks) == 1 and self._max_age is None:
            self._page = self._tracks[0].page

    async def _locate(self) -> list[Position]:
        """Return the position at which to begin in each channel."""
        await checkpoint()
        assert self._notice is not None
        positions = []
        for topic in self._topics:
            while not topic.live:
                await self._notice.wait()
            assert topic.last is not None
            position = self._after.get(topic.name, topic.last)
            if self._history and topic.name not in self._after:
                page = await self._reading.store.read(topic.name, None, 0)
                position = bounds(page.kept, self._history)
            positions.append(position)
        return positions

    def _take(self) -> Message | Gap | None:
        """Return the next item that is here; each channel has its turn."""
        tracks = self._tracks
        if len(tracks) == 1:
            return tracks[0].take()
        for _ in tracks:
            self._turn = (self._turn + 1) % len(tracks)
            item = tracks[self._turn].take()
            if item is not None:
                return item
        return None

    async def _read(self, track: _Track) -> None:
        """Read a page of the store for a track."""
        hub, topic = self._reading.hub, track.topic
        try:
            page = await hub.read(topic, track.position)
        except ChannelsUnavailable:
            hub.suspect(topic)
            return
        track.give(page.messages, resumed(page.kept, track.position))
        if track.must_read():
            # The store has nothing after this position, and the topic has another one.
            hub.suspect(topic)

    def _next_notice(self) -> Awaitable[object]:
        """Return an awaitable that waits for the next wake-up, or for the end."""
        assert self._notice is not None
        if self._deadline is None:
            return self._notice.wait()
        return until(self._deadline, self._notice.wait)


class _Track:
    """A reader's position in one channel.

    `page` has the next messages without a hole, the last one first. It is empty while a gap must be returned.
    """

    __slots__ = (
        "_behind_gap",
        "_end",
        "_gap",
        "_generation",
        "_overflow",
        "_wave",
        "page",
        "topic",
    )

    def __init__(self, topic: Topic, position: Position, overflow: Overflow) -> None:
        self.topic = topic
        self.page: list[Message] = []
        self._end = position  # the position after the page
        self._overflow = overflow
        self._generation = -1  # the topic's, when the position was last found in it
        self._wave = -1  # the topic's, when all that was there has been taken
        self._gap: Position | None = None
        self._behind_gap: Sequence[Message] = ()

    @property
    def position(self) -> Position:
        """The position after the last message that the reader got."""
        if not self.page:
            return self._end
        following = self.page[-1].position
        return Position(following.epoch, following.seq - 1)

    def has_turn(self) -> bool:
        """True if `take` will take more from the topic, or tell a gap."""
        if self._gap is not None:
            return True
        return not self.page and self._was_woken() and self.topic.has_more(self._end)

    def take(self) -> Message | Gap | None:
        """Return the next item if it is buffered, and move the position; otherwise None.

        :raises ReaderTooSlow: the reader has fallen behind, with `overflow="disconnect"`.
        """
        if self.page:
            return self.page.pop()
        if self._gap is not None:
            there, self._gap = self._gap, None
            return self._skip(there, self._behind_gap)
        if not self._was_woken():
            return None
        topic = self.topic
        if topic.has_more(self._end):
            self._generation = topic.generation
            found = topic.following(self._end, TURN)
            if len(found) < TURN:
                self._wave = topic.wave
            self._fill(found)
            return self.page.pop()
        place = topic.place(self._end)
        if place is Place.TIP:
            self._generation = topic.generation
            self._wave = topic.wave
        elif place is Place.BEHIND and self._has_fallen_behind():
            if self._overflow == "disconnect":
                raise ReaderTooSlow(f"a reader of {topic.name!r} has fallen behind")
            return self._skip(topic.first)
        return None

    def must_read(self) -> bool:
        """True if the next message must be read from the store."""
        topic = self.topic
        if self.page or self._gap is not None or not self._was_woken() or not topic.live:
            return False
        if topic.has_more(self._end):
            return False
        place = topic.place(self._end)
        if place is Place.BEHIND:
            return not self._has_fallen_behind()
        if place is Place.TIP:
            return False
        last = topic.last
        ahead = last is not None and self._end.epoch == last.epoch
        return not (ahead and self._generation == topic.generation)

    def give(self, messages: Iterable[Message], gap: Position | None) -> None:
        """Add the messages that the store has after the position."""
        seq = (gap or self._end).seq
        page = [message for message in messages if message.position.seq > seq][::-1]
        if gap is not None:
            self._gap, self._behind_gap = gap, page
        elif page:
            self._fill(page)
        else:
            self._generation = self.topic.generation

    def _was_woken(self) -> bool:
        """True if readers were woken since this one took all: what comes meanwhile is announced together."""
        return self._wave != self.topic.wave

    def _has_fallen_behind(self) -> bool:
        """True if the position was in the topic before, and the reader does not catch up from the store."""
        return self._overflow != "catch_up" and self._generation == self.topic.generation

    def _fill(self, page: Sequence[Message]) -> None:
        self.page.extend(page)
        self._end = page[0].position

    def _skip(self, there: Position, page: Sequence[Message] = ()) -> Gap:
        gap = Gap(self.topic.name, str(self._end), str(Position(there.epoch, there.seq + 1)))
        self._end = there
        if page:
            self._fill(page)
        return gap
