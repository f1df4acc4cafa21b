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

    def __init__(self, entries: int, now: float) -> None:
        self.epoch = new_epoch()
        self.messages: deque[Message] = deque(maxlen=entries)
        self.top = 0
        self.used = now

    @property
    def kept(self) -> Kept:
        return Kept(self.epoch, self.top - len(self.messages) + 1, self.top)


class MemoryStore(Store):
    """Keeps messages in this process, as long as the store is open."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._histories: dict[str, _History] = {}
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
        self._histories.clear()
        self._keys.clear()
        self._followed.clear()

    async def publish(self, channel: str, json: bytes, key: str | None) -> Position:
        await checkpoint()
        now = self._clock()
        self._forget_keys(now)
        if key is not None and (channel, key) in self._keys:
            return self._keys[channel, key][0]
        history = self._history(channel)
        history.top += 1
        position = Position(history.epoch, history.top)
        history.messages.append(Message(channel, position, json))
        if key is not None:
            self._keys[channel, key] = position, now + self._retention.keys
        if self._listener is not None and channel in self._followed:
            self._listener.arrived(channel, position, json)
        return position

    async def read(self, channel: str, after: Position | None, limit: int) -> Page:
        await checkpoint()
        history = self._history(channel)
        kept = history.kept
        if after is None:
            return Page(kept, ())
        skipped = max(after.seq + 1 - kept.first, 0) if after.epoch == kept.epoch else 0
        return Page(kept, list(islice(history.messages, skipped, skipped + limit)))

    async def tails(self, channels: Sequence[str]) -> list[Position | None]:
        await checkpoint()
        self._forget_silent()
        found: list[Position | None] = []
        for channel in channels:
            known = channel in self._histories
            history = self._history(channel) if known else None
            found.append(None if history is None else Position(history.epoch, history.top))
        return found

    def follow(self, channels: Iterable[str]) -> None:
        for channel in channels:
            self._followed.add(channel)
            if self._listener is not None:
                self._listener.followed(channel)

    def unfollow(self, channels: Iterable[str]) -> None:
        self._followed.difference_update(channels)

    def _history(self, channel: str) -> _History:
        """Return the history of a channel, and mark it as used."""
        now = self._clock()
        history = self._histories.pop(channel, None)
        if history is None or now - history.used >= self._retention.silence:
            history = _History(self._retention.entries, now)
        history.used = now
        # Moved to the end: the first one is unused for the longest time.
        self._histories[channel] = history
        return history

    def _forget_silent(self) -> None:
        oldest = self._clock() - self._retention.silence
        while self._histories:
            channel = next(iter(self._histories))
            if self._histories[channel].used > oldest:
                return
            del self._histories[channel]

    def _forget_keys(self, now: float) -> None:
        while self._keys:
            known = next(iter(self._keys))
            if self._keys[known][1] > now:
                return
            del self._keys[known]
