"""One HTTP request's `receive` and `send` as one small state machine (rules 2 and 6).

Its state: the request body is unread or read; the answer has not begun, is on its way, or its last message is sent;
and it may be gone, with a reason. The inbox below knows how to receive; who watches, and what is cancelled when
the client leaves, is decided in `stream` and `cancel`.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import anyio
import anyio.lowlevel
from baize.typing import Message, Receive, Scope, Send

from kui.concurrency.cleanup import GRACE
from kui.concurrency.signals import ExitSignal
from kui.concurrency.task_group import beside
from kui.concurrency.waits import on_first_wait

from .held_body import NEXT_APP, HeldBody
from .receive_buffer import Inbox

__all__ = ["STALL", "ClientDisconnect", "Exchange", "Gone", "body_expected", "refusals"]

STALL: Final = 30.0
"""Seconds that a `send` may block while the buffer of unread messages is full; then the client counts as gone."""

_HTTP_1: Final = frozenset(("1.0", "1.1"))


class ClientDisconnect(Exception):
    """The client left before its request was read, or before the work for it was done."""


class Gone(enum.Enum):
    """Why an exchange is over before its last message was sent."""

    CLIENT_LEFT = "the client left"
    SERVER_CANCELLED = "the server cancelled the request"
    DRAIN = "the server is stopping"
    STALLED = "the client stopped reading"


def refusals() -> tuple[type[Exception], ...]:
    """What a server's `send` raises when the client has gone; for an `except`, which asks when it must.

    An OSError, says ASGI. hypercorn on trio closes a connection while the app sends on it, and then that is busy.
    """
    trio = sys.modules.get("trio")
    return (OSError,) if trio is None else (OSError, trio.BusyResourceError)


def body_expected(scope: Mapping[str, Any], fields: Mapping[bytes, bytes] | None = None) -> bool:
    """May this request have a body?

    HTTP/1 says so in its headers (RFC 9112, section 6.3); HTTP/2 and 3 only when it has none.

    :param fields: the headers as a dictionary, if the caller has one.
    """
    if fields is None:
        fields = dict(scope["headers"])
    length = fields.get(b"content-length")
    if length is not None:
        return bool(length.strip(b" 0"))
    return b"transfer-encoding" in fields or scope.get("http_version", "1.1") not in _HTTP_1


async def _receive_too_late() -> Message:
    raise RuntimeError("this request is over: read its body before its handler and its tasks end")


async def _send_too_late(message: Message) -> None:
    raise RuntimeError("this request is over: nothing can be sent to its client any more")


class Exchange(Inbox):
    """One HTTP request's receive and send.

    `receive` and `send` are ASGI callables: pass them on to any ASGI app, and `owner_of` finds the
    exchange again. The creator must call `settle` in a `finally`: see `exchange_of` and `HttpRequest.settle`.

    - `started`, `finished`: the response has begun; its last message has been sent.
    - `gone`: why the exchange is over, or None.
    - `on_start`: a function that may replace `http.response.start`, for headers that every answer must have.

    ::

        exchange = Exchange(scope, receive, send)
        try:
            await app(scope, exchange.receive, exchange.send)
        finally:
            await exchange.settle()
    """

    _trailers = False  # does something follow the last piece of the body?
    _answered = False  # has the last message been begun, or will there be none?
    _discarding = False  # will nobody read what still comes in?
    _held: HeldBody | None = None

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.ended = None  # what the other constructor does, without the call
        self._receive = receive
        self._kept = []
        self._changes = None
        self._pull = None
        self.scope = scope
        self.server_send = send
        self.on_start: Callable[[Message], Message] | None = None
        self.started = False
        self.finished = False
        self.gone: Gone | None = None
        self._body_unread: bool | None = None  # None: nobody has asked yet

    @property
    def body_expected(self) -> bool:
        """May there be a body that has not been read to its end?"""
        if self._body_unread is None:
            self._body_unread = body_expected(self.scope)
        return self._body_unread

    @property
    def body_was_read(self) -> bool:
        """Has the body been read, to its end?"""
        return self._body_unread is False and not self._kept

    @property
    def held(self) -> HeldBody:
        """What was read of the body, and who may still read it."""
        if self._held is None:
            self._held = HeldBody()
        return self._held

    @property
    def exit_signal(self) -> ExitSignal | None:
        """What tells that the server stops: the `exit_signal` of the app in the scope, if there is one."""
        signal = getattr(self.scope.get("app"), "exit_signal", None)
        return signal if isinstance(signal, ExitSignal) else None

    def leave(self, why: Gone) -> None:
        """The exchange is over. The first reason stays, but for a drain, which the client may not wait for.

        Whoever listens is told, unless it is a drain, which lets a `send` come to its end.
        """
        if self.gone is None or self.gone is Gone.DRAIN:
            self.gone = why
            if why is not Gone.DRAIN:
                self._tell()

    def _arrived(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.ended = message
            if not self._answered:  # a server says so as well when the answer is complete
                self.leave(Gone.CLIENT_LEFT)
        elif not message.get("more_body", False):
            self._body_unread = False

    def _keep(self, message: Message) -> None:
        if self._discarding and message["type"] == "http.request":
            self.unasked += 1
            self._lose(message)
            self._arrived(message)
            self._changed()
        else:
            super()._keep(message)

    def _lose(self, message: Message) -> None:
        if message.get("body") and self._refusal is None:
            self._refusal = RuntimeError(
                "the request body was not read before the response, and was discarded"
            )

    async def receive(self) -> Message:
        """Receive the next message (ASGI), for the next app: what was read and kept of the body comes first.

        :raises RuntimeError: some of the body is gone, because it was given to another reader.

        Cancelled, it takes nothing.
        """
        held = self._held
        if held is not None and held.to_hand_on:
            await anyio.lowlevel.checkpoint()
            return held.hand_on(self.body_was_read)
        message = await super().receive()
        if message["type"] == "http.request" and (message.get("body") or message.get("more_body")):
            self.held.reader = NEXT_APP
        return message

    async def next_chunk_of_app(self) -> bytes:
        """`next_chunk` for an app that calls no `receive`: what was read and kept comes first."""
        if self._held is not None and self._held.to_hand_on:
            message = await self.receive()
            if message["body"]:
                return bytes(message["body"])
        return await self._next_chunk(self.receive)

    async def next_chunk(self) -> bytes:
        """The next chunk of the body that is not empty; b"" at its end, again and again.

        What came in before the client left is still given. Cancelled, it takes nothing.

        :raises ClientDisconnect: the client left before the end of the body.
        """
        return await self._next_chunk(super().receive)

    async def _next_chunk(self, receive: Receive) -> bytes:
        while self._kept or self._body_unread is not False or self._refusal is not None:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect("the client left before the end of the request body")
            body: bytes = message.get("body", b"")
            if body:
                return body
        return b""

    async def is_disconnected(self) -> bool:
        """Has the client left? A checkpoint that never waits for the client, and never loses a message.

        While more of the body has come in unread than the buffer holds, nobody can know.
        """
        if (self.gone is None or self.gone is Gone.DRAIN) and not self.finished:
            await self.poll()
        return self.client_gone

    @property
    def client_gone(self) -> bool:
        """Is it known that the client has left, or has it been given up?"""
        return self.gone is Gone.CLIENT_LEFT or self.gone is Gone.STALLED

    async def send(self, message: Message) -> None:
        """Send one message (ASGI). While the server waits in it, an unread body is received beside it.

        A server may put its own disconnect into the queue that the unread body has filled, and waits for
        room there. Beside the last message, and after `discard_unread`, the body is discarded. Otherwise
        the buffer keeps what fits; once it is full and nothing happens for 30 s, a body that has
        never been read is discarded, and a client whose body has been read in part counts as gone.

        :raises ClientDisconnect: the server says that the client has gone (ASGI 2.4; most say nothing), or
            the client counts as gone.
        """
        kind = message["type"]
        if kind == "http.response.body" or kind == "http.response.zerocopysend":
            last = not (message.get("more_body", False) or self._trailers)
        elif kind == "http.response.start":
            if self.on_start is not None:
                message = self.on_start(message)
            self._trailers = bool(message.get("trailers", False))
            self.started = True
            last = False
        elif kind == "http.response.pathsend":
            last = not self._trailers
        else:
            last = kind == "http.response.trailers" and not message.get("more_trailers", False)
        try:
            if last:
                await self._send_last(message)
            elif self._watchers or not await self._body_is_coming():
                await self.server_send(message)
            else:
                await self._send_beside_the_body(message)
        except refusals() as error:
            if kind == "http.response.pathsend":
                raise  # about the file, more likely
            self.refused(error)

    async def send_chunk(self, body: bytes) -> None:
        """Send a piece of the response's body, which another one follows: `send`, with less to decide."""
        try:
            await self.server_send({"type": "http.response.body", "body": body, "more_body": True})
        except refusals() as error:
            self.refused(error)

    def refused(self, error: Exception) -> NoReturn:
        """The server's `send` says that the client has gone.

        :raises ClientDisconnect: always.
        """
        self.leave(Gone.CLIENT_LEFT)
        raise ClientDisconnect("the client left before the end of the response") from error

    async def _send_last(self, message: Message) -> None:
        self._answered = self._discarding = True
        if await self._body_is_coming():
            await self._send_beside_the_body(message)
        else:
            await self.server_send(message)
        self.finished = True
        if self._pull is not None:
            await self.close()

    async def _body_is_coming(self) -> bool:
        """True if more of the request body may arrive.

        HTTP/2 does not announce a body. Mostly there is none, and its end is there already.
        """
        if self.ended is not None or not self.body_expected:
            return False
        if self.scope.get("http_version") not in _HTTP_1:
            await self.poll()
        return bool(self._body_unread)

    async def _send_beside_the_body(self, message: Message) -> None:
        async with beside() as group:
            await on_first_wait(
                self.server_send(message),
                lambda: group.start_soon(self._make_room, group.cancel),
            )
        if self.gone is Gone.STALLED:
            raise ClientDisconnect("the client stopped reading, and sent more than was read")

    async def _make_room(self, give_up: Callable[[], object]) -> None:
        """Receive what is left of the body while the server waits in a `send`."""
        while self._body_unread and self.ended is None:
            if self._discarding:
                self._forget()
            if not self.full:
                await self.change()
                continue
            with anyio.move_on_after(STALL) as patience:
                await self._until_changed()
            if patience.cancelled_caught:
                if self.was_read:
                    self.leave(Gone.STALLED)
                    give_up()
                    return
                self.discard()

    def discard_unread(self) -> None:
        """From now on, discard what arrives unread while a message is sent: the handler has returned.

        A reader that comes after something was discarded gets a RuntimeError.
        """
        self._discarding = True

    def discard(self) -> None:
        """Throw away what is left of the body, now and later, so that one sees when the client goes.

        Whoever reads it after all gets a RuntimeError.
        """
        self._discarding = True
        self._refusal = RuntimeError(
            "nobody read the request body, and it was thrown away: read it before the response,"
            f" or begin within {STALL:g} s of it, and go on"
        )
        self._forget()
        self._changed()
        if self._pulls:
            self._start_pull()

    def _forget(self) -> None:
        for message in self._kept:
            self._lose(message)
        self._kept.clear()
        self._size = 0

    @property
    def unsettled(self) -> bool:
        """Has `settle` anything to do?"""
        return self._pull is not None or (
            not self.finished and self._body_unread is not False and self.body_expected
        )

    async def settle(self) -> None:
        """End what the exchange began, and make room in the server's queue, before the app returns or raises.

        An app that raises half-way through its answer is cut off by the server, which first says
        so to itself, in the queue that an unread body may have filled. Takes 5 s at most, while the
        client sends faster than it can be thrown away; not disturbed by a scope's cancellation.
        A task that outlives the request gets a RuntimeError from `receive` and `send` afterwards.
        """
        if self.unsettled:
            await self._throw_away()
        self._receive, self.server_send = _receive_too_late, _send_too_late

    async def _throw_away(self) -> None:
        self._answered = self._discarding = True
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + GRACE):
            try:
                count = -1
                while not self.finished and self._body_unread and count != self.unasked:
                    count = self.unasked
                    self._forget()
                    await self.poll()
            finally:
                await self.close()
