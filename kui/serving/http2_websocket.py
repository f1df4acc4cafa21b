"""A WebSocket on a stream of HTTP/2 (RFC 8441). There is no key and no upgrade, and the stream is its pipe."""

from __future__ import annotations

from baize.typing import Message, Scope

from .http2_stream import ConnectionFrames, StreamCycle
from .protocol import SOCKET_EXTENSIONS
from .responses import Headers, Phase
from .state import ServerState
from .upgrade import subprotocols
from .websocket import ServerWebSocket

__all__ = ["wants_another_version", "websocket_on"]


def wants_another_version(headers: Headers) -> bool:
    """True if the client asks for a version of WebSocket that is not served."""
    return any(name == b"sec-websocket-version" and value != b"13" for name, value in headers)


def websocket_on(
    cycle: StreamCycle, frames: ConnectionFrames, state: ServerState, scope: Scope
) -> ServerWebSocket:
    """Return the WebSocket of a request that opens one.

    :param scope: the scope of the request.
    """
    stream = cycle.stream
    scope = {
        **scope,
        "type": "websocket",
        "scheme": "wss" if stream.secure else "ws",
        "subprotocols": subprotocols(cycle.request.headers),
        "extensions": SOCKET_EXTENSIONS.copy(),
    }
    del scope["method"]
    return ServerWebSocket(
        state, stream, scope, _Extended(cycle, frames, state), b"", state.limits.ping
    )


class _Extended:
    """The `Handshake` of an extended CONNECT."""

    def __init__(self, cycle: StreamCycle, frames: ConnectionFrames, state: ServerState) -> None:
        self._cycle = cycle
        self._frames = frames
        self._state = state

    async def accept(self, headers: Headers) -> None:
        """See `Handshake`."""
        date = (b"date", self._state.ticker.date)
        self._frames.headers(self._cycle.stream, [(b":status", b"200"), *headers, date])

    async def respond(self, message: Message) -> bool:
        """See `Handshake`."""
        await self._cycle.send(message)
        return self._cycle.response.phase is Phase.DONE
