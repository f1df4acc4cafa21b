"""`Channels`: publish a message in one worker, and read it in all workers."""

from __future__ import annotations

import math
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from kui.concurrency import is_async
from kui.exceptions import HTTPException
from kui.lifespan import workers
from kui.responses.encode import to_json

from .events import ChannelEvents
from .hub import Hub
from .memory import MemoryStore
from .positions import check_channel, check_channels, parse_cursor
from .store import Retention, Store
from .subscriptions import OVERFLOWS, Allow, Overflow, SharedReading, Subscription

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Channels"]

LONGEST_KEY: Final = 200
"""Limit of the key of a publish, in characters."""


class Channels:
    """Named channels, in which messages are published and read. It is a resource of the app.

    Without a URL the channels are in the memory of one process. With a URL they are in Redis (7 or later) or Valkey,
    which all workers share. Ids, guarantees and errors are the same.

    :param url: `redis://user:password@host:6379/0`, `rediss://...` (TLS) or `unix:///path`. It needs the package
        coredis, which the extra `redis` installs.
    :param allow: an `async def` of a channel's name. It is called within the request, for each channel, whenever a
        subscription is opened, also when it is resumed. If it does not return True, the client gets 403.
    :param max_age: seconds after which a subscription ends, so that `allow` is called again; None for never.
    :param entries: how many messages of a channel are kept.
    :param silence: seconds after which a channel that is neither read nor written is deleted.
    :param buffer: how many messages of each channel a process keeps in memory.
    :param max_size: limit of a message, in bytes of JSON.
    :param timeout: seconds that a call may take before ChannelsUnavailable is raised.
    :param prefix: the beginning of all keys in Redis.
    :raises ValueError: an argument cannot work; TypeError if its type is wrong.
    :raises ImportError: coredis is not installed.

    Example::

        channels = Channels("redis://localhost")
        app = Kui(resources=[channels])

        @app.router.http.get("/news")
        async def news():
            return SendEventResponse(channels.events("news", after=request.headers.get("last-event-id")))
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        allow: Allow | None = None,
        max_age: float | None = None,
        entries: int = 1000,
        silence: float = 86_400,
        buffer: int = 256,
        max_size: int = 65_536,
        timeout: float = 5,
        prefix: str = "kui",
    ) -> None:
        if allow is not None and not is_async(allow):
            raise TypeError(f"allow= takes async def allow(channel) -> bool, not {allow!r}")
        if max_age is not None and not max_age > 0:
            raise ValueError("max_age is a positive number of seconds, or None")
        if buffer < 1 or max_size < 1 or not 0 < timeout < math.inf:
            raise ValueError("buffer, max_size and timeout are positive")
        self._max_age = max_age
        self._max_size = max_size
        retention = Retention(entries, silence)
        self._store = _store(url, retention, timeout, check_channel(prefix))
        self._hub = Hub(self._store, buffer)
        self._reading = SharedReading(self._hub, self._store, allow, timeout)
        self._is_open = False

    @property
    def available(self) -> bool:
        """True if the store could be reached last. Use it in the route of a health check."""
        return self._store.available

    async def __aenter__(self) -> Self:
        if self._is_open:
            raise RuntimeError("these channels are open already")
        if self._store.one_process and workers.get() > 1:
            raise RuntimeError(
                f"Channels() in memory join the clients of one process, and there are {workers.get()}"
                ' workers: use Channels("redis://..."), or --workers 1'
            )
        await self._hub.__aenter__()
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self._is_open = False
        return await self._hub.__aexit__(kind, error, trace)

    async def publish(self, channel: str, data: Any, *, key: str | None = None) -> str:
        """Publish a message, and return its id when the store has it. It never waits for a reader.

        If it is cancelled, the message may have been published or not.

        :param data: any value that JSON can hold, as a handler may return it.
        :param key: identifies a publish that is repeated: within ten minutes a second publish with the same key stores
            nothing, and returns the id of the first.
        :raises ChannelsUnavailable: the store cannot be reached within `timeout` seconds. If its `sent` is True, the
            message may have been published.
        :raises ValueError: the message is larger than `max_size` or cannot be encoded, or a name is wrong.
        :raises TypeError: the message cannot be encoded as JSON.

        Example: `await channels.publish("news", {"title": "..."})`.
        """
        self._check_open()
        check_channel(channel)
        if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
            raise ValueError(f"a key has 1 to {LONGEST_KEY} printable characters")
        json = to_json(data)
        if len(json) > self._max_size:
            raise ValueError(
                f"a message has at most {self._max_size} bytes as JSON, not {len(json)}: publish where"
                " to find it, or raise max_size="
            )
        return str(await self._store.publish(channel, json, key))

    def subscribe(
        self,
        *channels: str,
        after: str | None = None,
        history: int = 0,
        overflow: Overflow = "catch_up",
    ) -> Subscription:
        """Return the messages of up to 16 channels, in each channel's order, as an async iterable.

        Each stored message is returned once. A `Gap` is returned in place of messages that are lost. See `Subscription`
        for the exceptions of opening and reading.

        :param after: a cursor, such as a browser's `Last-Event-ID`: begin after it. None or "": begin with messages
            that are published from now on.
        :param history: how many of the last messages are returned first, for a channel that `after` does not name.
        :param overflow: what happens if the reader is slower than its channel. `"catch_up"`: it reads on from the store
            at its own pace. `"drop_oldest"`: it skips messages that are no longer buffered, and gets a `Gap`.
            `"disconnect"`: it gets ReaderTooSlow.
        :raises HTTPException: 400, if `after` is no cursor of these channels.
        :raises ValueError: a name, `history` or `overflow` is wrong.

        Example: `async for message in channels.subscribe("news", history=20): print(message.data)`.
        """
        self._check_open()
        names = check_channels(channels)
        if isinstance(history, bool) or not isinstance(history, int) or history < 0:
            raise ValueError(f"history is a number of messages, not {history!r}")
        if overflow not in OVERFLOWS:
            raise ValueError(f"overflow is one of {', '.join(OVERFLOWS)}, not {overflow!r}")
        try:
            positions = parse_cursor(after, names) if after else {}
        except ValueError:
            raise HTTPException(
                400, content="This is no id from which a subscription can go on."
            ) from None
        return Subscription(self._reading, names, positions, history, overflow, self._max_age)

    def events(
        self,
        *channels: str,
        after: str | None = None,
        history: int = 0,
        overflow: Overflow = "catch_up",
    ) -> ChannelEvents:
        """Return the same messages as events for `SendEventResponse`: see `subscribe` and `ChannelEvents`.

        Raises what `subscribe` raises. If `allow` refuses a channel, the client gets 403.
        """
        subscription = self.subscribe(*channels, after=after, history=history, overflow=overflow)
        return ChannelEvents(subscription, len(channels) > 1)

    def _check_open(self) -> None:
        if not self._is_open:
            raise RuntimeError(
                "these channels are not open: name them in Kui(resources=[channels])"
            )


def _store(url: str | None, retention: Retention, timeout: float, prefix: str) -> Store:
    if url is None:
        return MemoryStore(retention)
    scheme = url.partition("://")[0] if isinstance(url, str) else ""
    if scheme not in ("redis", "rediss", "unix"):
        raise ValueError("the URL of channels begins with redis://, rediss:// or unix://")
    try:
        from .redis import RedisStore
    except ImportError as error:
        if error.name != "coredis":
            raise
        raise ImportError("channels on Redis need coredis: pip install coredis") from error
    return RedisStore(url, retention, timeout, prefix)
