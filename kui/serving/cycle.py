"""The `receive` and `send` of one request over HTTP/1.1 (ASGI), which end with it."""

from __future__ import annotations

from typing import Final, Protocol

from baize.typing import Message

from kui.concurrency.http.receive_buffer import ReceivesNowait

from .http1 import Http1
from .http1_request import Request
from .http1_response import Http1Response
from .pipes import Pipe
from .responses import Misuse, Phase
from .state import ClientGone
from .timing import Ticker

__all__ = ["UNREAD", "Cycle"]

UNREAD: Final = 1024 * 1024
"""Bytes of a body that are thrown away for the sake of the next request, or of the answer's last bytes."""

# Their names as globals: up to CPython 3.11 a member of an Enum is slow to look up.
_IN_BODY, _DONE = Phase.BODY, Phase.DONE


class Carrier(Protocol):
    """The connection that carries the request."""

    @property
    def http(self) -> Http1:
        """What parses it."""

    @property
    def pipe(self) -> Pipe:
        """Its bytes."""

    @property
    def ticker(self) -> Ticker:
        """Its clock."""

    async def read_for(self, cycle: Cycle) -> None:
        """Read the socket until `cycle` has something to receive."""

    def wake_receivers(self) -> None:
        """Have each task that waits in `receive` look again."""


class Cycle(ReceivesNowait):
    """The `receive` and `send` of one request, which end with it: then `send` raises, and `receive` touches no socket.

    `gone` is True once the client has left, `broken` once no more can be sent, `over` once the app
    has returned.
    """

    __slots__ = (
        "_connection",
        "_has_waited",
        "_told",
        "broken",
        "gone",
        "over",
        "request",
        "response",
    )

    def __init__(self, connection: Carrier, request: Request, keep_alive: bool) -> None:
        self._connection = connection
        self.request = request
        self.response = Http1Response(request, keep_alive)
        self.gone = False
        self.broken = False
        self.over = False
        self._told = False  # True once the app has the end of the body
        self._has_waited = False  # True once a `receive` has had to wait

    @property
    def reusable(self) -> bool:
        """True if the response is complete, and its connection can go on."""
        response = self.response
        return response.phase is _DONE and response.keep_alive and not self.broken

    @property
    def waits(self) -> bool:
        """True if `receive` has nothing to return yet."""
        if self.over or self.gone or self.response.phase is _DONE:
            return False
        request = self.request
        return not (request.body or (request.complete and not self._told))

    def receive_nowait(self) -> Message | None:
        """Return what has come of the body, or its end; None if nothing has. See `ReceivesNowait`."""
        request = self.request
        if self.over or not (request.body or (request.complete and not self._told)):
            return None
        self._told = request.complete
        return {"type": "http.request", "body": request.take_body(), "more_body": not self._told}

    async def receive(self) -> Message:
        """ASGI's `receive`. Cancelled, it has taken nothing.

        Several tasks may wait in it: one of them gets what comes of the body, all get the disconnect.
        """
        while not self.over:
            message = self.receive_nowait()
            if message is not None:
                return message
            if self.gone or self.response.phase is _DONE or self._connection.http.error:
                break
            self._has_waited = True
            await self._connection.read_for(self)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ASGI's `send`. It waits while the client does not take what was sent, and can be cancelled then.

        :raises ClientGone: the client has gone (RST, or a deadline), or the request is over.
        :raises Misuse: the message may not be sent now, or is wrong.
        """
        if self.over or self.broken:
            raise ClientGone("the client has gone, or the request is over")
        response, connection = self.response, self._connection
        if not self.request.complete and not response.begun:
            self._consider_the_rest()
        try:
            parts = response.send(message, connection.ticker.date)
        except Misuse:
            self.broken = response.begun
            raise
        if not parts:
            return
        try:
            await connection.pipe.write(*parts, more=response.phase is _IN_BODY)
        except OSError as error:
            self.gone = self.broken = True
            connection.wake_receivers()
            raise ClientGone("the client has gone") from error
        except BaseException:
            self.broken = True
            raise
        if response.phase is _DONE and self._has_waited:
            connection.wake_receivers()

    def _consider_the_rest(self) -> None:
        """End the connection with this response if what is left of the body is not worth it."""
        if self.request.expects or (self.request.length or 0) > UNREAD:
            self.response.keep_alive = False
