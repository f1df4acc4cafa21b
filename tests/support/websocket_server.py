"""A server for one WebSocket, with the traps of the real ones; its client is the test."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias

import anyio
from anyio.lowlevel import checkpoint
from baize.typing import Message

from kui.concurrency.signals import ExitSignal
from kui.exceptions import ExceptionTable
from kui.responses.convert import ResponseConverter
from kui.websockets import WebSocket, serve_socket

__all__ = ["Kind", "Server", "Session", "session"]

Kind: TypeAlias = Literal["hypercorn", "uvicorn"]

QUEUE = 10


class Gone(OSError):
    """What uvicorn's `send` raises."""


class Server:
    """`receive` and `send` of one connection, which behave like those of hypercorn or uvicorn.

    hypercorn: a queue of ten; messages with both keys; every disconnect is a 1006; a `send` after the client has gone
    does nothing; a `send` that finds it gone, and the end of the app, put the disconnect into the queue themselves,
    and wait there while it is full. uvicorn: one key; real codes, but 1005 for a lost connection; a `send` after that
    raises.

    `sent` is what the app has sent. While `stalled`, the client reads nothing, and `send` waits; with
    `waits_for_ever`, even when the client has gone, as hypercorn does with HTTP/2.
    """

    waits_for_ever = False

    def __init__(self, kind: Kind, **scope: Any) -> None:
        self.kind = kind
        self.scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": "/",
            "query_string": b"",
            "http_version": "1.1",
            "headers": [(b"host", b"example.com")],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
            **scope,
        }
        room = QUEUE if kind == "hypercorn" else math.inf
        self._put, self._get = anyio.create_memory_object_stream[Message](room)
        self._put.send_nowait({"type": "websocket.connect"})
        self._gone = False
        self._told = False
        self._reading: anyio.Event | None = None
        self._change = anyio.Event()
        self.receiving = 0
        self.sent: list[Message] = []
        self.answers_close = True

    # ---- the app's side

    async def receive(self) -> Message:
        self.receiving += 1
        assert self.receiving == 1, "two readers at once"
        try:
            return await self._get.receive()
        finally:
            self.receiving -= 1

    async def send(self, message: Message) -> None:
        while self._reading is not None and (not self._gone or self.waits_for_ever):
            await self._reading.wait()
        if self._gone:
            if self.kind == "uvicorn":
                raise Gone
            await self._tell(1006)
            return
        if self.kind == "hypercorn":
            await checkpoint()
        self.sent.append(message)
        self._change.set()
        self._change = anyio.Event()
        if message["type"] == "websocket.close":
            self._answer(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            if self.kind == "uvicorn":
                self._put.send_nowait({"type": "websocket.disconnect", "code": 1006})

    def _answer(self, message: Message) -> None:
        if self.kind == "uvicorn":
            ending = {
                "type": "websocket.disconnect",
                "code": message["code"],
                "reason": message["reason"],
            }
            self._told = True
            self._put.send_nowait(ending)
        elif self.answers_close and self.accepted:
            self._told = True
            self._put.send_nowait({"type": "websocket.disconnect", "code": 1000})

    async def _tell(self, code: int) -> None:
        if not self._told:
            self._told = True
            await self._put.send({"type": "websocket.disconnect", "code": code})

    async def returned(self) -> None:
        """The app has returned: hypercorn says so in its queue."""
        if self.kind == "hypercorn":
            await self._tell(1000 if self.closed else 1006)

    @property
    def accepted(self) -> bool:
        return any(message["type"] == "websocket.accept" for message in self.sent)

    @property
    def closed(self) -> tuple[int, str] | None:
        """The close frame that the app has sent."""
        for message in self.sent:
            if message["type"] == "websocket.close":
                return message["code"], message["reason"]
        return None

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.sent if "text" in message]

    # ---- the client's side

    async def put(self, *data: str | bytes) -> None:
        """Send messages; wait while the server's queue is full."""
        for each in data:
            key = "text" if isinstance(each, str) else "bytes"
            message: dict[str, Any] = {"type": "websocket.receive", key: each}
            if self.kind == "hypercorn":
                message = {"bytes": None, "text": None, **message}
            await self._put.send(message)

    def stall(self) -> None:
        """Read nothing from now on."""
        self._reading = anyio.Event()

    def resume(self) -> None:
        assert self._reading is not None
        self._reading.set()
        self._reading = None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a close frame."""
        self._gone = True
        if self.kind == "hypercorn":
            await self._tell(1006)
        else:
            self._told = True
            await self._put.send({"type": "websocket.disconnect", "code": code, "reason": reason})
        self._let_go()

    async def reset(self) -> None:
        """Be gone; the server notices as soon as it can."""
        self._gone = True
        self._let_go()
        if self.kind == "uvicorn":
            self._told = True
            await self._put.send({"type": "websocket.disconnect", "code": 1005})
        else:
            await self._tell(1006)

    def vanish(self) -> None:
        """Be gone without the server's reader noticing: it hangs on its own full queue."""
        self._gone = True
        self._let_go()

    def _let_go(self) -> None:
        if self._reading is not None and not self.waits_for_ever:
            self._reading.set()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until the app has sent what makes `holds()` true."""
        while not holds():
            await self._change.wait()

    def dispose(self) -> None:
        self._put.close()
        self._get.close()


class Session:
    """A handler that runs, and what became of it: `error` is what the session raised, `returned` whether the handler did."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.websocket: WebSocket = WebSocket(server.scope, server.receive, server.send)
        self.exit_signal = ExitSignal()
        self.exceptions = ExceptionTable(ResponseConverter())
        self.convert: Callable[[Any, Any], Any] = ResponseConverter().convert
        self.error: Exception | None = None
        self.returned = False
        self.ended = anyio.Event()
        self.scope = anyio.CancelScope()

    async def serve(self, handler: Callable[[], Awaitable[Any]]) -> None:
        """Serve the connection; raise what it raises."""

        async def endpoint() -> Any:
            value = await handler()
            self.returned = True
            return value

        await serve_socket(
            self.websocket, lambda _: endpoint, self.exceptions, self.convert, self.exit_signal
        )

    async def run(self, handler: Callable[[], Awaitable[Any]]) -> None:
        """Serve the connection as a server does; keep what it raises."""
        with self.scope:
            try:
                await self.serve(handler)
            except Exception as error:
                self.error = error
            await self.server.returned()
        self.ended.set()


@asynccontextmanager
async def session(
    server: Server, handler: Callable[[], Awaitable[Any]], *, at_once: bool = False
) -> AsyncIterator[Session]:
    """Run a handler beside the block; fail if it has not ended a minute after it.

    The block begins when the handler has answered the handshake, or `at_once`.
    """
    running = Session(server)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running.run, handler)
            if not at_once:
                await server.until(lambda: server.sent)
            yield running
            with anyio.fail_after(60):
                await running.ended.wait()
    finally:
        server.dispose()
