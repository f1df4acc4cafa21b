"""One HTTP request's `receive` and `send`, for whatever answers it (docs/design.md, "One request").

The states and their transitions are defined in `states`, the buffer of unread messages in `receive_buffer`. Here is
what waits: reading the body, sending beside a body that nothing reads, and the end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, NoReturn

import anyio
import anyio.lowlevel
from baize.typing import Message, Receive, Scope, Send

from kui.concurrency.cleanup import GRACE
from kui.concurrency.loops import on_asyncio
from kui.concurrency.signals import ExitSignal
from kui.concurrency.task_group import framework_tasks
from kui.concurrency.waits import on_first_wait

from .departures import ClientDisconnect, disconnect_errors, send_failures
from .held_body import NEXT_APP, HeldBody
from .receive_buffer import ReceiveBuffer
from .send_limit import LIMIT_AT_EXIT, PIECE, STALL, Stalled, pieces_of, send_within
from .states import (
    BodyEvent,
    ExchangeState,
    Gone,
    ResponseEvent,
    ResponseState,
    body_expected,
)

__all__ = ["ClientDisconnect", "Exchange", "Gone", "body_expected", "disconnect_errors"]

_SMALL: Final = 4096
"""Bytes of a message on trio up to which its `send` is not watched: the server's buffers take it."""
_FILES: Final = frozenset(("http.response.pathsend", "http.response.zerocopysend"))
"""Messages that take as long as their file does; whether it makes progress only the server knows."""


async def _receive_too_late() -> Message:
    raise RuntimeError("this request is over: read its body before its handler and its tasks end")


async def _send_too_late(message: Message) -> None:
    raise RuntimeError("this request is over: nothing can be sent to its client any more")


class Exchange(ReceiveBuffer):
    """One HTTP request's receive and send.

    `receive` and `send` are ASGI callables: pass them on to any ASGI app, and `owner_of` finds the
    exchange again. The creator must call `settle` in a `finally`: see `exchange_of` and `HttpRequest.settle`.

    - `state`: the states of the request body and of the response, and why the exchange is over.
    - `on_start`: a function that may replace `http.response.start`, for headers that every answer must have.
    - `progress`: how many messages the server has taken; `in_send`: True while it has not taken the next one.

    ::

        exchange = Exchange(scope, receive, send)
        try:
            await app(scope, exchange.receive, exchange.send)
        finally:
            await exchange.settle()
    """

    on_start: Callable[[Message], Message] | None = None
    progress = 0
    in_send = False
    _held: HeldBody | None = None

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        fields: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self._receive = receive  # as `ReceiveBuffer` does, without the call
        self._kept: list[Message] = []
        self.scope = scope
        self.state = ExchangeState(body_expected(scope, fields))
        self.server_send = send

    @property
    def started(self) -> bool:
        """True if the response has begun."""
        return self.state.response not in (ResponseState.NOT_BEGUN, ResponseState.NEVER_BEGUN)

    @property
    def finished(self) -> bool:
        """True if the last message of the response has been sent."""
        return self.state.finished

    @property
    def gone(self) -> Gone | None:
        """Why the exchange is over, or None."""
        return self.state.gone

    @property
    def client_gone(self) -> bool:
        """True if the client is known to have left, or was given up."""
        return self.state.gone is Gone.CLIENT_LEFT or self.state.gone is Gone.STALLED

    @property
    def body_expected(self) -> bool:
        """True if more of the request body may arrive."""
        return self.state.body_is_coming

    @property
    def body_was_read(self) -> bool:
        """True if the request body has been read to its end."""
        return not self.state.body_is_open and not self._kept

    @property
    def held(self) -> HeldBody:
        """What was read of the body, and which reader may still have it."""
        if self._held is None:
            self._held = HeldBody()
        return self._held

    @property
    def exit_signal(self) -> ExitSignal | None:
        """The `exit_signal` of the app in the scope, if there is one: it tells that the server stops."""
        return self._exit_signal()

    def _exit_signal(self) -> ExitSignal | None:
        signal = getattr(self.scope.get("app"), "exit_signal", None)
        return signal if isinstance(signal, ExitSignal) else None

    def terminate(self, why: Gone) -> None:
        """End the exchange. The first reason stays, except that any other replaces a drain.

        Listeners are called, unless it is a drain, which lets a `send` come to its end.
        """
        if self.state.terminate(why) and why is not Gone.DRAIN:
            self._tell()

    # Receiving.

    def _arrived(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.ended = message
            if not self.state.answered:  # a server says so as well when the answer is complete
                self.terminate(Gone.CLIENT_LEFT)
        elif not message.get("more_body", False):
            self.state.body_event(BodyEvent.ENDS)

    def _keep(self, message: Message) -> None:
        if self.state.discards and message["type"] == "http.request":
            self.messages_buffered += 1
            self._lose(message)
            self._arrived(message)
            self._changed()
        else:
            super()._keep(message)

    def _lose(self, message: Message) -> None:
        if message.get("body"):
            self.state.body_event(BodyEvent.DISCARDED)
            self._refusal = RuntimeError(
                "the request body was discarded: read it before the response, or begin within"
                f" {STALL:g} s of it, and go on"
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

    def next_chunk(self) -> Coroutine[Any, Any, bytes]:
        """Return the next chunk of the body that is not empty; b"" at its end, again and again.

        What arrived before the client left is still returned. Cancelled, it takes nothing.

        :raises ClientDisconnect: the client left before the end of the body.
        :raises RuntimeError: a part of the body was discarded.
        """
        return self._next_chunk(super().receive)

    async def _next_chunk(self, receive: Receive) -> bytes:
        while self._kept or self.state.body_is_open:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect("the client left before the end of the request body")
            body: bytes = message.get("body", b"")
            if body:
                return body
        return b""

    async def is_disconnected(self) -> bool:
        """True if the client has left. A checkpoint that never waits for the client, and never loses a message.

        While more of the body has arrived unread than the buffer holds, a disconnect behind it is not seen.
        """
        if self.state.gone in (None, Gone.DRAIN) and not self.finished:
            await self.poll()
        return self.client_gone

    def give_up_body(self) -> None:
        """Discard what arrives of the body from now on: the handler has returned, and its response needs none.

        A reader that comes after something was discarded gets a RuntimeError.
        """
        self.state.give_up_body()

    def discard(self) -> None:
        """Discard what is left of the body, now and later, so that a disconnect behind it is seen."""
        self.give_up_body()
        self._forget()
        self._changed()
        if self._pulls:
            self._start_pull()

    def _forget(self) -> None:
        for message in self._kept:
            self._lose(message)
        self._kept.clear()
        self._size = 0

    # Sending.

    async def send(self, message: Message) -> None:
        """Send one message (ASGI); a long piece of a body in pieces of 64 KiB.

        While the server waits in a `send`, an unread body is received beside it: a server may put its own
        disconnect into the queue that the body has filled. Beside the last message, and after `give_up_body`, the
        body is discarded; otherwise the buffer keeps what fits, and discards what has not been read for 30 s.
        A `send` without progress for 30 s, or 1 s once the app must stop, is given up, where the server can be
        cancelled.

        :raises ClientDisconnect: the server says that the client has gone (ASGI 2.4; most say nothing), or
            the client counts as gone because it has stopped reading.
        """
        kind = message["type"]
        if kind == "http.response.body" and len(message.get("body", b"")) > PIECE:
            for piece in pieces_of(message):
                await self.send(piece)
            return
        if kind == "http.response.start" and self.on_start is not None:
            message = self.on_start(message)
        last = self.state.sends(message)
        self.in_send = True
        try:
            await self._passing(message)
        except send_failures() as error:
            if kind == "http.response.pathsend" and not isinstance(error, Stalled):
                raise  # about the file, more likely
            self.disconnected(error)
        finally:
            self.in_send = False
        self.progress += 1
        if last:
            self.state.sent_the_last()
            if self._pull is not None:
                await self.close()

    async def send_whole(self, start: Message, last: Message) -> None:
        """Send a response of two messages. Raises as `send` does.

        Where nothing arrives beside it, a small one is one `send`: its messages share the limit of time.
        """
        state = self.state
        if self._watchers or state.body_is_coming or len(last["body"]) > _SMALL:
            await self.send(start)
            await self.send(last)
            return
        if self.on_start is not None:
            start = self.on_start(start)
        state.sends_whole()
        send = self.server_send
        self.in_send = True
        try:
            if on_asyncio():
                await send_within(send, (start, last), STALL, LIMIT_AT_EXIT, self._exit_signal)
            else:
                await send(start)
                await send(last)
        except send_failures() as error:
            self.disconnected(error)
        finally:
            self.in_send = False
        self.progress += 2
        state.sent_the_last()
        if self._pull is not None:
            await self.close()

    async def send_chunk(self, body: bytes) -> None:
        """Send a piece of the response's body, which another one follows. Raises as `send` does."""
        await self.send({"type": "http.response.body", "body": body, "more_body": True})

    def _passing(self, message: Message) -> Awaitable[None]:
        """Return the server's `send`, beside what it needs; to be awaited."""
        if self._watchers:  # the watch of a stream sees to all of it
            return self.server_send(message)
        if self.state.body_is_coming and self.ended is None:
            return self._send_beside_body(message)
        return self._send_alone(message)

    def _send_alone(self, message: Message) -> Awaitable[None]:
        if message["type"] in _FILES:
            return self.server_send(message)
        if on_asyncio():
            return send_within(
                self.server_send, (message,), STALL, LIMIT_AT_EXIT, self._exit_signal
            )
        if len(message.get("body", b"")) > _SMALL:
            return self._send_watched(message)
        return self.server_send(message)

    async def _send_beside_body(self, message: Message) -> None:
        if self.scope.get("http_version", "1.1") >= "2":
            # It announces no body. Mostly there is none, and its end is there already.
            await self.poll()
        if self.state.body_is_coming:
            await self._send_watched(message)
        else:
            await self._send_alone(message)

    def disconnected(self, error: Exception) -> NoReturn:
        """Take note that the server's `send` has said that the client has gone, or that it was given up.

        :raises ClientDisconnect: always.
        """
        if isinstance(error, Stalled):
            self.terminate(Gone.STALLED)
            raise ClientDisconnect("the client has stopped reading") from None
        self.terminate(Gone.CLIENT_LEFT)
        raise ClientDisconnect("the client left before the end of the response") from error

    async def _send_watched(self, message: Message) -> None:
        """Send beside a task that receives what is left of the body, and gives the `send` up when it stalls."""
        stalled = False

        async def watch() -> None:
            nonlocal stalled
            await self._look_after_send(message["type"] not in _FILES)
            stalled = True
            group.cancel()

        async with framework_tasks() as group:
            await on_first_wait(self.server_send(message), lambda: group.start_soon(watch))
        if stalled:
            raise Stalled

    async def _look_after_send(self, gives_up: bool) -> None:
        """Make room while a `send` waits; return when it has stalled."""
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
                    await (
                        self._receive_unread()
                        if self.state.body_is_coming
                        else anyio.sleep_forever()
                    )
                ends = patience.deadline
                if not patience.cancelled_caught:
                    continue
                if self.full and not self.was_read and self.state.body_is_coming:
                    self.discard()
                elif gives_up or self.full:
                    return
                ends = anyio.current_time() + STALL
        finally:
            if signal is not None:
                signal.unlisten(hasten)

    async def _receive_unread(self) -> None:
        """Keep or discard what arrives of the body, until all of it has arrived."""
        while self.state.body_is_coming:
            if self.state.discards:
                self._forget()
            await self.change()

    # The end.

    @property
    def unsettled(self) -> bool:
        """True if `settle` has anything to do."""
        state = self.state
        return self._pull is not None or (not state.finished and state.body_is_coming)

    async def settle(self) -> None:
        """End what the exchange began, and make room in the server's queue, before the app returns or raises.

        The server cuts off a response that is not complete, and first tells itself that the client has gone, in the
        queue that an unread body may have filled. Settling takes 5 s at most, while the client sends faster than
        it can be discarded. No scope cancels it. A task that outlives the request gets a RuntimeError from
        `receive` and `send` afterwards.
        """
        if self.unsettled:
            await self._make_room()
        self.release()

    def release(self) -> None:
        """Let go of the server's `receive` and `send`. The caller that uses an exchange that is `unsettled` must `settle` it."""
        self._receive, self.server_send = _receive_too_late, _send_too_late

    async def _make_room(self) -> None:
        self.state.response_event(ResponseEvent.ABANDONED)
        self.give_up_body()
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + GRACE):
            try:
                count = -1
                while (
                    not self.finished
                    and self.state.body_is_coming
                    and count != self.messages_buffered
                ):
                    count = self.messages_buffered
                    self._forget()
                    await self.poll()
            finally:
                await self.close()
