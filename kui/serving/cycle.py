"""The `receive` and `send` (ASGI) of one request over HTTP/1.1."""

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
"""How many bytes of an unread body are discarded, at most, to keep the connection for the next request."""

# Their names as globals: up to CPython 3.11 a member of an Enum is slow to look up.
_IN_BODY, _DONE = Phase.BODY, Phase.DONE


class Carrier(Protocol):
    """The part of a connection that its cycle uses."""

    @property
    def http(self) -> Http1:
        """The parser of the connection."""

    @property
    def pipe(self) -> Pipe:
        """The pipe of the connection."""

    @property
    def ticker(self) -> Ticker:
        """The ticker of the server."""

    async def read_for(self, cycle: Cycle) -> None:
        """Read the socket until `cycle` has something to receive."""

    def wake_receivers(self) -> None:
        """Wake the tasks that wait in `receive`, so that they check their condition again."""


class Cycle(ReceivesNowait):
    """The `receive` and `send` of one request. After the request, `send` raises, and `receive` reads no socket.

    - `gone`: True once the client has left.
    - `broken`: True once nothing more can be sent.
    - `over`: True once the app has returned.
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
        self._told = False  # True once the app has received the end of the body
        self._has_waited = False  # True once a `receive` has waited

    @property
    def reusable(self) -> bool:
        """True if the response is complete, and the connection may have another request."""
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
        """Return the part of the body that has arrived, or its end; None if nothing has. See `ReceivesNowait`."""
        request = self.request
        if self.over or not (request.body or (request.complete and not self._told)):
            return None
        self._told = request.complete
        return {"type": "http.request", "body": request.take_body(), "more_body": not self._told}

    async def receive(self) -> Message:
        """ASGI's `receive`. If cancelled, no message is lost.

        Several tasks may wait in it: one of them gets the next part of the body, all get the disconnect.
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
        """ASGI's `send`. It waits while the client does not read, and can then be cancelled.

        :raises ClientGone: the client has gone (RST, or a deadline), or the request is over.
        :raises Misuse: the message must not be sent now, or is wrong.
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
        """End the connection with this response if the unread rest of the body is too long to be discarded."""
        if self.request.expects or (self.request.length or 0) > UNREAD:
            self.response.keep_alive = False
