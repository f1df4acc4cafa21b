"""The states of a WebSocket, and the tables that say how they change (docs/design.md, "The states").

Nothing here waits, and nothing knows a server: what happens is an event, and a table gives the next state of each
direction. An event that a row does not name changes nothing. Both halves of a connection, `receiving` and `sending`,
work on one `WebSocketState`, which tells them of its end.
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
    """The connection is over: the client has gone, or it was closed from this side.

    `code` and `reason` are those of the close frame (RFC 6455, 7.4), from either side; 1005 means a frame
    without a code, 1006 for none at all. One that leaves a handler, alone or as the only leaves of a group, is a
    normal end.
    """

    def __init__(self, code: int = 1005, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code} {self.reason}".rstrip()


class SocketEvent(enum.IntEnum):
    """What happens to a WebSocket."""

    CONNECT = enum.auto()
    """The client's handshake, `websocket.connect`, arrives."""
    ACCEPT = enum.auto()
    """This side accepts the handshake."""
    DENY = enum.auto()
    """This side sends a message of a response instead, and others follow."""
    DENY_LAST = enum.auto()
    """This side sends the last message of that response."""
    CLOSE = enum.auto()
    """This side closes, or refuses without a response."""
    LEAVE = enum.auto()
    """The client has closed, or the connection is lost."""


class Incoming(enum.IntEnum):
    """What may arrive from the client."""

    HANDSHAKE = enum.auto()
    """The handshake, before all else."""
    NOTHING_YET = enum.auto()
    """No message before the handshake is accepted; but the client may leave."""
    MESSAGES = enum.auto()
    """Messages for the handler."""
    UNWANTED = enum.auto()
    """Messages that are discarded, because this side has closed."""
    ENDED = enum.auto()
    """Nothing more."""


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
    """Where a WebSocket is: what this side may send. It only ever moves down this list."""

    CONNECTING = "connecting"
    """The handshake has neither been accepted nor refused."""
    DENYING = "denying"
    """A response is being sent instead of the handshake's."""
    OPEN = "open"
    """Messages go both ways."""
    CLOSING = "closing"
    """This side has closed; the client has not confirmed it."""
    CLOSED = "closed"
    """Nothing more comes or goes."""

    __hash__ = object.__hash__  # in C, unlike that of Enum


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
    """Which task reads the server's `receive`; None in its place if the handler may, and has received since it last sent."""

    BARRED = enum.auto()
    """Nothing may be read, or something kept comes first."""
    NEW = enum.auto()
    """The handler may read, and has never received anything."""
    UNHEARD = enum.auto()
    """The handler may read. It has sent since it last received."""
    HANDLER = enum.auto()
    HANDLER_ONCE = enum.auto()
    """The handler reads, and what it gets needs a closer look."""
    PUMP = enum.auto()
    """A task reads beside the handler."""


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
    - `accepted`: True once the handshake has been accepted, whatever has happened since.
    - `ending`: the close code and reason, as soon as the connection is over for the handler.
    - `failure`: what the server's `receive` has raised beside the handler.
    - `closer`: the task that has closed it, while that task has no business with it any more.
    - `planned`: the code and reason to close with as soon as the handshake is accepted.
    - `reader`: which task reads.
    - `credit`: how many messages may be sent beside a reader without a look at it.
    - `has_sent`: True if the handler has sent since `look_again` was called.
    - `held_back`: how many sends the server holds back now.
    - `tell`: called at each step of the end: this side closes, the client leaves.
    - `children`: where tasks beside the handler are started; None before and after the session.

    Example::

        state = WebSocketState()
        state.happens(SocketEvent.CONNECT)
        state.close(1000, "")  # before it was accepted: refused
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
        """Go on to the next state of each direction."""
        self.incoming = INCOMING[self.incoming].get(event, self.incoming)
        self.outgoing = OUTGOING[self.outgoing].get(event, self.outgoing)
        if event is _ACCEPT:
            self.accepted = True

    def close(self, code: int, reason: str) -> None:
        """Close an open connection from this side, or refuse the handshake. Otherwise nothing happens."""
        if self.outgoing is OPEN or self.outgoing is CONNECTING:
            self._end(SocketEvent.CLOSE, code, reason)

    def leave(self, code: int, reason: str = "") -> None:
        """Take note that the client has left, or that the connection is lost. If this side has closed before, its code stays."""
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
        """Have the next send look, because reading has stopped."""
        self.credit = 0
        self.has_sent = False

    # Who is told.

    def listen(self, call: Callable[[], object]) -> None:
        """Call `call()` once the connection is over: at once if it is."""
        if self.ending is not None:
            call()
        elif self._watchers is None:
            self._watchers = [call]
        else:
            self._watchers.append(call)

    def unlisten(self, call: Callable[[], object]) -> None:
        """Take back `listen`; nothing happens if it has been called already."""
        if self._watchers and call in self._watchers:
            self._watchers.remove(call)

    @property
    def is_watched(self) -> bool:
        """True if the end must be noticed although the handler may not receive: for a listener, or for a send."""
        return bool(self._watchers) or self.held_back > 0

    def release(self) -> None:
        """Start no more tasks, and call no callback any more."""
        self.children = self.closer = None
        self.tell = ()
        self._watchers = None

    # What to raise.

    def disconnect(self) -> WebSocketDisconnect:
        """Return the exception that says how the connection ended. To be raised once it is over."""
        return WebSocketDisconnect(*(self.ending or (1006, "")))

    def refusal(self, what: str, by_closer: bool) -> Exception:
        """Return the exception for `what`, which cannot be done in this state.

        :param by_closer: True if the task that wanted it has closed the connection.
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

    uvicorn says 1005, and no reason, of a connection that was lost without a close frame: that is 1006.
    """
    code = message.get("code", 1005)
    if code is None or (code == 1005 and "reason" not in message):
        code = 1006
    return int(code), str(message.get("reason") or "")
