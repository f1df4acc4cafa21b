"""The other end of `benchmarks.scale`: a worker in a process of its own, and thousands of connections to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any

__all__ = ["Worker", "connected", "exchange"]

BATCH = 50
"""How many connections are opened at a time."""
PATIENCE = 60.0
"""Seconds that a worker may take to answer."""

HEADS = {
    "events": "GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
    "channels": "GET /news HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
    "sockets": "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
}
HELLO = b"\x81\x85\0\0\0\0hello"  # a text, masked with zeros
# What a connection has received when it is open.
OPEN = {"events": b"data: ready", "channels": b"id: ", "sockets": b"\x81\x05hello"}

# Requests, and what their answers have.
MIX = [
    (b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n", 200, b"hello"),
    (b"GET /items/7?of=9 HTTP/1.1\r\nHost: x\r\n\r\n", 200, b'"9"'),
    (b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n" + b"x" * 999, 200, b"999"),
    (b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", 200, b"a piece"),
    (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404, b""),
]


class Worker:
    """A framework's app under a server, in a process of its own.

    ::

        with Worker("hypercorn-trio", "kui", ping=3) as worker:
            worker.memory()
    """

    def __init__(
        self, server: str, framework: str, ping: float = 3, *, trace: bool = False
    ) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen(4096)
            self.port: int = sock.getsockname()[1]
            command = [sys.executable, "-m", "benchmarks.scale_server"]
            self.process = subprocess.Popen(
                [*command, server, framework, str(sock.fileno()), str(ping)],
                pass_fds=[sock.fileno()],
                cwd=Path(__file__).parents[1],
                stdout=subprocess.PIPE,
            )

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def memory(self) -> int:
        """Bytes that no other process shares with it."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        fields = dict(line.split(":", 1) for line in text.splitlines()[1:])
        return 1024 * sum(
            int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty")
        )

    def processor_time(self) -> float:
        """Seconds that it has been at work, for itself and in the kernel."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def report(self) -> dict[str, Any]:
        """What it says of its tasks and its memory. From the first time on it is slow, and larger."""
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.stdout is not None
        report: dict[str, Any] = json.loads(self.process.stdout.readline())
        return report

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *args: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Connections:
    """Connections of one kind to a worker, that are kept open. `pings` counts what has come since they were."""

    def __init__(self, worker: Worker, kind: str) -> None:
        self._worker = worker
        self._kind = kind
        self._selector = DefaultSelector()
        self.pings = 0

    def open(self, count: int) -> None:
        """Open so many more, and see each of them answer."""
        while count > 0:
            batch = [self._begin() for _ in range(min(count, BATCH))]
            for sock in batch:
                if self._kind == "sockets":
                    read(sock, b"\r\n\r\n")
                    sock.sendall(HELLO)
                read(sock, OPEN[self._kind])
                sock.setblocking(False)
                self._selector.register(sock, EVENT_READ)
            count -= len(batch)

    def _begin(self) -> socket.socket:
        sock = self._worker.connect()
        sock.sendall(HEADS[self._kind].encode())
        return sock

    def listen(self, seconds: float) -> None:
        """Take what comes, and answer pings. Raises RuntimeError if the worker ends a connection."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                data = sock.recv(65536)
                if not data:
                    raise RuntimeError("the worker has ended a connection")
                if self._kind != "sockets":
                    self.pings += data.count(b": ping")
                elif data[0] == 0x89:
                    self.pings += 1
                    sock.send(b"\x8a" + bytes([0x80 | data[1]]) + bytes(4) + data[2:])

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()


@contextmanager
def connected(worker: Worker, kind: str) -> Iterator[Connections]:
    connections = Connections(worker, kind)
    try:
        yield connections
    finally:
        connections.close()


def read(sock: socket.socket, end: bytes) -> bytes:
    """What comes up to some bytes."""
    data = b""
    while end not in data:
        chunk = sock.recv(65536)
        if not chunk:
            raise RuntimeError(f"the worker has ended a connection after {data!r}")
        data += chunk
    return data


def exchange(sockets: list[socket.socket], turn: int) -> None:
    """Send one request of some sort over each connection, and check the answers."""
    asked = [MIX[(turn + place) % len(MIX)] for place in range(len(sockets))]
    for sock, (request, _, _) in zip(sockets, asked, strict=True):
        sock.sendall(request)
    for sock, (_, status, text) in zip(sockets, asked, strict=True):
        head, _, body = read(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
        head = head.lower()
        _, found, length = head.partition(b"content-length: ")
        if not found:
            while not body.endswith(b"0\r\n\r\n"):
                body += read(sock, b"\r\n")
        elif rest := int(length.partition(b"\r\n")[0]) - len(body):
            body += sock.recv(rest, socket.MSG_WAITALL)
        assert int(head.split()[1]) == status and text in body, (head, body)
