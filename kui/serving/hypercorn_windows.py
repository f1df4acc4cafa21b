"""What waits on either side of a stream of HTTP/2 while its window is closed (RFC 9113, 5.2).

The windows themselves are h2's business; when they open, `http2`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from hypercorn.protocol.h2 import BufferCompleteError, StreamBuffer
from hypercorn.typing import ASGIReceiveEvent, Event, HTTPRequestEvent

__all__ = ["Inbox", "Outbox"]

HIGH_WATER: Final = 64 * 1024
"""Bytes that wait for the client's window before the app has to wait,"""
LOW_WATER: Final = 32 * 1024
"""and how many may still do so when it goes on."""


class Inbox:
    """The messages that an app has not received yet.

    Nobody waits to put one in: an app that takes nothing would keep the server from reading what
    the connection's other streams get. Its client is held back by the window instead, which
    `open_window(size)` opens when all that has come is taken. What comes of a body meanwhile is one
    message.
    """

    __slots__ = ("_body", "_changed", "_messages", "_open_window", "_part", "_unpaid")

    def __init__(self, open_window: Callable[[int], Awaitable[None]]) -> None:
        self._open_window = open_window
        self._messages: deque[ASGIReceiveEvent] = deque()
        self._part: HTTPRequestEvent | None = None  # that of them whose body is `_body`
        self._body = bytearray()
        self._unpaid = 0
        self._changed = anyio.Event()

    async def put(self, message: ASGIReceiveEvent) -> None:
        """Add a message. Never waits."""
        if message["type"] != "http.request":
            self._messages.append(message)
        else:
            self._body += message["body"]
            if self._part is None:
                self._part = message
                self._messages.append(message)
            self._part["more_body"] = message["more_body"]
        self._changed.set()
        self._changed = anyio.Event()

    async def receive(self) -> ASGIReceiveEvent:
        """Wait for the next message and take it out. A call that is cancelled has taken none."""
        while not self._messages:
            await self._changed.wait()
        message = self._messages.popleft()
        if message is self._part:
            self._part["body"] = bytes(self._body)
            self._body.clear()
            self._part = None
        await self.came(0)
        return message

    async def came(self, size: int) -> None:
        """So many bytes of the window are used up. Never waits."""
        self._unpaid += size
        if not self._messages:
            await self.close()

    async def close(self) -> None:
        """Open the window: nobody is to be held back any more."""
        size, self._unpaid = self._unpaid, 0
        if size:
            await self._open_window(size)


class Outbox(StreamBuffer):
    """What an app has sent and the client's window has not let through.

    hypercorn's own lets an app go on whenever nothing can be sent, and so keeps all that it makes;
    and says that all is sent before the end of the stream is, which the end of the connection overtakes.
    """

    def __init__(self, event_class: type[Event]) -> None:
        super().__init__(event_class)
        self.failed = False
        """Is the stream to be reset, when no more can be sent?"""
        self._closed = event_class()

    async def drain(self) -> None:
        await super().drain()
        if self._complete:
            await self._closed.wait()

    async def close(self) -> None:
        """The stream has ended: who waits goes on."""
        await super().close()
        await self._closed.set()

    async def push(self, data: bytes) -> None:
        """Add to it. Never waits: it may be the connection's reader who answers a ping."""
        if self._complete:
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()

    async def pop(self, max_length: int) -> bytes:
        data = await super().pop(max_length)
        if len(self.buffer) < LOW_WATER:
            await self._paused.set()
        return data

    async def room(self) -> None:
        """Wait until the app may send more."""
        while len(self.buffer) >= HIGH_WATER:
            if self._paused.is_set():
                await self._paused.clear()
            await self._paused.wait()
