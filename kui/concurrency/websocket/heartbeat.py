"""A heartbeat of an application's own: a client that no longer answers is dropped (docs/websockets.md).

ASGI has no ping frames; servers send theirs where they are told to. This is for those that do not, and for clients
whose connection lives while their script does not.
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


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How to find out that a client is still there: `websocket.accept(heartbeat=Heartbeat(20))`.

    :param interval: seconds of silence after which the client is asked; and seconds that it has to say something.
    :param ping: the text that asks.
    :param pong: the text that answers; handlers never see it. Any other message is an answer, too.
    :raises ValueError: the interval is no positive number.

    While more is unread than is kept, the client is not asked.
    """

    interval: float
    ping: str = "ping"
    pong: str = "pong"

    def __post_init__(self) -> None:
        if not 0 < self.interval < math.inf:
            raise ValueError(f"a heartbeat has a positive number of seconds, not {self.interval!r}")


def keep_alive(socket: Socket, heartbeat: Heartbeat) -> None:
    """Drop the client of an open socket, with 1011, when it does not answer; where the server can, out of a send."""
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
                pass  # `scope` is cancelled now
            await anyio.sleep_forever()
        return heard != before or socket.receiving.full

    if socket.state.children is not None:
        socket.receiving.filter = hear
        socket.watch(scope.cancel)
        socket.state.children.start(beat)
