"""A proxy of TCP that lets as many bytes through to the client as a test says."""

from __future__ import annotations

import socket

import anyio
import anyio.abc

__all__ = ["SlowLine"]

SIZE = 512
"""Bytes of a packet. The kernel buffers some packets, not some bytes: so it keeps little of what is on its way."""


class SlowLine:
    """Listens at `port`; `grant` lets more bytes through, and after `open` the line is as fast as any other."""

    def __init__(self, to: int) -> None:
        self.port = 0
        self._to = to
        self._left = 0
        self._is_open = False
        self._granted = anyio.Event()

    def grant(self, size: int) -> None:
        self._left += size
        self._wake()

    def open(self) -> None:
        self._is_open = True
        self._wake()

    def _wake(self) -> None:
        self._granted.set()
        self._granted = anyio.Event()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
            task_status.started()
            await listener.serve(self._serve)

    async def _serve(self, client: anyio.abc.SocketStream) -> None:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SIZE)
            server.connect(("127.0.0.1", self._to))
            server.setblocking(False)
            async with client, anyio.create_task_group() as tasks:
                tasks.start_soon(self._ask, client, server)
                try:
                    await self._answer(server, client)
                except (OSError, anyio.BrokenResourceError):
                    pass
                tasks.cancel_scope.cancel()

    async def _ask(self, client: anyio.abc.SocketStream, server: socket.socket) -> None:
        try:
            async for data in client:
                while data:
                    await anyio.wait_writable(server)
                    data = data[server.send(data) :]
        except (OSError, anyio.BrokenResourceError):
            pass

    async def _answer(self, server: socket.socket, client: anyio.abc.SocketStream) -> None:
        while True:
            while not self._left and not self._is_open:
                await self._granted.wait()
            await anyio.wait_readable(server)
            data = server.recv(65536 if self._is_open else min(self._left, SIZE))
            if not data:
                return
            self._left = max(self._left - len(data), 0)
            await client.send(data)
