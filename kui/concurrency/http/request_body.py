"""The body of one request: received once, by one reader, or kept for all that ask, or handed on to the next app.

What was read and who may read on is in `held_body`, which waits for nothing; `Exchange` says what a disconnect means.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

import anyio.lowlevel
from baize.typing import Message, Receive

from .departures import ClientDisconnect
from .held_body import NEXT_APP, HeldBody
from .receive_buffer import ReceiveBuffer
from .send_limit import STALL
from .states import BodyEvent, ExchangeState, RequestBodyState

__all__ = ["RequestBody"]

# Python 3.11 takes ten times as long to find a member in its class.
_WHOLE: Final = RequestBodyState.WHOLE


def _chunk_of(message: Message) -> bytes:
    """Return what a message has of the body, which may be nothing.

    :raises ClientDisconnect: it says that the client left before the end of the body.
    """
    if message["type"] == "http.disconnect":
        raise ClientDisconnect("the client left before the end of the request body")
    body: bytes = message.get("body", b"")
    return body


class RequestBody(ExchangeState, ReceiveBuffer):
    """Reads the body of one request for an `Exchange`, which is derived from this."""

    _held: HeldBody | None = None

    @property
    def body_was_read(self) -> bool:
        """True if the request body has been read to its end."""
        return self.request_body is _WHOLE and not self._kept

    @property
    def held(self) -> HeldBody:
        """The state of the body: what was read, and which reader may still read it."""
        if self._held is None:
            self._held = HeldBody()
        return self._held

    @property
    def body_is_kept(self) -> bool:
        """True if the whole body is in `held`."""
        return self._held is not None and self._held.complete

    def _keep(self, message: Message) -> None:
        if self.discards and message["type"] == "http.request":
            self.messages_buffered += 1
            self._lose(message)
            self._arrived(message)
            self._changed()
        else:
            super()._keep(message)

    def _lose(self, message: Message) -> None:
        if message.get("body"):
            self.body_event(BodyEvent.DISCARDED)
            self._refusal = RuntimeError(
                "the request body was discarded: read it before the response, or begin within"
                f" {STALL:g} s of it, and go on"
            )

    async def receive(self) -> Message:
        """Receive the next message for the next app (ASGI). What was read and kept of the body comes first.

        If cancelled, no message is lost.

        :raises RuntimeError: the body was given to another reader, or another task is reading it, or a part of it was
            discarded.
        """
        held = self._held
        if held is not None and held.to_hand_on:
            await anyio.lowlevel.checkpoint()
            if held.to_hand_on:  # otherwise another task has received it meanwhile
                return held.hand_on(self.body_was_read)
        message = await super().receive()
        if message["type"] == "http.request" and (message.get("body") or message.get("more_body")):
            self.held.reader = NEXT_APP
        return message

    async def next_chunk_of_app(self) -> bytes:
        """Return the next chunk as `next_chunk` does, but begin with what was read and kept.

        This is for an app that does not call `receive`, such as a WSGI app.
        """
        if self._held is not None and self._held.to_hand_on:
            message = await self.receive()
            if message["body"]:
                return bytes(message["body"])
        return await self._next_chunk(self.receive)

    def next_chunk(self) -> Coroutine[Any, Any, bytes]:
        """Return the next chunk of the body that is not empty; at the end, return b"" each time.

        Chunks that arrived before the client left are still returned. If cancelled, no chunk is lost.

        :raises ClientDisconnect: the client left before the end of the body.
        :raises RuntimeError: a part of the body was discarded.
        """
        return self._next_chunk(super().receive)

    async def _next_chunk(self, receive: Receive) -> bytes:
        while not self.body_was_read:
            body = _chunk_of(await receive())
            if body:
                return body
        return b""

    async def keep_body(self, limit: int) -> None:
        """Read the body to its end and keep it in `held`; stop where more than `limit` bytes are kept.

        Several tasks may do so at once: one receives, the others wait for what it gets. If cancelled, nothing is lost.

        :raises ClientDisconnect: the client left before the end of the body.
        :raises RuntimeError: the body was given to another reader, or a part of it was discarded.
        """
        held = self.held
        held.check()
        held.keepers += 1
        try:
            while held.size <= limit and (self._kept or self.request_body is not _WHOLE):
                if self._receiving and not self._kept:
                    await self._until_changed()
                else:
                    held.keep(_chunk_of(await super().receive()))
        finally:
            held.keepers -= 1
        held.complete = held.size <= limit or self.body_was_read

    def discard(self) -> None:
        """Discard the unread body, and what still arrives of it, so that a disconnect behind it is seen."""
        self.give_up_body()
        self._forget()
        self._changed()
        if self._pulls:
            self._start_pull()

    def _forget(self) -> None:
        for message in self._kept:
            self._lose(message)
        self._kept.clear()
        self._size = 0
