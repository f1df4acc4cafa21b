"""A server of bare ASGI apps in the test's own event loop: `serve(app)`, and clients that write bytes by hand."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import pytest
from baize.typing import ASGIApp, Receive, Scope, Send

from kui.serving import pipe_asyncio, pipe_trio, readable_trio
from kui.serving.accepting import Accepting
from kui.serving.state import ConnectionLimits, ServerState
from tests.support.certificates import certificate  # noqa: F401 - a fixture
from tests.support.process import PATIENCE


@pytest.fixture(params=["trio", "asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(loop: str) -> tuple[str, dict[str, Any]]:
    return ("trio", {}) if loop == "trio" else ("asyncio", {"use_uvloop": loop == "uvloop"})


async def marks_its_scope(scope: Scope, receive: Receive, send: Send) -> None:
    """Put a mark into each dictionary of the scope; answer with 1 if one was there already, otherwise with 0."""
    places = (scope, scope["extensions"], scope["state"])
    marked = any("mark" in place for place in places)
    for place in places:
        place["mark"] = {}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % marked})


class Server:
    """A running server: its state, and where it listens."""

    def __init__(self, state: ServerState, port: int, connections: Any) -> None:
        self.state = state
        self.port = port
        self.connections = connections

    @asynccontextmanager
    async def connect(self, data: bytes = b"") -> AsyncIterator[Client]:
        """A client that has sent `data`."""
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            client = Client(stream)
            await client.send(data)
            yield client

    async def ask(self, data: bytes) -> bytes:
        """What a client gets that sends `data`, and then reads up to the end of the connection."""
        async with self.connect(data) as client:
            return await client.rest()


class Client:
    """Writes and reads bytes, with patience."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self._read = b""

    async def send(self, data: bytes) -> None:
        with anyio.fail_after(PATIENCE):
            await self.stream.send(data)

    async def until(self, end: bytes) -> bytes:
        """What comes up to `end`, with it."""
        with anyio.fail_after(PATIENCE):
            while end not in self._read:
                self._read += await self.stream.receive()
        found, _, self._read = self._read.partition(end)
        return found + end

    async def rest(self) -> bytes:
        """What comes up to the end of the connection; a reset raises BrokenResourceError."""
        data, self._read = self._read, b""
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    data += await self.stream.receive()
                except anyio.EndOfStream:
                    return data

    async def body(self) -> bytes:
        """The body of a response that has a Content-Length."""
        head = await self.until(b"\r\n\r\n")
        (length,) = [
            int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: ")
        ]
        with anyio.fail_after(PATIENCE):
            while len(self._read) < length:
                self._read += await self.stream.receive()
        body, self._read = self._read[:length], self._read[length:]
        return body

    def reset(self) -> None:
        """Leave with a reset."""
        import struct

        raw = self.stream.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Serve = Callable[..., Any]


@pytest.fixture
def serve(loop: str, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """`async with serve(app) as server`: serves it until the end of the block. Options are `ConnectionLimits`'."""

    # Each connection waits as one of many does; those of tests/servers wait as one of few.
    monkeypatch.setattr(readable_trio, "FEW", 0)

    @asynccontextmanager
    async def serving(
        app: ASGIApp, *, tls: ssl.SSLContext | None = None, **limits: Any
    ) -> AsyncIterator[Server]:
        state = ServerState(app, ConnectionLimits(**limits))
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        listener.setblocking(False)
        with listener:
            pipes: Any = pipe_trio if loop == "trio" else pipe_asyncio
            async with anyio.create_task_group() as group:
                async with pipes.Connections(state, tls) as connections:
                    group.start_soon(state.ticker.run)
                    group.start_soon(pipes.accept, listener, Accepting(), connections.start)
                    yield Server(state, listener.getsockname()[1], connections)
                    connections.cancel()
                group.cancel_scope.cancel()

    return serving
