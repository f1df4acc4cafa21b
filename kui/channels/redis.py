"""Store channels in Redis or Valkey, which all workers share, with coredis, on both loops.

A session has two connections: one for calls, of which many may be pending, and one for published messages. One task
owns both. If either fails, the task begins a new session and follows all channels again; their topics then read what
they have missed. If a caller is cancelled, the answer to its call is discarded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from random import uniform
from typing import Any, Final

from coredis.connection import BaseConnection
from coredis.exceptions import BusyLoadingError, NoScriptError, ReadOnlyError, RedisError
from coredis.exceptions import ConnectionError as RedisConnectionError
from coredis.pool import ConnectionPool

from kui.concurrency.cancel import until
from kui.concurrency.loops import cancel_scope, clock
from kui.concurrency.notice import Notice, pause
from kui.concurrency.task_group import framework_tasks

from .messages import ChannelsUnavailable, Message
from .positions import Kept, Position, new_epoch
from .scripts import PUBLISH, READ, SCRIPTS, TAILS, Script
from .store import Listener, Page, Retention, Store

__all__ = ["RedisStore"]

BEAT: Final = 5.0
"""Seconds between two checks that the server still answers."""
MOST_CALLS: Final = 10_000
"""How many calls may be pending at once."""
PAUSES: Final = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds to wait before the next attempts at a new session; the last one is repeated."""

logger = logging.getLogger("kui.channels")


class _Lost(Exception):
    """Raised if the session has ended before an answer. `sent` is False if the call was certainly not executed."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__()
        self.sent = sent


class _Session:
    """Two connections to the server, as long as both work."""

    def __init__(self, commands: BaseConnection, pushes: BaseConnection) -> None:
        self._commands = commands
        self._pushes = pushes
        self._scope = cancel_scope()
        self._under_way = 0
        self.ended = False

    def end(self) -> None:
        """End the session, so that its task begins another."""
        self.ended = True
        self._scope.cancel()

    async def call(
        self, script: Script, keys: Sequence[Any], args: Sequence[Any], seconds: float
    ) -> Any:
        """Run a script, and return its result.

        :raises ChannelsUnavailable: the server refuses it.
        :raises _Lost: the session has ended; the caller may try again in the next one.
        """
        if self._under_way >= MOST_CALLS:
            raise ChannelsUnavailable("too many calls are waiting for Redis")
        self._under_way += 1
        try:
            more = (len(keys), *keys, *args)
            try:
                return await self._send(seconds, b"EVALSHA", script.sha, *more)
            except NoScriptError:  # after SCRIPT FLUSH, or on another server behind the same name
                return await self._send(seconds, b"EVAL", script.text, *more)
        finally:
            self._under_way -= 1

    async def _send(self, seconds: float, *command: Any) -> Any:
        try:
            request = self._commands.create_request(*command, timeout=seconds)
        except RedisConnectionError as error:
            self.end()
            raise _Lost(sent=False) from error
        try:
            return await request
        except NoScriptError:
            raise
        except (ReadOnlyError, BusyLoadingError) as error:  # it has become a replica, or restarts
            self.end()
            raise _Lost(sent=False) from error
        except (RedisConnectionError, TimeoutError) as error:
            self.end()
            raise _Lost(sent=True) from error
        except RedisError as error:
            raise ChannelsUnavailable(f"Redis refused: {error}") from error

    def subscribe(self, names: Sequence[str]) -> None:
        self._tell(b"SUBSCRIBE", names)

    def unsubscribe(self, names: Sequence[str]) -> None:
        self._tell(b"UNSUBSCRIBE", names)

    def _tell(self, command: bytes, names: Sequence[str]) -> None:
        try:
            if names:
                self._pushes.send_command(command, *names)
        except RedisConnectionError:
            self.end()

    async def run(self, push: Callable[[list[Any]], None]) -> None:
        """Call `push` with each published message, until a connection fails or `end` is called."""
        with self._scope:
            async with framework_tasks() as tasks:
                tasks.start_soon(self._beat)
                async with aclosing(self._pushes.push_messages) as messages:
                    async for message in messages:
                        push(message)

    async def _beat(self) -> None:
        while True:
            for connection in (self._commands, self._pushes):
                try:
                    await connection.create_request(b"PING", timeout=BEAT)
                except (RedisError, TimeoutError):
                    self.end()
            await pause(BEAT)


class RedisStore(Store):
    """Keeps messages in Redis 7 or later.

    :param url: as coredis takes it, such as `redis://user:password@host:6379/0`, `rediss://` or `unix://`.
    :param retention: how much of a channel is kept.
    :param timeout: seconds that a call may take, including the wait for a session.
    :param prefix: the beginning of all keys.
    """

    def __init__(self, url: str, retention: Retention, timeout: float, prefix: str) -> None:
        self._url = url
        self._retention = retention
        self._timeout = timeout
        self._silences = _milliseconds(retention.silence), _milliseconds(retention.unwritten)
        self._key = f"{prefix}:channel:"
        self._once = f"{prefix}:once:"
        database = self._make_pool().connection_kwargs.get("db") or 0
        self._told = f"{prefix}:{database}:"  # Redis publishes to clients of all databases
        self._followed: dict[str, None] = {}
        self._session: _Session | None = None
        self._changed = Notice()
        self._tried = False
        self._listener: Listener | None = None
        self._clock: Callable[[], float] = lambda: 0.0

    @property
    def available(self) -> bool:
        return self._session is not None and not self._session.ended

    @property
    def one_process(self) -> bool:
        return False

    def open(self, listener: Listener) -> None:
        self._clock = clock()
        self._listener = listener
        self._changed = Notice()  # one of this loop
        self._tried = False

    async def ready(self) -> None:
        while not self._tried:
            await self._changed.wait()

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                await self._serve()
            except (RedisError, OSError, TimeoutError, ExceptionGroup) as error:
                if not failures and self._session is None:
                    logger.warning(
                        "Redis cannot be reached, and is tried again: %s", _reason(error)
                    )
            self._settle()
            failures = 0 if self._lose() else failures + 1
            await pause(PAUSES[min(failures, len(PAUSES) - 1)] * uniform(0.5, 1))

    def close(self) -> None:
        self._listener = None
        self._session = None
        self._followed.clear()
        self._changed.notify()

    # ---- calls

    async def publish(self, channel: str, json: bytes, key: str | None) -> Position:
        keys = [self._key + channel]
        if key is not None:
            keys.append(f"{self._once}{channel}:{key}")
        args = (
            new_epoch(),
            json,
            self._retention.entries,
            _milliseconds(self._retention.silence),
            _milliseconds(self._retention.keys),
            self._told + channel,
        )
        return _position(await self._call(PUBLISH, keys, args, again=key is not None))

    async def read(self, channel: str, after: Position | None, limit: int) -> Page:
        epoch, seq = after or (0, 0)
        args = (new_epoch(), epoch, seq, limit if after else 0, *self._silences)
        answer = await self._call(READ, [self._key + channel], args)
        last = _position(answer[0])
        first = _position(answer[1]).seq if answer[1] else last.seq + 1
        found = zip(answer[2::2], answer[3::2], strict=True)
        messages = [Message(channel, _position(id), json) for id, json in found]
        return Page(Kept(last.epoch, first, last.seq), messages)

    async def tails(self, channels: Sequence[str]) -> list[Position | None]:
        keys = [self._key + channel for channel in channels]
        answer = await self._call(TAILS, keys, self._silences)
        return [_position(id) if id else None for id in answer]

    async def _call(
        self, script: Script, keys: Sequence[Any], args: Sequence[Any], *, again: bool = True
    ) -> Any:
        """Run a script as soon as there is a session.

        :param again: True if the script may be run twice.
        """
        deadline = self._clock() + self._timeout
        sent = False
        while True:
            session = await self._find_session(deadline, sent)
            try:
                left = max(deadline - self._clock(), 0.001)
                return await session.call(script, keys, args, left)
            except _Lost as loss:
                sent = sent or loss.sent
                if sent and not again:
                    raise ChannelsUnavailable(
                        "Redis has not answered; the message may have been published", sent=True
                    ) from None

    async def _find_session(self, deadline: float, sent: bool) -> _Session:
        while self._session is None or self._session.ended:
            if self._listener is None:
                raise RuntimeError("the channels are closed")
            if await until(deadline, self._changed.wait) is None:
                raise ChannelsUnavailable("Redis cannot be reached", sent=sent)
        return self._session

    # ---- following

    def follow(self, channels: Iterable[str]) -> None:
        names = list(channels)
        self._followed.update(dict.fromkeys(names))
        if self._session is not None:
            self._session.subscribe([self._told + name for name in names])

    def unfollow(self, channels: Iterable[str]) -> None:
        names = list(channels)
        for name in names:
            self._followed.pop(name, None)
        if self._session is not None:
            self._session.unsubscribe([self._told + name for name in names])

    def _pushed(self, push: list[Any]) -> None:
        if self._listener is None:
            return
        kind, channel = push[0], push[1].decode().removeprefix(self._told)
        if kind == b"message":
            id, _, json = push[2].partition(b" ")
            self._listener.arrived(channel, _position(id), json)
        elif kind == b"subscribe" and channel in self._followed:
            self._listener.followed(channel)

    # ---- the session

    def _lose(self) -> bool:
        """Drop the session; return True if there was one."""
        if self._session is None:
            return False
        self._session = None
        logger.warning("The connection to Redis is lost, and made anew")
        if self._listener is not None:
            self._listener.lost()
        return True

    def _settle(self) -> None:
        self._tried = True
        self._changed.notify()

    def _make_pool(self) -> ConnectionPool[Any]:
        timeout = self._timeout
        return ConnectionPool.from_url(
            self._url,
            max_connections=2,
            timeout=timeout,
            connect_timeout=timeout,
            stream_timeout=timeout,
            decode_responses=False,
        )

    async def _serve(self) -> None:
        pool = self._make_pool()
        location = pool.location
        # coredis leaves a socket open if it cannot connect, so the address is tried without coredis first.
        if location is None or await until(self._clock() + self._timeout, location.check) != (
            True,
        ):
            raise ConnectionError(f"nothing answers at {location!r}")
        async with (
            pool,
            pool.acquire() as commands,
            pool.acquire() as pushes,
        ):
            for script in SCRIPTS:
                await commands.create_request(b"SCRIPT LOAD", script.text)
            session = self._session = _Session(commands, pushes)
            session.subscribe([self._told + name for name in self._followed])
            self._settle()
            await session.run(self._pushed)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _position(id: bytes) -> Position:
    epoch, _, seq = id.partition(b"-")
    return Position(int(epoch), int(seq))


def _reason(error: Exception) -> str:
    """Return an error as one line."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
