"""`Channels`: what one worker says, every client of every worker hears."""

from __future__ import annotations

import inspect
import math
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

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
"""Characters of a publish's key."""


class Channels:
    """Named channels, in which messages are published and read; a resource of the app.

    Without a URL they are in the memory of one process; with one, in Redis (7 or later) or Valkey, where
    the clients of all workers meet. Ids, promises and errors are the same.

    - `url`: `redis://user:password@host:6379/0`, `rediss://...` (TLS) or `unix:///path`; needs the
      package coredis, which the extra `redis` installs.
    - `allow`: an `async def` of a channel's name, called within the request for each channel whenever a
      subscription is opened, on resumption too; what does not return True is answered with 403.
    - `max_age`: seconds after which a subscription ends, so that permissions are asked again.
    - `entries`: how many messages of a channel are kept; `silence`: seconds after which a channel is
      forgotten that is neither read nor written; `buffer`: how many a process has at hand for each
      channel; `max_size`: bytes of a message, as JSON.
    - `timeout`: seconds that a call may take before ChannelsUnavailable is raised.
    - `prefix`: what all keys in Redis begin with.

    Raises ValueError and TypeError for what cannot work, ImportError where coredis is missing.

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
        if allow is not None and not _is_async(allow):
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
        """True if the store can be reached, as far as it is known: for the route that tells the health."""
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
        """Publish a message, and return its id when the store has it.

        :param data: anything that JSON can hold, as a handler may return it.
        :param key: the same for a publish and its repetition: within ten minutes the second one
            stores nothing and returns the first one's id.
        :raises ChannelsUnavailable: the store cannot be reached; if its `sent` is true, the message may
            have been published. Raised in `timeout` seconds.
        :raises ValueError: the message is longer than `max_size`, or not JSON; or a name is wrong.
        :raises TypeError: the message is not JSON.

        A cancelled publish may have happened, or not. It never waits for a reader.

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

        :param after: a cursor, such as a browser's `Last-Event-ID`: begin behind it. None or an empty
            text: begin with what is published from now on.
        :param history: how many of the last messages come first in a channel that `after` does not name.
        :param overflow: what becomes of a reader that is slower than its channel. `"catch_up"`: it reads
            on at its own pace, from the store. `"drop_oldest"`: it skips what is not at hand, and is
            told by a `Gap`. `"disconnect"`: ReaderTooSlow.
        :raises HTTPException: 400, if `after` is no cursor of these channels.
        :raises ValueError: a name, `history` or `overflow` is wrong.

        Each stored message comes once. Where some are lost, a `Gap` comes in their place. What opening
        and reading raise is said at `Subscription`.

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
        """Return the same as events, for `SendEventResponse`: see `subscribe` and `ChannelEvents`.

        Raises what `subscribe` raises; HTTPException(403) is the answer if `allow` refuses a channel.
        """
        subscription = self.subscribe(*channels, after=after, history=history, overflow=overflow)
        return ChannelEvents(subscription, len(channels) > 1)

    def _check_open(self) -> None:
        if not self._is_open:
            raise RuntimeError(
                "these channels are not open: name them in Kui(resources=[channels])"
            )


def _is_async(function: object) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


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
