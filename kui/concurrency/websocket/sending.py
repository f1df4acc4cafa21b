"""The sending half of a WebSocket: the answer to its handshake, messages, and the close frame.

The state that this half shares with the receiving half is defined in `states`. This module hides how servers differ
after a client has gone: the `send` of some raises, of others returns, and of some waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, Protocol

import anyio
import anyio.lowlevel
from baize.typing import Message, Send

from kui.concurrency.children import this_task
from kui.concurrency.cleanup import GRACE
from kui.concurrency.http.departures import disconnect_errors

from .held_sends import HeldSends
from .states import CONNECTING, DENYING, OPEN, Incoming, SocketEvent, SocketReader, WebSocketState

__all__ = ["LINGER", "SendingHalf"]

CREDIT: Final = 256
"""Messages that may be sent, while there is a reader, until the next checkpoint and look at the state."""
LINGER: Final = 1.0
"""Seconds to wait for the client's close frame or disconnect."""


_UNHEARD: Final = SocketReader.UNHEARD  # found faster under a name of its own


class Lookout(Protocol):
    """The part of the receiving half by which the sending half learns of the end of the connection."""

    def look(self) -> bool:
        """Start a reader because the handler sends again without receiving; return True if there is a reader."""

    def start(self) -> bool:
        """Start a reader unless there is one; return True if there is a reader now."""

    def watch(self, call: Callable[[], object]) -> None:
        """Call `call()` once the connection is over; at once if it is over already."""


class SendingHalf:
    """Sends the messages of one WebSocket. Several tasks may use it at once.

    :param lookout: the receiving half, which notices the end of the connection.
    :param server_gives_up: as for `Socket`.
    """

    __slots__ = (
        "_held",
        "_last",
        "_lookout",
        "_says_close",
        "_send",
        "_server_gives_up",
        "_state",
    )

    def __init__(
        self, state: WebSocketState, send: Send, lookout: Lookout, server_gives_up: bool
    ) -> None:
        self._state = state
        self._send = send
        self._lookout = lookout
        self._server_gives_up = server_gives_up
        self._held: HeldSends | None = None
        self._last: str | bytes = ""  # the message before, which the server may still be sending
        self._says_close = False  # True if a caller of `close` sends the close frame

    # The handshake.

    async def accept(self, message: Message) -> None:
        """Send `websocket.accept`. The handshake must have been received.

        :raises RuntimeError: the handshake was accepted or refused before.
        :raises WebSocketDisconnect: the client has gone.
        """
        state = self._state
        if state.outgoing is not CONNECTING:
            raise self.refusal("accept()")
        state.happens(SocketEvent.ACCEPT)
        try:
            await self._send(message)
        except disconnect_errors() as error:
            raise await self._lost() from error
        except Exception:
            state.leave(1006)  # the server has refused this message, and takes no other
            raise
        if state.planned is not None:
            state.close(*state.planned)

    async def deny(self, message: Message) -> None:
        """Send the next message of a denial response (ASGI `websocket.http.response`); none if the client has gone.

        :raises RuntimeError: the handshake was accepted or refused before.
        """
        state = self._state
        if state.outgoing is not CONNECTING and state.outgoing is not DENYING:
            if state.accepted or state.ending is None or self._says_close:
                raise self.refusal("a response")
            return
        last = message["type"] == "websocket.http.response.body" and not message.get("more_body")
        state.happens(SocketEvent.DENY_LAST if last else SocketEvent.DENY)
        try:
            await self._pass(message, len(message.get("body", b"")))
        except disconnect_errors():
            state.leave(1006)

    # Messages.

    async def send(self, kind: Literal["text", "bytes"], data: str | bytes) -> None:
        """Send one whole message.

        :raises WebSocketDisconnect: the connection is over, or the client has stopped reading.
        :raises RuntimeError: the connection was not accepted, or was closed by this task.
        """
        state = self._state
        if state.reader is None:
            state.reader = _UNHEARD
        elif state.credit:
            state.credit -= 1
        else:
            await self._look_after()
        steps = self._send({"type": "websocket.send", kind: data}).__await__()
        try:
            for trap in steps:  # entered only if the server's `send` waits
                await self._hold().wait(steps, trap, len(self._last) + len(data))
                break
        except disconnect_errors() as error:
            raise await self._lost() from error
        self._last = data

    async def _look_after(self) -> None:
        """Make sure that a later send learns of the end, and that other tasks run between many sends."""
        state = self._state
        if state.outgoing is not OPEN:
            raise self.refusal("send")
        state.has_sent = True
        if self._lookout.look():
            # hypercorn's send is no checkpoint once the client has gone.
            await anyio.lowlevel.checkpoint()
            if state.ending is not None:
                raise self.refusal("send")
            state.credit = CREDIT

    async def _pass(self, message: Message, size: int) -> None:
        """Send a message that is part of the handshake or of the close.

        :param size: as for `HeldSends.wait`.
        """
        steps = self._send(message).__await__()
        for trap in steps:
            await self._hold().wait(steps, trap, size)
            break

    def _hold(self) -> HeldSends:
        """Return the `HeldSends`, created at the first wait."""
        if self._held is None:
            self._held = HeldSends(self._state, self._lookout.start, self._server_gives_up)
        return self._held

    async def _lost(self) -> Exception:
        """Return the exception to raise after a `send` that was given up, or that says that the client has gone."""
        state = self._state
        if state.ending is None and state.children is not None:
            gone = anyio.Event()
            self._lookout.watch(gone.set)
            with anyio.move_on_after(LINGER):
                await gone.wait()  # the disconnect message has the close code
        if state.ending is None:
            state.leave(1006)
        return state.disconnect()

    # The end.

    async def close(self, code: int, reason: str, *, by_handler: bool = False) -> None:
        """Close the connection, or refuse the handshake (403). Do nothing if either has happened before.

        If cancelled, the connection is closed nevertheless, but the close frame may not have been sent.

        :param code: the close code (RFC 6455, section 7.4).
        :param by_handler: True if the calling task must not use the socket afterwards: it gets a RuntimeError if it
            does. All other users of the socket get WebSocketDisconnect.
        """
        state = self._state
        if state.outgoing is not OPEN and state.outgoing is not CONNECTING:
            return
        if by_handler:
            state.closer = this_task()
        self._says_close = True
        state.close(code, reason)
        await self._send_close()

    def end_comes(self) -> None:
        """Record that the connection is over: give up the sends if the client has gone, or send the close frame."""
        if self._state.incoming is Incoming.ENDED:
            if self._held is not None:
                self._held.give_up()
        elif not self._says_close and self._state.children is not None:
            self._state.children.start(self._say_close)

    async def _say_close(self) -> None:
        with anyio.move_on_after(GRACE):
            await self._send_close()

    async def _send_close(self) -> None:
        code, reason = self._state.ending or (1006, "")
        try:
            await self._pass(
                {"type": "websocket.close", "code": code, "reason": reason}, len(self._last)
            )
        except disconnect_errors():
            self._state.leave(1006)  # the client has gone before the close frame

    def give_up(self) -> None:
        """Give up all sends that wait."""
        if self._held is not None:
            self._held.give_up()

    def hasten(self) -> None:
        """Shorten the time limit of sends that wait to 1 s from now on, because the app must stop."""
        if self._held is not None:
            self._held.hasten()

    def refusal(self, what: str) -> Exception:
        """Return the exception to raise because `what` cannot be done in this state."""
        closer = self._state.closer
        return self._state.refusal(what, closer is not None and closer is this_task())
