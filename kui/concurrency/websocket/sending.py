"""The sending half of a WebSocket: the answer to its handshake, messages, and the close frame.

The state that this half shares with the receiving half is defined in `states`. What servers do differently ends here:
some tell in `send` that the client has gone, some do not, and some hold it back for ever.
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
"""Messages that may be sent beside a reader without a look, and a checkpoint."""
LINGER: Final = 1.0
"""Seconds for which the client's part in the end of the connection is waited for."""


_UNHEARD: Final = SocketReader.UNHEARD  # found faster under a name of its own


class Lookout(Protocol):
    """What sees the end of a connection: the receiving half."""

    def look(self) -> bool:
        """Have the end noticed, because the handler sends again without receiving; return True if there is a reader."""

    def start(self) -> bool:
        """Have the end noticed from now on; return True if there is a reader."""

    def watch(self, call: Callable[[], object]) -> None:
        """Call `call()` once the connection is over: at once if it is."""


class SendingHalf:
    """What goes out on one WebSocket; several tasks may use it at once.

    :param lookout: has the end of the connection noticed.
    """

    __slots__ = (
        "_held",
        "_last",
        "_lookout",
        "_says_close",
        "_send",
        "_state",
    )

    def __init__(self, state: WebSocketState, send: Send, lookout: Lookout) -> None:
        self._state = state
        self._send = send
        self._lookout = lookout
        self._held: HeldSends | None = None
        self._last: str | bytes = ""  # the message before: the server may not be rid of it
        self._says_close = False  # does a caller of `close` send the close frame?

    # The handshake.

    async def accept(self, message: Message) -> None:
        """Send `websocket.accept`. The handshake must have been received.

        :raises RuntimeError: it was accepted or refused before.
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
            state.leave(1006)  # the server has not taken it, and takes nothing else
            raise
        if state.planned is not None:
            state.close(*state.planned)

    async def deny(self, message: Message) -> None:
        """Send a message of the `websocket.http.response` extension, in its order; nothing if the client has gone.

        :raises RuntimeError: it was accepted or refused before.
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
        :raises RuntimeError: it was not accepted, or was closed by this task.
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
            for trap in steps:  # only if it waits
                await self._hold().wait(steps, trap, len(self._last) + len(data))
                break
        except disconnect_errors() as error:
            raise await self._lost() from error
        self._last = data

    async def _look_after(self) -> None:
        """Let a later send learn of the end, and other tasks run between many sends."""
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
        """Send a message that is not one of the handler's."""
        steps = self._send(message).__await__()
        for trap in steps:
            await self._hold().wait(steps, trap, size)
            break

    def _hold(self) -> HeldSends:
        """Return the sends that wait, made for the first of them."""
        if self._held is None:
            self._held = HeldSends(self._state, self._lookout.start)
        return self._held

    async def _lost(self) -> Exception:
        """Return what to raise when the server's send has said that the client has gone, or was given up."""
        state = self._state
        if state.ending is None and state.children is not None:
            gone = anyio.Event()
            self._lookout.watch(gone.set)
            with anyio.move_on_after(LINGER):
                await gone.wait()  # which tells the code
        if state.ending is None:
            state.leave(1006)
        return state.disconnect()

    # The end.

    async def close(self, code: int, reason: str, *, by_handler: bool = False) -> None:
        """Close the connection, or refuse the handshake (403), if neither has happened before.

        `by_handler`: its task has no business with the socket any more, and is told so if it goes on; otherwise
        any other user of the socket gets WebSocketDisconnect. Cancelled, it is closed all the same, but the client may not
        be told.
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
        """Give up the sends that wait for a client that has gone; or send the close frame."""
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
            self._state.leave(1006)  # it was faster

    def give_up(self) -> None:
        """Give up the sends that the server holds back."""
        if self._held is not None:
            self._held.give_up()

    def hasten(self) -> None:
        """Give a send 1 s from now on, because the app must stop."""
        if self._held is not None:
            self._held.hasten()

    def refusal(self, what: str) -> Exception:
        """Return the exception for `what`, which cannot be done in this state."""
        closer = self._state.closer
        return self._state.refusal(what, closer is not None and closer is this_task())
