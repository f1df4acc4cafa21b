"""Clients that come back, as browsers do: each keeps what it was given, and resumes behind it."""

from __future__ import annotations

import json
import socket
from typing import Any

import anyio
import anyio.abc
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

__all__ = ["Client", "EventClient", "SocketClient"]

PAUSE = 0.1
"""Seconds before a client comes back. A browser waits for `retry`; a test has less time."""


class Client:
    """Reads a channel until it is told `"end"`, over as many connections as it takes.

    `seen` is the data in the order in which it came, `gaps` where something was told to be missing,
    and `missing` what: the ids before and behind it.
    """

    def __init__(self, port: int, overflow: str = "catch_up") -> None:
        self.port = port
        self.overflow = overflow
        self.cursor = ""
        self.missing: list[tuple[str, str]] = []
        self.seen: list[Any] = []
        self.gaps: list[int] = []
        self.connections = 0
        self.opened = anyio.Event()
        self.ended = False

    async def run(self) -> None:
        while not self.ended:
            self.connections += 1
            try:
                await self.connection()
            except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, WebSocketException):
                pass
            if not self.ended:
                await anyio.sleep(PAUSE)

    async def connection(self) -> None:
        raise NotImplementedError

    def give(self, data: Any) -> None:
        self.seen.append(data)
        self.ended = data == "end"

    def tell_gap(self, after: str, next: str) -> None:
        self.gaps.append(len(self.seen))
        self.missing.append((after, next))


class EventClient(Client):
    """An event stream. `delay`: seconds to wait before each read, by which the line is slow."""

    def __init__(self, port: int, overflow: str = "catch_up", *, delay: float = 0) -> None:
        super().__init__(port, overflow)
        self.delay = delay
        self.retries: list[int] = []
        self.statuses: set[bytes] = set()

    async def connection(self) -> None:
        async with await self._connect() as stream:
            lines = [
                f"GET /events/news?overflow={self.overflow} HTTP/1.1",
                f"Host: 127.0.0.1:{self.port}",
                "Accept: text/event-stream",
            ]
            if self.cursor:
                lines.append(f"Last-Event-ID: {self.cursor}")
            await stream.send("\r\n".join([*lines, "", ""]).encode())
            text = b""
            head = False
            while not self.ended:
                await anyio.sleep(self.delay)
                text += await stream.receive(1024 if self.delay else 65536)
                if not head and b"\r\n\r\n" in text:
                    start, _, text = text.partition(b"\r\n\r\n")
                    self.statuses.add(start.split(b" ")[1])
                    head = True
                *blocks, text = text.split(b"\n\n")
                for block in blocks:
                    self._block(block)

    async def _connect(self) -> anyio.abc.SocketStream:
        stream = await anyio.connect_tcp("127.0.0.1", self.port)
        if self.delay:
            raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return stream

    def _block(self, block: bytes) -> None:
        """An event, with the frame of its chunk (RFC 9112, 7.1) before it, which has no colon."""
        fields = {}
        for line in block.replace(b"\r", b"\n").split(b"\n"):
            name, separator, value = line.partition(b": ")
            if separator:
                fields[name] = value.decode()
        if b"retry" in fields:
            self.retries.append(int(fields[b"retry"]))
        if fields.get(b"event") == "gap":
            gap = json.loads(fields[b"data"])
            self.tell_gap(gap["after"], gap["next"])
        elif b"data" in fields:
            data = fields[b"data"]
            self.give(json.loads(data)["n"] if data.startswith("{") else data)
        if b"id" in fields:
            self.cursor = fields[b"id"]
            self.opened.set()


class SocketClient(Client):
    """A WebSocket, which is told its cursor with each message."""

    async def connection(self) -> None:
        url = f"ws://127.0.0.1:{self.port}/socket/news?after={self.cursor}&overflow={self.overflow}"
        async with connect(url, open_timeout=30) as websocket:
            async for text in websocket:
                message = json.loads(text)
                if "gap" in message:
                    self.tell_gap(*message["gap"])
                    continue
                if "data" in message:
                    data = message["data"]
                    self.give(data if data == "end" else data["n"])
                self.cursor = message["cursor"]
                self.opened.set()
                if self.ended:
                    return
