"""One connection as hypercorn 0.18 serves it, put right where it waits for nobody.

What either loop does of its own stands in `kui/serving/server.py`; HTTP/2 in `hypercorn_http2`.
"""

from __future__ import annotations

from typing import Any

from hypercorn.events import Event, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import (
    H2CProtocolRequiredError,
    H2ProtocolAssumedError,
    H11Protocol,
)

from .hypercorn_http2 import Http2

__all__ = ["Connection"]


class Connection:
    """Comes before hypercorn's TCPServer, of either loop, among the bases.

    hypercorn keeps the socket of a client that has closed its connection, with a task or two, for
    the five seconds of keep-alive. Here nothing waits for a client that can ask for nothing more.
    """

    _over = False
    """Has the client said that it will send nothing more?"""
    _protocol: Protocol

    @property
    def protocol(self) -> Protocol:
        return self._protocol

    @protocol.setter
    def protocol(self, made: ProtocolWrapper) -> None:
        self._protocol = Protocol(made)

    async def _read_data(self) -> None:
        await super()._read_data()  # type: ignore[misc] # that of the TCPServer behind it
        self._over = True
        await self.idle_task.stop()  # type: ignore[attr-defined] # likewise

    async def _idle_timeout(self) -> None:
        if not self._over:
            await super()._idle_timeout()  # type: ignore[misc] # likewise


class Protocol:
    """What is spoken on a connection: hypercorn's HTTP/1.1, or our HTTP/2, as hypercorn has found out."""

    def __init__(self, made: ProtocolWrapper) -> None:
        self._made = made
        self._spoken: H11Protocol | Http2
        self._spoken = Http2(made) if isinstance(made.protocol, H2Protocol) else made.protocol

    async def initiate(self) -> None:
        await self._spoken.initiate()

    async def handle(self, event: Event) -> None:
        """Deal with an event, which may be a client's wish to go on with HTTP/2."""
        try:
            await self._spoken.handle(event)
            return
        except H2ProtocolAssumedError as wish:
            upgrade: tuple[Any, ...] = ()
            data = wish.data
        except H2CProtocolRequiredError as wish:
            upgrade, data = (wish.headers, wish.settings), wish.data
        self._spoken = Http2(self._made)
        await self._spoken.initiate(*upgrade)
        if data:
            await self._spoken.handle(RawData(data))
