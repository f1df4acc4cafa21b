"""Receive and send the messages of one HTTP request (docs/design.md, "One request").

The states and their transitions are defined in `states`, reading the body in `request_body`, the buffer of unread
messages in `receive_buffer`. This module has what else waits: sending while an unread body arrives, and the end of the
request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import CoroutineType
from typing import Final, NoReturn

import anyio
import anyio.lowlevel
from baize.typing import Message, Receive, Scope, Send

from kui.concurrency.cleanup import GRACE
from kui.concurrency.loops import on_asyncio
from kui.concurrency.signals import ExitSignal
from kui.concurrency.task_group import framework_tasks
from kui.concurrency.waits import as_coroutine, on_first_wait

from .departures import ClientDisconnect, disconnect_errors
from .request_body import RequestBody
from .send_limit import LIMIT_AT_EXIT, PIECE, STALL, pieces_of, send_within, server_gives_up
from .states import (
    BodyEvent,
    Gone,
    RequestBodyState,
    ResponseEvent,
    ResponseState,
    body_expected,
)

__all__ = ["ClientDisconnect", "Exchange", "Gone", "body_expected", "disconnect_errors"]

_SMALL: Final = 4096
"""Largest body of a message, in bytes, whose `send` is not watched on trio: the server's buffers take it."""
_FILES: Final = frozenset(("http.response.pathsend", "http.response.zerocopysend"))
"""Messages without a time limit: sending a file may take long, and only the server sees its progress."""

# Python 3.11 takes ten times as long to find a member in its class.
_ENDS: Final = BodyEvent.ENDS
_COMING: Final = RequestBodyState.COMING
_UNANNOUNCED: Final = RequestBodyState.UNANNOUNCED
_NOT_BEGUN: Final = ResponseState.NOT_BEGUN
_ENDED: Final = ResponseState.ENDED


async def _receive_too_late() -> Message:
    raise RuntimeError("this request is over: read its body before its handler and its tasks end")


async def _send_too_late(message: Message) -> None:
    raise RuntimeError("this request is over: nothing can be sent to its client any more")


class Exchange(RequestBody):
    """Receives and sends for one HTTP request.

    `receive` and `send` are ASGI callables for any ASGI app; `owner_of` finds the exchange of both. The creator must
    call `settle` in a `finally`, as `exchange_of` and `HttpRequest.settle` do.

    - `on_start`: a function that gets `http.response.start` and returns the message to send, for headers that each
      response must have.
    - `progress`: how many messages of `send` the server has taken.
    - `in_send`: True while the server has not taken the next message of `send`.

    :param fields: the headers of the scope as a dictionary, if the caller has one.

    ::

        exchange = Exchange(scope, receive, send)
        try:
            await app(scope, exchange.receive, exchange.send)
        finally:
            await exchange.settle()
    """

    on_start: Callable[[Message], Message] | None
    progress = 0
    in_send = False

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        fields: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self.scope = scope
        self.server_send = send
        self._receive = receive
        self._kept = []
        # These are read for each request: CPython finds them sooner in the instance than in the class.
        self.request_body = _COMING if body_expected(scope, fields) else _UNANNOUNCED
        self.response = _NOT_BEGUN
        self.on_start = None
        self._pull = None
        self._watchers = 0

    @property
    def client_gone(self) -> bool:
        """True if the client is known to have left, or counts as gone because it has stalled."""
        return self.gone is Gone.CLIENT_LEFT or self.gone is Gone.STALLED

    @property
    def exit_signal(self) -> ExitSignal | None:
        """The exit signal of `scope["app"]`, or None if that app has none."""
        return self._exit_signal()

    def _exit_signal(self) -> ExitSignal | None:
        signal = getattr(self.scope.get("app"), "exit_signal", None)
        return signal if isinstance(signal, ExitSignal) else None

    def terminate(self, why: Gone) -> None:
        """End the exchange, and call the listeners unless `why` is a drain, which lets a `send` finish.

        The first reason is kept, except that any other replaces a drain.
        """
        if self.ends(why) and why is not Gone.DRAIN:
            self._tell()

    # Receiving.

    def _arrived(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.ended = message
            # Servers send a disconnect after a complete response as well.
            if not self.answered:
                self.terminate(Gone.CLIENT_LEFT)
        elif not message.get("more_body", False):
            self.body_event(_ENDS)

    async def is_disconnected(self) -> bool:
        """Return True if the client has left. This is a checkpoint; it never waits for the client or loses a message.

        While the unread body fills the buffer (64 KiB or 16 messages), a disconnect behind it is not seen.
        """
        if self.gone in (None, Gone.DRAIN) and not self.finished:
            await self.poll()
        return self.client_gone

    # Sending.

    async def send(self, message: Message) -> None:
        """Send one message (ASGI). A body longer than 64 KiB is sent in pieces of 64 KiB.

        While the server's `send` waits, an unread body is received at the same time, because a server may wait in
        `send` for room in the queue that the body has filled. During the last message, and after `give_up_body`, that
        body is discarded; otherwise the buffer keeps what fits, and discards what has not been read for 30 s. A `send`
        without progress for 30 s, or for 1 s once the app must stop, is given up if the server's `send` can be
        cancelled. A server with the extension `kui.server_gives_up` has a limit of its own instead.

        :raises ClientDisconnect: the server says that the client has gone (ASGI 2.4; most servers do not), or the
            client counts as gone because it has stopped reading.
        :raises Exception: any other exception of the server's `send`.
        """
        kind = message["type"]
        if kind == "http.response.body" and len(message.get("body", b"")) > PIECE:
            for piece in pieces_of(message):
                await self.send(piece)
            return
        if kind == "http.response.start" and self.on_start is not None:
            message = self.on_start(message)
        last = self.sends(message)
        self.in_send = True
        try:
            await self._passing(message)
        except disconnect_errors() as error:
            if kind == "http.response.pathsend":
                raise  # an OSError here is more likely about the file
            self.disconnected(error)
        finally:
            self.in_send = False
        self.progress += 1
        if last:
            self.sent_the_last()
            if self._pull is not None:
                await self.close()

    def send_whole(self, start: Message, last: Message) -> Awaitable[None]:
        """Send a response that consists of two messages; must be awaited. Raises what `send` raises.

        If its body has at most 4 KiB, both messages share one time limit. A server that has a limit of its own gets
        both at once, however long the body is.
        """
        coming = self.body_is_coming
        if coming:
            self.keep_arrived()  # usually all of it: then nothing has to be received meanwhile
            coming = self.body_is_coming
        limited = server_gives_up(self.scope)
        if (
            self._watchers
            or (len(last["body"]) > _SMALL and not limited)
            or (coming and self.scope.get("http_version", "1.1") >= "2")  # it announces no body
        ):
            return self._send_both(start, last)
        if self.on_start is not None:
            start = self.on_start(start)
        self.sends_whole()
        watched = coming and self.ended is None
        sending = self._send_two(start, last, watched)
        if not (watched or limited) and on_asyncio():
            return send_within(sending, self._exit_signal, self._give_up)
        return sending

    async def _send_both(self, start: Message, last: Message) -> None:
        await self.send(start)
        await self.send(last)

    async def _send_two(self, start: Message, last: Message, watched: bool) -> None:
        send = self.server_send
        try:
            if watched:
                await self._send_watched(start, last)
            else:
                await send(start)
                await send(last)
        except disconnect_errors() as error:
            self.disconnected(error)
        self.sent_the_last()
        if self._pull is not None:
            await self.close()

    async def send_chunk(self, body: bytes) -> None:
        """Send a piece of the response's body that is not the last. Raises what `send` raises."""
        await self.send({"type": "http.response.body", "body": body, "more_body": True})

    def _passing(self, message: Message) -> Awaitable[None]:
        """Return an awaitable of the server's `send` and of the tasks that the message needs at the same time."""
        if self._watchers:  # the watch receives and keeps the time
            return self.server_send(message)
        if self.body_is_coming and self.ended is None:
            return self._send_beside_body(message)
        return self._send_alone(message)

    def _send_alone(self, message: Message) -> Awaitable[None]:
        if message["type"] in _FILES or server_gives_up(self.scope):
            return self.server_send(message)
        if on_asyncio():
            sending = self.server_send(message)
            if not isinstance(sending, CoroutineType):
                sending = as_coroutine(sending)
            return send_within(sending, self._exit_signal, self._give_up)
        if len(message.get("body", b"")) > _SMALL:
            return self._send_watched(message)
        return self.server_send(message)

    async def _send_beside_body(self, message: Message) -> None:
        if self.scope.get("http_version", "1.1") >= "2":
            # HTTP/2 and 3 do not announce a body. Usually there is none, and its end has arrived already.
            self.keep_arrived()
            if self.body_is_coming:
                await self.poll()
        if self.body_is_coming:
            await self._send_watched(message)
        else:
            await self._send_alone(message)

    def _give_up(self) -> NoReturn:
        self.terminate(Gone.STALLED)
        raise ClientDisconnect("the client has stopped reading") from None

    def disconnected(self, error: Exception) -> NoReturn:
        """End the exchange, because `send` has failed with one of `disconnect_errors`.

        :raises ClientDisconnect: always.
        """
        self.terminate(Gone.CLIENT_LEFT)
        raise ClientDisconnect("the client left before the end of the response") from error

    async def _send_watched(self, *messages: Message) -> None:
        """Send while a task receives what is left of the body, and cancels the `send` if it stalls."""
        stalled = False

        async def watch() -> None:
            nonlocal stalled
            await self._look_after_send(messages[-1]["type"] not in _FILES)
            stalled = True
            group.cancel()

        async with framework_tasks() as group:
            await on_first_wait(self._send_all(messages), lambda: group.start_soon(watch))
        if stalled:
            self._give_up()

    async def _send_all(self, messages: Iterable[Message]) -> None:
        for message in messages:
            await self.server_send(message)

    async def _look_after_send(self, gives_up: bool) -> None:
        """Receive the unread body while a `send` waits; return when the `send` has stalled.

        If the server has a limit of its own, only the limit at the app's exit counts here.

        :param gives_up: False for a message without a time limit, such as a file.
        """
        signal = self.exit_signal
        patience = anyio.CancelScope()
        stopping = False

        def hasten() -> None:
            nonlocal stopping
            stopping = True
            patience.deadline = min(patience.deadline, anyio.current_time() + LIMIT_AT_EXIT)

        ends = anyio.current_time() + STALL
        if signal is not None:
            signal.listen(hasten)
        try:
            while True:
                with anyio.CancelScope(deadline=ends) as patience:
                    if stopping:
                        hasten()
                    await (self._receive_unread() if self.body_is_coming else anyio.sleep_forever())
                ends = patience.deadline
                if not patience.cancelled_caught:
                    continue
                if self.full and not self.was_read and self.body_is_coming:
                    self.discard()
                elif (gives_up or self.full) and (stopping or not server_gives_up(self.scope)):
                    return
                ends = anyio.current_time() + STALL
        finally:
            if signal is not None:
                signal.unlisten(hasten)

    async def _receive_unread(self) -> None:
        """Keep or discard what arrives of the body, until all of it has arrived."""
        while self.body_is_coming:
            if self.discards:
                self._forget()
            await self.change()

    # The end.

    @property
    def unsettled(self) -> bool:
        """True if `settle` must wait: a body is still arriving, or a task of the buffer receives."""
        return self._pull is not None or (self.response is not _ENDED and self.body_is_coming)

    async def settle(self) -> None:
        """End the exchange's tasks, and discard the unread body of an unfinished response.

        Must be called before the app returns or raises. The server then cuts off an unfinished response, and before
        that may wait for room in the queue that an unread body has filled. This takes at most 5 s, which only a client
        needs that sends faster than its body can be discarded. No scope cancels it. Afterwards `receive` and `send`
        raise a RuntimeError in a task that outlives the request.
        """
        if self.unsettled:
            await self._make_room()
        self._receive, self.server_send = _receive_too_late, _send_too_late

    def release(self) -> Awaitable[None] | None:
        """Settle without waiting, and return None; if `settle` must wait, return it, to be awaited."""
        if self.unsettled:
            return self.settle()
        self._receive, self.server_send = _receive_too_late, _send_too_late
        return None

    @property
    def settled(self) -> bool:
        """True if the request is over: nothing can be received or sent any more."""
        return self.server_send is _send_too_late

    async def _make_room(self) -> None:
        self.response_event(ResponseEvent.ABANDONED)
        self.give_up_body()
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + GRACE):
            try:
                count = -1
                while not self.finished and self.body_is_coming and count != self.messages_buffered:
                    count = self.messages_buffered
                    self._forget()
                    await self.poll()
            finally:
                await self.close()
