"""The states of a WebSocket, and the tables of their transitions (docs/design.md, "A WebSocket").

Nothing here waits or calls a server. Two tables give the next state of each direction for an event; an event that a row
does not name changes nothing. Both halves of a connection, `receiving` and `sending`, use one `WebSocketState`, which
tells them of the end.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from baize.typing import Message

if TYPE_CHECKING:
    from kui.concurrency.children import Children

__all__ = [
    "CLOSING",
    "CONNECTING",
    "DENYING",
    "OPEN",
    "Incoming",
    "SocketEvent",
    "SocketReader",
    "SocketState",
    "WebSocketDisconnect",
    "WebSocketState",
    "how_it_ended",
]


class WebSocketDisconnect(Exception):
    """Raised if the connection is over: the client has gone, or this side has closed it.

    A handler may let it pass: it is a normal end, also if a task group has wrapped it, provided that the group holds
    nothing else.

    - `code`: the code of the close frame of either side (RFC 6455, section 7.4); 1005 if the frame had no code, 1006 if
      there was no frame.
    - `reason`: the reason of the close frame.
    """

    def __init__(self, code: int = 1005, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code} {self.reason}".rstrip()


class SocketEvent(enum.IntEnum):
    """An event of a WebSocket."""

    CONNECT = enum.auto()
    """The client's handshake, `websocket.connect`, arrives."""
    ACCEPT = enum.auto()
    """This side accepts the handshake."""
    DENY = enum.auto()
    """This side refuses the handshake and sends a message of a response that is not the last."""
    DENY_LAST = enum.auto()
    """This side sends the last message of that response."""
    CLOSE = enum.auto()
    """This side closes, or refuses without a response."""
    LEAVE = enum.auto()
    """The client has closed, or the connection is lost."""


class Incoming(enum.IntEnum):
    """What may arrive from the client."""

    HANDSHAKE = enum.auto()
    """The handshake, `websocket.connect`."""
    NOTHING_YET = enum.auto()
    """No message before the handshake is accepted, but the client may leave."""
    MESSAGES = enum.auto()
    """Messages for the handler."""
    UNWANTED = enum.auto()
    """Messages that are discarded because this side has closed."""
    ENDED = enum.auto()
    """Nothing."""


INCOMING: Final[Mapping[Incoming, Mapping[SocketEvent, Incoming]]] = {
    Incoming.HANDSHAKE: {
        SocketEvent.CONNECT: Incoming.NOTHING_YET,
        SocketEvent.CLOSE: Incoming.ENDED,
        SocketEvent.LEAVE: Incoming.ENDED,
    },
    Incoming.NOTHING_YET: {
        SocketEvent.ACCEPT: Incoming.MESSAGES,
        SocketEvent.CLOSE: Incoming.ENDED,
        SocketEvent.LEAVE: Incoming.ENDED,
    },
    Incoming.MESSAGES: {
        SocketEvent.CLOSE: Incoming.UNWANTED,
        SocketEvent.LEAVE: Incoming.ENDED,
    },
    Incoming.UNWANTED: {SocketEvent.LEAVE: Incoming.ENDED},
    Incoming.ENDED: {},
}


class SocketState(enum.Enum):
    """What this side may send. A WebSocket only moves down this list."""

    CONNECTING = "connecting"
    """The handshake has neither been accepted nor refused."""
    DENYING = "denying"
    """The handshake is being refused with a response."""
    OPEN = "open"
    """Messages may be sent and received."""
    CLOSING = "closing"
    """This side has closed, and the client has not confirmed it."""
    CLOSED = "closed"
    """Nothing may be sent."""

    __hash__ = object.__hash__  # written in C, and faster than that of Enum


OUTGOING: Final[Mapping[SocketState, Mapping[SocketEvent, SocketState]]] = {
    SocketState.CONNECTING: {
        SocketEvent.ACCEPT: SocketState.OPEN,
        SocketEvent.DENY: SocketState.DENYING,
        SocketEvent.DENY_LAST: SocketState.CLOSED,
        SocketEvent.CLOSE: SocketState.CLOSED,
        SocketEvent.LEAVE: SocketState.CLOSED,
    },
    SocketState.DENYING: {
        SocketEvent.DENY_LAST: SocketState.CLOSED,
        SocketEvent.LEAVE: SocketState.CLOSED,
    },
    SocketState.OPEN: {
        SocketEvent.CLOSE: SocketState.CLOSING,
        SocketEvent.LEAVE: SocketState.CLOSED,
    },
    SocketState.CLOSING: {SocketEvent.LEAVE: SocketState.CLOSED},
    SocketState.CLOSED: {},
}


class SocketReader(enum.Enum):
    """Which task calls the server's `receive`, or may call it next.

    None in place of a member means that the handler may, and that it has received since it last sent.
    """

    BARRED = enum.auto()
    """None may: the connection is not open, or a queued message must be taken first."""
    NEW = enum.auto()
    """The handler may, and has never received a message."""
    UNHEARD = enum.auto()
    """The handler may, and has sent since it last received."""
    HANDLER = enum.auto()
    """The handler is reading."""
    HANDLER_ONCE = enum.auto()
    """The handler is reading; afterwards the reader must be decided anew, because the end is watched or has come."""
    PUMP = enum.auto()
    """The pump, a framework task, is reading."""


# Python 3.11 takes ten times as long to find a member in its class as to find a name.
CONNECTING: Final = SocketState.CONNECTING
DENYING: Final = SocketState.DENYING
OPEN: Final = SocketState.OPEN
CLOSING: Final = SocketState.CLOSING
_HANDSHAKE: Final = Incoming.HANDSHAKE
_ACCEPT: Final = SocketEvent.ACCEPT
_LEAVE: Final = SocketEvent.LEAVE


class WebSocketState:
    """The state of one WebSocket, which its receiving and its sending half share.

    - `incoming`, `outgoing`: the state of each direction.
    - `accepted`: True once the handshake was accepted, also after the end.
    - `ending`: the close code and reason once the connection is over for the handler, otherwise None.
    - `failure`: the exception that the server's `receive` has raised in the pump, or None.
    - `closer`: the task that has closed the connection and must not use it any more, or None.
    - `planned`: the code and reason with which to close as soon as the handshake is accepted, or None.
    - `reader`: which task reads.
    - `credit`: how many messages may be sent, while there is a reader, until the next look at the state.
    - `has_sent`: True if the handler has sent since the last call of `look_again`.
    - `held_back`: how many sends wait in the server now.
    - `tell`: functions that are called at each step of the end: when this side closes, and when the client leaves.
    - `children`: starts framework tasks; None before and after the session.

    Example::

        state = WebSocketState()
        state.happens(SocketEvent.CONNECT)
        state.close(1000, "")  # it was not accepted: this refuses the handshake
    """

    __slots__ = (
        "_watchers",
        "accepted",
        "children",
        "closer",
        "credit",
        "ending",
        "failure",
        "has_sent",
        "held_back",
        "incoming",
        "outgoing",
        "planned",
        "reader",
        "tell",
    )

    def __init__(self) -> None:
        self.incoming = _HANDSHAKE
        self.outgoing = CONNECTING
        self.accepted = False
        self.ending: tuple[int, str] | None = None
        self.failure: Exception | None = None
        self.closer: object = None
        self.planned: tuple[int, str] | None = None
        self.reader: SocketReader | None = SocketReader.BARRED
        self.credit = 0
        self.has_sent = False
        self.held_back = 0
        self.children: Children | None = None
        self.tell: tuple[Callable[[], object], ...] = ()
        self._watchers: list[Callable[[], object]] | None = None

    # What happens.

    def happens(self, event: SocketEvent) -> None:
        """Apply an event to the state of each direction."""
        self.incoming = INCOMING[self.incoming].get(event, self.incoming)
        self.outgoing = OUTGOING[self.outgoing].get(event, self.outgoing)
        if event is _ACCEPT:
            self.accepted = True

    def close(self, code: int, reason: str) -> None:
        """Record that this side closes an open connection or refuses the handshake. In other states nothing happens."""
        if self.outgoing is OPEN or self.outgoing is CONNECTING:
            self._end(SocketEvent.CLOSE, code, reason)

    def leave(self, code: int, reason: str = "") -> None:
        """Record that the client has left or the connection is lost. An earlier code of this side is kept."""
        self._end(_LEAVE, code, reason)

    def _end(self, event: SocketEvent, code: int, reason: str) -> None:
        self.happens(event)
        self.credit = 0
        if self.ending is None:
            self.ending = (code, reason)
        for call in self.tell:
            call()
        watchers, self._watchers = self._watchers, None
        for call in watchers or ():
            call()

    def look_again(self) -> None:
        """Make the next send look at the state, because reading has stopped."""
        self.credit = 0
        self.has_sent = False

    # Listeners.

    def listen(self, call: Callable[[], object]) -> None:
        """Call `call()` once the connection is over; at once if it is over already."""
        if self.ending is not None:
            call()
        elif self._watchers is None:
            self._watchers = [call]
        else:
            self._watchers.append(call)

    def unlisten(self, call: Callable[[], object]) -> None:
        """Remove a callback of `listen`. Does nothing if it was called already."""
        if self._watchers and call in self._watchers:
            self._watchers.remove(call)

    @property
    def is_watched(self) -> bool:
        """True if the end must be noticed even if the handler does not receive: for a listener or a send that waits."""
        return bool(self._watchers) or self.held_back > 0

    def release(self) -> None:
        """Drop the callbacks and the means to start tasks, at the end of the session."""
        self.children = self.closer = None
        self.tell = ()
        self._watchers = None

    # What to raise.

    def disconnect(self) -> WebSocketDisconnect:
        """Return the exception that says how the connection ended. Valid once it is over."""
        return WebSocketDisconnect(*(self.ending or (1006, "")))

    def refusal(self, what: str, by_closer: bool) -> Exception:
        """Return the exception to raise because `what` cannot be done in this state.

        :param by_closer: True if the calling task has closed the connection itself.
        """
        if self.outgoing is CONNECTING:
            return RuntimeError(f"{what} before accept: call `await websocket.accept()` first")
        if self.ending is None:
            state = self.outgoing.value
            return RuntimeError(f"{what} while the WebSocket is {state}: return from the handler")
        if by_closer:
            return RuntimeError(f"{what} after close: return from the handler, or close later")
        return self.failure or self.disconnect()


def how_it_ended(message: Message) -> tuple[int, str]:
    """Return the code and reason of a `websocket.disconnect`.

    uvicorn gives 1005 and no reason for a connection that was lost without a close frame; this returns 1006 for it.
    """
    code = message.get("code", 1005)
    if code is None or (code == 1005 and "reason" not in message):
        code = 1006
    return int(code), str(message.get("reason") or "")
