"""HTTP/2 clients that are answered before they have sent their whole body, under hypercorn.

hypercorn 0.18 looks such a stream up where it has just taken it away, and the KeyError ends the
connection, with every other stream on it. Here the rest is thrown away or refused (RFC 9113, 8.1).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, TypeAlias

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hypercorn.events import Event
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Body
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream

__all__ = ["EarlyAnswers"]

ENOUGH: Final = 16 * 1024 * 1024
"""Bytes of a body that are thrown away before the rest is refused."""

Stream: TypeAlias = HTTPStream | WSStream


class EarlyAnswers:
    """Comes before hypercorn's TCPServer among the bases, and sees to the protocol that it makes."""

    _protocol: _Watched

    @property
    def protocol(self) -> _Watched:
        return self._protocol

    @protocol.setter
    def protocol(self, made: ProtocolWrapper) -> None:
        self._protocol = _Watched(made)


class _Watched:
    """hypercorn's protocol of one connection, which may turn into HTTP/2 with any event."""

    __slots__ = ("_wrapper",)

    def __init__(self, wrapper: ProtocolWrapper) -> None:
        self._wrapper = wrapper

    async def initiate(self) -> None:
        await self._wrapper.initiate()

    async def handle(self, event: Event) -> None:
        protocol = self._wrapper.protocol
        if isinstance(protocol, H2Protocol) and not isinstance(protocol.streams, _Streams):
            protocol.streams = _Streams(protocol)
        await self._wrapper.handle(event)


class _Streams(dict[int, Stream]):
    """The streams of a connection; one that was answered and taken away is `_Answered`."""

    def __init__(self, protocol: H2Protocol) -> None:
        super().__init__(protocol.streams)
        self._answered = _Answered(protocol)

    def __missing__(self, stream_id: int) -> _Answered:
        return self._answered


class _Answered:
    """In the place of a stream whose answer is complete: what still comes for it is thrown away.

    Beyond `ENOUGH` bytes it is refused. Not at once, because some clients wait for ever then.
    """

    __slots__ = ("_discarded", "_protocol")

    def __init__(self, protocol: H2Protocol) -> None:
        self._protocol = protocol
        self._discarded: dict[int, int] = {}

    async def handle(self, event: StreamEvent) -> None:
        discarded = self._discarded.pop(event.stream_id, 0)
        if not isinstance(event, Body):
            return
        discarded += len(event.data)
        if discarded <= ENOUGH:
            self._discarded[event.stream_id] = discarded
            return
        with suppress(ProtocolError):  # it has ended, or is refused already
            self._protocol.connection.reset_stream(event.stream_id, ErrorCodes.NO_ERROR)
