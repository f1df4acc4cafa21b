"""Store channels in the memory of one process: for a service with one worker, for development and for tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from kui.concurrency.loops import clock
from kui.concurrency.notice import checkpoint

from .messages import Message
from .positions import Kept, Position, new_epoch
from .store import Listener, Page, Retention, Store

__all__ = ["MemoryStore"]


class _History:
    """The last messages of a channel."""

    __slots__ = ("epoch", "messages", "top", "used")

    def __init__(self, entries: int) -> None:
        self.epoch = new_epoch()
        self.messages: deque[Message] = deque(maxlen=entries)
        self.top = 0
        self.used = 0.0

    @property
    def kept(self) -> Kept:
        return Kept(self.epoch, self.top - len(self.messages) + 1, self.top)


class _Histories:
    """Histories by channel. One that is not used for `silence` seconds is deleted."""

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._found: dict[str, _History] = {}  # the first is unused for the longest time

    def __len__(self) -> int:
        return len(self._found)

    def take(self, channel: str, now: float) -> _History | None:
        """Remove the history of a channel, and return it; None if there is none."""
        self._forget(now)
        return self._found.pop(channel, None)

    def put(self, channel: str, history: _History, now: float) -> None:
        """Add a history that is used now."""
        history.used = now
        self._found[channel] = history

    def clear(self) -> None:
        """Delete all histories."""
        self._found.clear()

    def _forget(self, now: float) -> None:
        while self._found:
            channel = next(iter(self._found))
            if now - self._found[channel].used < self._silence:
                return
            del self._found[channel]


class MemoryStore(Store):
    """Keeps messages in this process, as long as the store is open."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._written = _Histories(retention.silence)
        self._unwritten = _Histories(retention.unwritten)
        self._keys: dict[tuple[str, str], tuple[Position, float]] = {}
        self._followed: set[str] = set()
        self._listener: Listener | None = None
        self._clock: Callable[[], float] = lambda: 0.0

    @property
    def available(self) -> bool:
        return self._listener is not None

    @property
    def one_process(self) -> bool:
        return True

    def open(self, listener: Listener) -> None:
        self._clock = clock()
        self._listener = listener

    async def run(self) -> None:
        await checkpoint()

    async def ready(self) -> None:
        await checkpoint()

    def close(self) -> None:
        self._listener = None
        self._written.clear()
        self._unwritten.clear()
        self._keys.clear()
        self._followed.clear()

    async def publish(self, channel: str, json: bytes, key: str | None) -> Position:
        await checkpoint()
        now = self._clock()
        self._forget_keys(now)
        if key is not None and (channel, key) in self._keys:
            return self._keys[channel, key][0]
        history = self._take(channel, now) or self._new()
        history.top += 1
        self._put(channel, history, now)
        position = Position(history.epoch, history.top)
        history.messages.append(Message(channel, position, json))
        if key is not None:
            self._keys[channel, key] = position, now + self._retention.keys
        if self._listener is not None and channel in self._followed:
            self._listener.arrived(channel, position, json)
        return position

    async def read(self, channel: str, after: Position | None, limit: int) -> Page:
        await checkpoint()
        now = self._clock()
        history = self._take(channel, now) or self._new()
        self._put(channel, history, now)
        kept = history.kept
        if after is None:
            return Page(kept, ())
        skipped = max(after.seq + 1 - kept.first, 0) if after.epoch == kept.epoch else 0
        return Page(kept, list(islice(history.messages, skipped, skipped + limit)))

    async def tails(self, channels: Sequence[str]) -> list[Position | None]:
        await checkpoint()
        now = self._clock()
        found: list[Position | None] = []
        for channel in channels:
            history = self._take(channel, now)
            if history is None:
                found.append(None)
            else:
                self._put(channel, history, now)
                found.append(Position(history.epoch, history.top))
        return found

    def follow(self, channels: Iterable[str]) -> None:
        for channel in channels:
            self._followed.add(channel)
            if self._listener is not None:
                self._listener.followed(channel)

    def unfollow(self, channels: Iterable[str]) -> None:
        self._followed.difference_update(channels)

    def _take(self, channel: str, now: float) -> _History | None:
        return self._written.take(channel, now) or self._unwritten.take(channel, now)

    def _new(self) -> _History:
        return _History(self._retention.entries)

    def _put(self, channel: str, history: _History, now: float) -> None:
        (self._written if history.top else self._unwritten).put(channel, history, now)

    def _forget_keys(self, now: float) -> None:
        while self._keys:
            known = next(iter(self._keys))
            if self._keys[known][1] > now:
                return
            del self._keys[known]
