"""One HTTP request's `receive` and `send`, owned in one place (rule 2: one reader).

Whoever wants the next message asks the `Exchange`; whatever is answered goes through its `send`. Who watches
a stream, and what is done when the client has gone, belongs to the neighbours.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Callable
from types import MethodType

import anyio
from baize.typing import Message, Receive, Scope, Send

__all__ = ["ClientDisconnect", "Exchange", "Gone", "body_expected"]


class ClientDisconnect(Exception):
    """The client left before the request was read to its end."""


class Gone(enum.Enum):
    """Why an exchange is over before its last message was sent."""

    CLIENT_LEFT = "the client left"
    SERVER_CANCELLED = "the server cancelled the request"
    DRAIN = "the server is stopping"
    STALLED = "the client has stopped reading"


def body_expected(scope: Scope) -> bool:
    """May this request have a body? HTTP/1 says so in its headers, HTTP/2 and 3 only when it has none."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return bool(value.strip(b"0 "))
        if name == b"transfer-encoding":
            return True
    return scope.get("http_version", "1.1") not in ("1.0", "1.1")


class Exchange:
    """One HTTP request's receive and send.

    `receive` and `send` are ASGI callables; give them on to an ASGI app, and `Exchange.of` finds the exchange again.
    """

    __slots__ = (
        "_body_unread",
        "_buffer",
        "_receive",
        "_send",
        "_trailers",
        "finished",
        "gone",
        "on_start",
        "scope",
        "started",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.on_start: Callable[[Message], Message] | None = None
        self.started = False
        self.finished = False
        self.gone: Gone | None = None
        self._receive = receive
        self._send = send
        self._buffer: deque[Message] = deque()
        self._body_unread: bool | None = None  # None: nobody has asked yet
        self._trailers = False

    @classmethod
    def of(cls, scope: Scope, receive: Receive, send: Send) -> Exchange:
        """The exchange whose `receive` and `send` these are, else a new one over them."""
        if isinstance(send, MethodType) and isinstance(receive, MethodType):
            owner = send.__self__
            if isinstance(owner, cls) and receive.__self__ is owner:
                return owner
        return cls(scope, receive, send)

    @property
    def body_expected(self) -> bool:
        """May there be a body that has not been read to its end?"""
        if self._body_unread is None:
            self._body_unread = body_expected(self.scope)
        return self._body_unread

    async def receive(self) -> Message:
        """The next message in order (ASGI)."""
        if self._buffer:
            return self._buffer.popleft()
        message = await self._receive()
        self._note(message)
        return message

    async def send(self, message: Message) -> None:
        """Send one message (ASGI); beside the last one, receive and discard what is left of the body."""
        kind = message["type"]
        last = False
        if kind == "http.response.start":
            if self.on_start is not None:
                message = self.on_start(message)
            self.started = True
            self._trailers = bool(message.get("trailers", False))
        elif kind == "http.response.body" or kind == "http.response.zerocopysend":
            last = not message.get("more_body", False) and not self._trailers
        elif kind == "http.response.pathsend":
            last = not self._trailers
        elif kind == "http.response.trailers":
            last = not message.get("more_trailers", False)
        if not last:
            await self._send(message)
            return
        if self.body_expected and self.gone is None:
            await self._send_beside_drain(message)
        else:
            await self._send(message)
        self.finished = True

    async def next_chunk(self) -> bytes:
        """The next non-empty chunk of the body; b"" at its end, again and again.

        :raises ClientDisconnect: the client left before the end of the body.
        """
        while self._buffer or self._body_unread is not False:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body: bytes = message.get("body", b"")
            if body:
                return body
            if not message.get("more_body", False):
                break
        return b""

    async def is_disconnected(self) -> bool:
        """Has the client left? Never waits for it and never loses a message."""
        if self.gone is None:
            with anyio.CancelScope() as scope:
                scope.deadline = -math.inf
                message = await self._receive()
                self._note(message)
                self._buffer.append(message)
        return self.gone is not None

    async def settle(self) -> None:
        """Make room in the server's queue before the app returns or raises with an unread body."""

    def _note(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            if self.gone is None and not self.finished:
                self.gone = Gone.CLIENT_LEFT
        elif not message.get("more_body", False):
            self._body_unread = False

    async def _drain(self) -> None:
        while self.body_expected and self.gone is None:
            self._note(await self._receive())

    async def _send_beside_drain(self, message: Message) -> None:
        error: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._drain)
            try:
                await self._send(message)
            except Exception as raised:
                error = raised
            self.finished = True
            tasks.cancel_scope.cancel()
        if error is not None:
            raise error
