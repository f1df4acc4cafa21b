"""Between the store and the readers of a process: which channels are followed, and what of them is here.

A few tasks read what topics may have missed; another compares the last ids now and then, and lets go of
channels that are not read any more. The readers of a channel are woken together: the first message of a burst
wakes a crowd at once, the others a moment later, since to wake a reader costs more than to give it a message.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any, Final

from kui.concurrency import AsyncCached
from kui.concurrency.loops import clock
from kui.concurrency.notice import Notice, checkpoint, pause
from kui.concurrency.task_group import framework_tasks

from .messages import ChannelsUnavailable, Message
from .positions import Position
from .store import Page, Store
from .topic import Topic

__all__ = ["Hub"]

LOOK: Final = 10.0
"""Seconds between two comparisons of the last ids, and for which a channel without readers is kept."""
AT_ONCE: Final = 100
"""Channels whose last ids are asked for in one call."""
KEEPERS: Final = 4
"""Tasks that read the store for topics."""
CROWD: Final = 32
"""Readers of a channel from which on they are not woken for each message of a burst."""
CROWD_REST: Final = 0.002
"""Seconds after a crowd was woken in which it is not woken again."""
PAGE: Final = 32
"""Messages that are read from the store at a time."""

logger = logging.getLogger("kui.error")


class Hub:
    """The topics of a process; the listener of its store.

    Entered and left in one task, around the life of the app.
    """

    def __init__(self, store: Store, buffer: int) -> None:
        self._store = store
        self._buffer = buffer
        self._topics: dict[str, Topic] = {}
        self._stale: dict[str, Topic] = {}
        self._work = Notice()
        self._resting: dict[
            str, bool
        ] = {}  # crowds that have been woken; True: again, once they have rested
        self._woken = Notice()

    async def __aenter__(self) -> Hub:
        self._clock = clock()
        self._work = Notice()  # both are of this loop
        self._woken = Notice()
        self._tasks = await framework_tasks().__aenter__()
        self._store.open(self)
        self._tasks.start_soon(self._store.run)
        for _ in range(KEEPERS):
            self._tasks.start_soon(self._keep)
        self._tasks.start_soon(self._look_after)
        self._tasks.start_soon(self._rest)
        try:
            await self._store.ready()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            return await self._tasks.__aexit__(kind, error, trace)
        finally:
            self._topics.clear()
            self._stale.clear()
            self._resting.clear()
            self._store.close()

    # ---- for readers

    def join(self, channels: Sequence[str], reader: object) -> list[Topic]:
        """Return the topics of channels, which are followed as long as `reader` exists and has not left."""
        new = [name for name in channels if name not in self._topics]
        for name in new:
            self._topics[name] = Topic(name, self._buffer)
        topics = [self._topics[name] for name in channels]
        for topic in topics:
            topic.readers.add(reader)
            topic.idle_since = None
        if new:
            self._store.follow(new)
        return topics

    def leave(self, topics: Sequence[Topic], reader: object) -> None:
        """Take back `join`; a reader that is only forgotten is noticed as well."""
        for topic in topics:
            topic.readers.discard(reader)

    def suspect(self, topic: Topic) -> None:
        """Note that a reader has found something in the store that the topic does not know."""
        topic.doubt()
        self._repair(topic)

    async def read(self, topic: Topic, position: Position) -> Page:
        """Return what the store has behind a position; readers that ask for the same at the same time share it.

        :raises ChannelsUnavailable: the store has not answered in time.
        """
        shared = topic.pages.get(position)
        if shared is None:

            def read() -> Generator[Any, Any, Page]:
                try:
                    page: Page = yield from self._store.read(topic.name, position, PAGE).__await__()
                finally:
                    topic.pages.pop(position, None)
                return page

            shared = topic.pages[position] = AsyncCached(read)
        return await shared

    # ---- for the store

    def followed(self, channel: str) -> None:
        topic = self._topics.get(channel)
        if topic is not None:
            topic.begin_anew()
            self._repair(topic)

    def arrived(self, channel: str, position: Position, json: bytes) -> None:
        topic = self._topics.get(channel)
        if topic is None:
            return
        if topic.arrive(Message(channel, position, json)):
            self._wake(topic)
        else:
            self._repair(topic)

    def lost(self) -> None:
        for topic in self._topics.values():
            topic.doubt()
        self._stale.clear()

    # ---- tasks

    def _wake(self, topic: Topic) -> None:
        """Wake the readers of a topic: now, or in a moment if there are many and they have just been woken.

        They are not left to rest while so much arrives that they would find it gone.
        """
        if topic.name in self._resting and topic.unannounced < self._buffer // 2:
            self._resting[topic.name] = True
            return
        topic.notify()
        if len(topic.readers) >= CROWD:
            self._resting[topic.name] = False
            self._woken.notify()

    async def _rest(self) -> None:
        while True:
            while self._resting:
                await checkpoint()  # those that were woken have their turn
                await pause(CROWD_REST)
                for name, again in list(self._resting.items()):
                    topic = self._topics.get(name)
                    if again and topic is not None:
                        topic.notify()
                        self._resting[name] = False
                    else:
                        del self._resting[name]
            await self._woken.wait()

    def _repair(self, topic: Topic) -> None:
        self._stale[topic.name] = topic
        self._work.notify()

    async def _keep(self) -> None:
        while True:
            while self._stale:
                topic = self._stale.pop(next(iter(self._stale)))
                if self._topics.get(topic.name) is topic and not topic.reading:
                    topic.reading = True
                    try:
                        await self._read(topic)
                    finally:
                        topic.reading = False
            await self._work.wait()

    async def _read(self, topic: Topic) -> None:
        """Read what a topic misses, until it is live; if the store is away, `followed` begins anew."""
        while True:
            topic.before_reading()
            generation = topic.generation
            try:
                page = await self._store.read(topic.name, topic.last, PAGE)
            except ChannelsUnavailable:
                if generation == topic.generation:
                    return
            else:
                if topic.repair(page):
                    return

    async def _look_after(self) -> None:
        while True:
            await pause(LOOK)
            self._let_go()
            names = [name for name, topic in self._topics.items() if topic.live]
            for start in range(0, len(names), AT_ONCE):
                await self._compare(names[start : start + AT_ONCE])

    def _let_go(self) -> None:
        now = self._clock()
        left = []
        for name, topic in self._topics.items():
            if topic.readers:
                continue
            if topic.idle_since is None:
                topic.idle_since = now
            elif now - topic.idle_since >= LOOK:
                left.append(name)
        for name in left:
            del self._topics[name]
        if left:
            self._store.unfollow(left)

    async def _compare(self, names: Sequence[str]) -> None:
        try:
            tails = await self._store.tails(names)
        except ChannelsUnavailable:
            await checkpoint()
            return
        for name, tail in zip(names, tails, strict=True):
            topic = self._topics.get(name)
            if topic is not None and topic.live and topic.last != tail:
                self.suspect(topic)
