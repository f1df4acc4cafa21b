"""A response that takes its time: chunks from a generator or a function, pings, a client that may leave.

What a chunk is, which headers there are and what a ping says, the responses know. Here is decided who is advanced,
sent, watched, cancelled and closed, and in which order (docs/design.md, "One request").
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
from .send_limit import LIMIT_AT_EXIT, PIECE, STALL
from .stall_detector import StallDetector
from .watch import Watch

__all__ = ["OVERDUE", "StreamSource", "stream"]

T = TypeVar("T")

OVERDUE: Final = 1.0
"""Seconds beyond its grace after which a source that is still at work is logged."""

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

    An async generator is advanced and closed by this task alone; a sync one in threads; a function
    is awaited, and may call its `send` from any task of its own task groups. A slow client holds
    them back. When the client leaves, or stops reading while it still sends (30 s), the source is cancelled
    and this returns, with `exchange.gone` set. When the app must stop, the source is cancelled
    while it works, but never while a chunk is being sent, and the response ends properly.

    :param start: `http.response.start`, sent with the first chunk: until then another answer is
        possible, if `exchange.started` is false when this raises.
    :param encode: makes bytes of a chunk; empty ones are not sent.
    :param ping: sent whenever nothing else has been for `ping_interval` seconds; never inside of a
        chunk, and no business of the source's.
    :param open_after: seconds after which `start` is sent without a chunk.
    :param farewell: makes the last chunk of a stream that ends because the app must stop.
    :param grace: seconds for the source's cleanup when it is cancelled; what overruns them is logged.
    :raises ItemLost: see `GeneratorRunner.run`.

    What the source raises is raised as itself, and so is what `encode` and the server's `send`
    raise, unless the generator, which they go into first, raises something else. The response
    is then unfinished, and the server cuts the connection. A cancellation from outside is raised
    when the source has cleaned up.

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
    """Run the source beside a watch, both of them within `group`."""
    exchange = sending.exchange
    # Not of `work`, which knows `leave`: garbage in a cycle waits for the collector.
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
    """What is sent, one message at a time, by the source and by the watch."""

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
        self._said = self._clock()  # when the watch has sent something last
        self._open_at = self._said + open_after
        self._open = False  # True if the source may send a chunk at once
        self._saying = False  # True while the watch is sending
        self._freed: anyio.Event | None = None
        self._then: Callable[[], object] | None = None
        self._patience: anyio.CancelScope | None = None  # of what the watch is sending
        self._stall = StallDetector(exchange)

    def send(self, item: T) -> Awaitable[None]:
        """Send one chunk of the source's, which sends one at a time; behind `start` if it is the first.

        What awaiting it raises is for `explain`.
        """
        body = self._encode(item)
        if self._open and 0 < len(body) <= PIECE:
            return self._send({"type": "http.response.body", "body": body, "more_body": True})
        return self._send_in_turn(body)

    def explain(self, error: Exception) -> None:
        """Turn what the server raises when the client has gone into Kui's exception."""
        if isinstance(error, disconnect_errors()):
            self.exchange.disconnected(error)

    async def send_and_look(self, item: T) -> None:
        """Send one chunk, as `send` does, and be cancelled if the client has gone meanwhile."""
        await self._send_in_turn(self._encode(item))
        if self.exchange.gone is not None:
            await anyio.lowlevel.checkpoint()  # which raises nothing if it is for a drain

    async def _send_in_turn(self, body: bytes) -> None:
        await self.until_free()
        if not self.exchange.started:
            await self.exchange.send(self._start)
        self._open = True
        if body:
            await self.exchange.send_chunk(body)

    def when_free(self, call: Callable[[], object]) -> None:
        """Call `call()` as soon as the watch is not sending: now, or when the ping under way has been sent."""
        if self._saying:
            self._then = call
        else:
            call()

    async def until_free(self) -> None:
        """Wait until the watch is not sending: what is under way is not to be cut in its middle."""
        while self._saying:
            if self._freed is None:
                self._freed = anyio.Event()
            await self._freed.wait()

    def end(self) -> None:
        """Let go of the work, which knows this one too: garbage in a cycle waits for the collector."""
        with suppress(AttributeError):  # there is none if the source refuses to be iterated over
            del self.work

    # For the watch.

    def due(self) -> float:
        """Return when there is something to do, if nothing happens before."""
        exchange, work, now = self.exchange, self.work, self._clock()
        if exchange.started and not work.consuming:
            time = max(self._said, work.since) + self._ping_interval
        else:
            time = now + self._ping_interval
            if not work.consuming:
                time = min(time, self._open_at)
        return on_the_grid(min(time, self._stall.due(self._in_send())))

    def _in_send(self) -> object:
        """Return what is being sent of the source's, or None; another value for each message."""
        work = self.work
        return (work.since, self.exchange.progress) if work.consuming else None

    async def tick(self) -> None:
        """Open the response, send a ping or give the client up, whichever is due."""
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
            with suppress(ClientDisconnect), anyio.move_on_after(STALL) as self._patience:
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
        """Shorten the time of a ping that is being sent: the app must stop."""
        if self._saying and self._patience is not None:
            ends = anyio.current_time() + LIMIT_AT_EXIT
            self._patience.deadline = min(self._patience.deadline, ends)
