"""The states of a WebSocket, and how it ended, whichever server says so."""

from __future__ import annotations

import enum
from typing import Final

from baize.typing import Message

__all__ = [
    "CLOSED",
    "CLOSING",
    "CONNECTING",
    "DENYING",
    "OPEN",
    "SocketState",
    "WebSocketDisconnect",
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


class SocketState(enum.Enum):
    """Where a WebSocket is. It only ever moves down this list."""

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


# Python 3.11 takes ten times as long to find a member in its class as to find a name.
CONNECTING: Final = SocketState.CONNECTING
DENYING: Final = SocketState.DENYING
OPEN: Final = SocketState.OPEN
CLOSING: Final = SocketState.CLOSING
CLOSED: Final = SocketState.CLOSED


def how_it_ended(message: Message) -> tuple[int, str]:
    """Return the code and reason of a `websocket.disconnect`.

    uvicorn says 1005, and no reason, of a connection that was lost without a close frame: that is 1006.
    """
    code = message.get("code", 1005)
    if code is None or (code == 1005 and "reason" not in message):
        code = 1006
    return int(code), str(message.get("reason") or "")
