"""A heartbeat in messages of the application: a client that does not answer is dropped (docs/guides/websockets.md).

ASGI has no ping frames, and some servers send none. A heartbeat in messages also finds a client whose connection
answers pings but whose script has stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import anyio
from baize.typing import Message

from .socket import Socket
from .states import WebSocketDisconnect

__all__ = ["Heartbeat", "keep_alive"]

SILENT = 1011
"""The close code for a client that does not answer."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Drops a client that does not answer: `websocket.accept(heartbeat=Heartbeat(20))`.

    After `interval` seconds without a message the client gets `ping`. If no message arrives within another `interval`
    seconds, the connection is closed with 1011. While the queue of unread messages is full, no ping is sent.

    :param interval: in seconds.
    :param ping: the text that is sent to the client.
    :param pong: the text of the client's answer, which the handler does not get. Any other message counts as an
        answer too.
    :raises ValueError: the interval is not a positive, finite number.
    """

    interval: float
    ping: str = "ping"
    pong: str = "pong"

    def __post_init__(self) -> None:
        if not 0 < self.interval < math.inf:
            raise ValueError(f"a heartbeat has a positive number of seconds, not {self.interval!r}")


def keep_alive(socket: Socket, heartbeat: Heartbeat) -> None:
    """Start the heartbeat of an open socket. A send that waits is given up when the client is dropped."""
    heard = 0

    def hear(message: Message) -> bool:
        nonlocal heard
        heard += 1
        return message.get("text") == heartbeat.pong

    scope = anyio.CancelScope()

    async def beat() -> None:
        with scope:
            while await client_is_there():
                pass
        if not scope.cancel_called:
            socket.terminate(SILENT, "no answer to a heartbeat")
            socket.sending.give_up()

    async def client_is_there() -> bool:
        before = heard
        await anyio.sleep(heartbeat.interval)
        if heard != before or socket.receiving.full:
            return True
        with anyio.move_on_after(heartbeat.interval):
            try:
                await socket.sending.send("text", heartbeat.ping)
            except WebSocketDisconnect:
                pass  # `scope` is cancelled, because the connection is over
            await anyio.sleep_forever()
        return heard != before or socket.receiving.full

    if socket.state.children is not None:
        socket.receiving.filter = hear
        socket.watch(scope.cancel)
        socket.state.children.start(beat)
