"""WebSockets: the class that handlers use, running a handler, refusing a handshake, SocketView.

The states of a connection, and the code that waits, are in `kui/concurrency/websocket/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kui.on_demand import on_demand

if TYPE_CHECKING:
    from .connection import Heartbeat, SocketState, WebSocket, WebSocketDisconnect
    from .endings import InvalidMessage
    from .session import serve_socket
    from .views import SocketView, view_endpoint
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            ".connection": ["Heartbeat", "SocketState", "WebSocket", "WebSocketDisconnect"],
            ".endings": ["InvalidMessage"],
            ".session": ["serve_socket"],
            ".views": ["SocketView", "view_endpoint"],
        },
    )

__all__ = [
    "Heartbeat",
    "InvalidMessage",
    "SocketState",
    "SocketView",
    "WebSocket",
    "WebSocketDisconnect",
    "serve_socket",
    "view_endpoint",
]
