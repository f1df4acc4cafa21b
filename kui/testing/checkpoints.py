"""Interrupt one request of a client at each of its checkpoints: let the client leave, or the server cancel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import anyio
import httpx2
from baize.typing import ASGIApp, Receive, Scope, Send

from .conversations import Conversation
from .errors import Disconnected
from .harness import SteppedRun
from .transport import ASGITransport

__all__ = ["Checkpoints", "Hit", "How"]

How: TypeAlias = Literal["leave", "cancel"]


class Hit:
    """One attempt: the first request of its block is interrupted at checkpoint `at`, counted from 1.

    `reached` is True if the request has come to that checkpoint, and was interrupted.
    """

    def __init__(self, transport: ASGITransport, at: int, how: How, timeout: float | None) -> None:
        self.at = at
        self._transport = transport
        self._how = how
        self._timeout = timeout
        self._run: SteppedRun | None = None

    @property
    def reached(self) -> bool:
        return self._run is not None and self._run.seen >= self.at

    def __repr__(self) -> str:
        return f"<Hit: {'no request yet' if self._run is None else self._run.describe()}>"

    async def __aenter__(self) -> Self:
        self._transport.aim = self.around
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._transport.aim = None
        if error is not None and not isinstance(error, Exception):
            return False
        if error is None or (self.reached and isinstance(error, _CUT)):
            if self._run is None:
                raise RuntimeError("no request was made in the block of client.every_checkpoint()")
            try:
                await self._transport.idle(self._timeout)
            except Exception as failure:
                failure.add_note(repr(self))
                raise
            return True
        error.add_note(repr(self))
        return False

    def around(self, app: ASGIApp, conversation: Conversation) -> ASGIApp:
        """Return the app for one conversation, the first that begins in the block."""
        self._transport.aim = None

        async def hit(scope: Scope, receive: Receive, send: Send) -> None:
            call: Any = app(scope, receive, send)
            run = self._run = SteppedRun(call, self.at)
            if self._how == "leave":
                run.hit = conversation.leave
                await run
                return
            with anyio.CancelScope() as cancelled:
                run.hit = cancelled.cancel
                await run
            if self.reached:
                conversation.leave()  # a server that cancels a request closes its connection

        return hit


_CUT = (Disconnected, httpx2.RemoteProtocolError)


class Checkpoints(AsyncIterator[Hit]):
    """The attempts of `AsyncTestClient.every_checkpoint`: one for each checkpoint, and a last one without interruption."""

    def __init__(
        self, transport: ASGITransport, how: How, limit: int, timeout: float | None
    ) -> None:
        self._transport = transport
        self._how: How = how
        self._limit = limit
        self._timeout = timeout
        self._last: Hit | None = None

    async def __anext__(self) -> Hit:
        last = self._last
        if last is not None and not last.reached:
            raise StopAsyncIteration
        at = 1 if last is None else last.at + 1
        if at > self._limit:
            raise RuntimeError(f"the request has more than {self._limit} checkpoints: {last!r}")
        self._last = Hit(self._transport, at, self._how, self._timeout)
        return self._last
