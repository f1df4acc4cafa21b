"""Send a streamed response: chunks of a generator or a function, and pings, to a client that may leave.

This module decides what is advanced, sent, watched, cancelled and closed, and in which order (docs/design.md, "One
request"). The responses define chunks, headers and pings.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final, Generic, TypeAlias, TypeVar

import anyio
import anyio.lowlevel
from baize.typing import Message

from kui.concurrency.cleanup import GRACE
from kui.concurrency.loops import clock, on_the_grid
from kui.concurrency.sync import InThreads
from kui.concurrency.task_group import FrameworkTasks, framework_tasks

from .exchange import ClientDisconnect, Exchange, Gone, disconnect_errors
from .generator_runner import Feed, GeneratorRunner, close_unstarted, name_of
from .send_limit import LIMIT_AT_EXIT, PIECE, limit_of
from .stall_detector import StallDetector
from .watch import Watch

__all__ = ["OVERDUE", "StreamSource", "stream"]

T = TypeVar("T")

OVERDUE: Final = 1.0
"""Seconds after the end of its grace at which a source that is still running is logged."""

logger = logging.getLogger("kui.error")

StreamSource: TypeAlias = (
    AsyncIterable[T] | Iterable[T] | Callable[[Callable[[T], Awaitable[None]]], Awaitable[None]]
)
"""Where chunks come from: an async or sync iterable, or a function `async def feed(send)`."""


async def stream(
    exchange: Exchange,
    source: StreamSource[T],
    *,
    start: Message,
    encode: Callable[[T], bytes],
    ping: bytes | None = None,
    ping_interval: float = 3.0,
    open_after: float = math.inf,
    farewell: Callable[[], bytes] | None = None,
    grace: float = GRACE,
) -> None:
    """Send a response whose body comes from `source`, chunk by chunk.

    An async generator is advanced and closed by this task alone, a synchronous one in threads. A function is awaited,
    and may call its `send` from any task of its own task groups. The source waits while the client is slow.

    If the client leaves, or a `send` makes no progress for 30 s, the source is cancelled and this returns, with
    `exchange.gone` set. If the app must stop, the source is cancelled while it is advanced, but never while a chunk is
    sent, and the response ends with a proper last chunk. A cancellation from outside is raised when the source has
    cleaned up.

    :param source: where the chunks come from.
    :param start: `http.response.start`, sent with the first chunk. If this raises while `exchange.started` is False,
        the caller may still send another response.
    :param encode: returns the bytes of a chunk; an empty result is not sent.
    :param ping: sent when nothing was sent for `ping_interval` seconds, never in the middle of a chunk, without the
        source.
    :param ping_interval: in seconds.
    :param open_after: seconds after which `start` is sent without a chunk.
    :param farewell: returns the last chunk of a stream that ends because the app must stop.
    :param grace: seconds for the source's cleanup when it is cancelled. A cleanup that overruns them is cancelled and
        logged.
    :raises ItemLost: see `GeneratorRunner.run`.
    :raises Exception: what the source raises, unchanged; or what `encode` or the server's `send` raises, which is
        first thrown into a generator, and replaced if the generator raises something else. The response is then
        unfinished, and the server cuts the connection.

    ::

        await stream(exchange, numbers(), start=start, encode=lambda number: b"%d" % number)
    """
    try:
        if exchange.scope["method"] == "HEAD":
            await close_unstarted(source)
        else:
            sending = _Sending(exchange, start, encode, ping, ping_interval, open_after)
            try:
                async with framework_tasks() as group:
                    await _run(sending, source, group, grace)
            finally:
                sending.end()
        if exchange.gone is None or exchange.gone is Gone.DRAIN:
            if not exchange.started:
                await exchange.send(start)
            last = b"" if exchange.gone is None or farewell is None else farewell()
            await exchange.send({"type": "http.response.body", "body": last, "more_body": False})
    except ClientDisconnect:
        if exchange.gone is None:
            raise


async def _run(
    sending: _Sending[T], source: StreamSource[T], group: FrameworkTasks, grace: float
) -> None:
    """Run the source and a watch in `group`."""
    exchange = sending.exchange
    # It holds the name only, not `work`, which holds `leave`: that would be a reference cycle.
    warn = partial(_warn_overdue, name_of(source), grace + OVERDUE)

    def leave() -> None:
        group.cancel()
        group.warn_after(grace + OVERDUE, warn)

    def interrupt() -> None:
        sending.when_free(leave)

    work: GeneratorRunner[T] | Feed[T]
    if isinstance(source, (AsyncIterable, Iterable)):
        chunks = source if isinstance(source, AsyncIterable) else InThreads(source)
        explain = sending.explain
        work = GeneratorRunner(
            chunks, sending.send, interrupt=interrupt, explain=explain, grace=grace
        )
    else:
        work = Feed(source, sending.send_and_look, interrupt=interrupt, grace=grace)
    sending.work = work

    watch = Watch(exchange, group, sending.due, sending.tick)

    def drain() -> None:
        exchange.terminate(Gone.DRAIN)
        work.stop()
        sending.hasten()
        watch.look_again()

    signal = exchange.exit_signal
    exchange.listen(leave)
    if signal is not None:
        signal.listen(drain)
    try:
        await work.run(watch.begin)
        await sending.until_free()
    finally:
        watch.end()
        exchange.unlisten(leave)
        if signal is not None:
            signal.unlisten(drain)


def _warn_overdue(name: str, seconds: float) -> None:
    logger.error(
        "%s does not end, %g s after it was cancelled: a shield or a task of its own holds it",
        name,
        seconds,
    )


class _Sending(Generic[T]):
    """Sends the messages of the source and of the watch, one at a time."""

    __slots__ = (
        "_clock",
        "_encode",
        "_freed",
        "_open",
        "_open_at",
        "_patience",
        "_ping",
        "_ping_interval",
        "_said",
        "_saying",
        "_send",
        "_stall",
        "_start",
        "_then",
        "exchange",
        "work",
    )
    work: GeneratorRunner[T] | Feed[T]

    def __init__(
        self,
        exchange: Exchange,
        start: Message,
        encode: Callable[[T], bytes],
        ping: bytes | None,
        ping_interval: float,
        open_after: float,
    ) -> None:
        self.exchange = exchange
        self._start = start
        self._encode = encode
        self._ping = ping
        self._ping_interval = math.inf if ping is None else ping_interval
        self._send = exchange.server_send
        self._clock = clock()
        self._said = self._clock()  # the time at which the watch last sent something
        self._open_at = self._said + open_after
        self._open = False  # True if the source may send a chunk at once
        self._saying = False  # True while the watch is sending
        self._freed: anyio.Event | None = None
        self._then: Callable[[], object] | None = None
        self._patience: anyio.CancelScope | None = None  # around what the watch is sending
        self._stall = StallDetector(exchange)

    def send(self, item: T) -> Awaitable[None]:
        """Send one chunk of a generator, and `start` before the first one.

        The caller must pass an exception of the awaitable to `explain`.
        """
        body = self._encode(item)
        if self._open and 0 < len(body) <= PIECE:
            return self._send({"type": "http.response.body", "body": body, "more_body": True})
        return self._send_in_turn(body)

    def explain(self, error: Exception) -> None:
        """Raise ClientDisconnect if `error` is one by which the server says that the client has gone."""
        if isinstance(error, disconnect_errors()):
            self.exchange.disconnected(error)

    async def send_and_look(self, item: T) -> None:
        """Send one chunk of a function, with a checkpoint afterwards if the exchange is over."""
        await self._send_in_turn(self._encode(item))
        if self.exchange.gone is not None:
            await anyio.lowlevel.checkpoint()  # cancelled if the client has gone, not for a drain

    async def _send_in_turn(self, body: bytes) -> None:
        await self.until_free()
        if not self.exchange.started:
            await self.exchange.send(self._start)
        self._open = True
        if body:
            await self.exchange.send_chunk(body)

    def when_free(self, call: Callable[[], object]) -> None:
        """Call `call()` as soon as the watch is not sending: now, or when its ping was sent."""
        if self._saying:
            self._then = call
        else:
            call()

    async def until_free(self) -> None:
        """Wait until the watch is not sending, so that its message is not cut in the middle."""
        while self._saying:
            if self._freed is None:
                self._freed = anyio.Event()
            await self._freed.wait()

    def end(self) -> None:
        """Drop the reference to the work, which holds this object too: a cycle would wait for the garbage collector."""
        with suppress(AttributeError):  # not set if the source could not be iterated over
            del self.work

    # For the watch.

    def due(self) -> float:
        """Return the time at which `tick` must be called next, on the common grid."""
        exchange, work, now = self.exchange, self.work, self._clock()
        if exchange.started and not work.consuming:
            time = max(self._said, work.since) + self._ping_interval
        else:
            time = now + self._ping_interval
            if not work.consuming:
                time = min(time, self._open_at)
        return on_the_grid(min(time, self._stall.due(self._in_send())))

    def _in_send(self) -> object:
        """Return a value that differs for each message of the source that is being sent; None if none is."""
        work = self.work
        return (work.since, self.exchange.progress) if work.consuming else None

    async def tick(self) -> None:
        """Send `start`, send a ping or give up the client, if one of these is due."""
        now = self._clock()
        exchange, work = self.exchange, self.work
        self._stall.look(self._in_send())
        if work.consuming:
            return
        if not exchange.started:
            if now >= self._open_at:
                await self._say(exchange.send(self._start))
        elif self._ping is not None and now >= max(self._said, work.since) + self._ping_interval:
            await self._say(exchange.send_chunk(self._ping))

    async def _say(self, message: Awaitable[None]) -> None:
        self._saying = True
        self._open = False
        try:
            limit = limit_of(self.exchange.scope)
            with suppress(ClientDisconnect), anyio.move_on_after(limit) as self._patience:
                await message
            if self._patience.cancelled_caught:
                self.exchange.terminate(Gone.STALLED)
        finally:
            self._saying = False
            self._said = self._clock()
            freed, self._freed = self._freed, None
            then, self._then = self._then, None
            if freed is not None:
                freed.set()
            if then is not None:
                then()

    def hasten(self) -> None:
        """Shorten the time limit of a ping that is being sent, because the app must stop."""
        if self._saying and self._patience is not None:
            ends = anyio.current_time() + LIMIT_AT_EXIT
            self._patience.deadline = min(self._patience.deadline, ends)
