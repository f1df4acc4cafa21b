"""What is left of a million requests, of connections that were cut in every state, and of ones that say nothing.

`python3 benchmarks/run.py soak` serves `soak_app.py` with `kui run` on each loop, and looks at the descriptors, tasks and
memory of the server before and after. Everything stays on 127.0.0.1 and ends by itself, with status 1 if a descriptor, a
task or a request is left, or the memory has grown beyond what is said below. Linux only.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOOPS: Final = ("trio", "asyncio", "uvloop")
REQUESTS: Final = 1_000_000
RESETS: Final = 100_000
IDLE: Final = 10_000
MOST: Final = 8 * 1024 * 1024
"""Bytes by which the memory of a server may have grown: what allocators and caches keep."""
PATIENCE: Final = 30.0
"""Seconds that anything may take on a busy machine."""

GET: Final = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST: Final = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
UPLOAD: Final = b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
UPGRADE: Final = (
    b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_RESET: Final = struct.pack("ii", 1, 0)


def _http2() -> bytes:
    from h2.connection import H2Connection

    client = H2Connection()
    client.initiate_connection()
    pseudo = [(":method", "GET"), (":path", "/stream"), (":scheme", "http"), (":authority", "a")]
    client.send_headers(1, pseudo, end_stream=True)
    return client.data_to_send()


STATES: Final[dict[str, tuple[bytes, bytes]]] = {
    "nothing said": (b"", b""),
    "half a head": (b"GET / HTTP/1.1\r\nHo", b""),
    "a head": (UPLOAD, b""),
    "half a body": (UPLOAD + bytes(50_000), b""),
    "awaiting the answer": (b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    "in a stream": (b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n", b"hello"),
    "WebSocket open": (UPGRADE, b"\r\n\r\n"),
    "HTTP/2 stream open": (_http2(), b"hello"),
}
"""By name: what is sent, and what is read before the connection is cut."""


@dataclass(frozen=True)
class Figures:
    """What a server has at a moment: open descriptors, requests, tasks, and bytes of its own."""

    descriptors: int
    requests: int
    tasks: int
    memory: int


class Server:
    """A `kui run` process on one loop."""

    def __init__(self, loop: str, *flags: str) -> None:
        command = [sys.executable, "-m", "kui", "run", "benchmarks.soak_app:app", *flags]
        self.loop = loop
        self.log = tempfile.NamedTemporaryFile()
        self.process = subprocess.Popen(
            [*command, "--backend", loop, "--bind", "127.0.0.1:0"],
            cwd=Path(__file__).resolve().parent.parent,
            stderr=self.log,
        )
        self.address = ("127.0.0.1", self._port())

    def _port(self) -> int:
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            text = Path(self.log.name).read_text()
            if found := re.search(r"Listening on \S+:(\d+)", text):
                return int(found[1])
            time.sleep(0.05)
        self.process.kill()
        raise RuntimeError(f"kui run on {self.loop} does not listen: {text}")

    def connect(self, data: bytes = b"") -> socket.socket:
        """A connection over which `data` was sent."""
        sock = socket.create_connection(self.address, PATIENCE)
        sock.sendall(data)
        return sock

    def figures(self) -> Figures:
        """What the server has, but for the request that asks."""
        with self.connect(LAST.replace(b"GET /", b"GET /figures", 1)) as sock:
            answer = b""
            while data := sock.recv(65536):
                answer += data
        found = json.loads(answer.partition(b"\r\n\r\n")[2])
        return Figures(found["descriptors"], found["requests"], found["tasks"], found["memory"])

    def settled(self, before: Figures | None = None) -> Figures:
        """What it has once it has as little as `before`, or after some time."""
        end = time.monotonic() + PATIENCE
        while True:
            now = self.figures()
            if before is None or time.monotonic() > end:
                return now
            if (now.descriptors, now.requests, now.tasks) <= (
                before.descriptors,
                before.requests,
                before.tasks,
            ):
                return now
            time.sleep(0.1)


@contextmanager
def serving(loop: str, *flags: str) -> Iterator[Server]:
    """A server, which is ended."""
    server = Server(loop, *flags)
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(PATIENCE)
        finally:
            server.process.kill()
            server.log.close()


def ask(
    server: Server, count: int, *, abreast: int = 16, at_once: int = 8, each: int = 1000
) -> int:
    """Make `count` requests or a few more, `each` over a connection, and return how many."""
    made = 0
    while made < count:
        socks = [server.connect() for _ in range(abreast)]
        for left in range(each, 0, -at_once):
            for sock in socks:
                sock.sendall(GET * (at_once - 1) + (LAST if left <= at_once else GET))
            for sock in socks:
                answers = 0
                while answers < at_once:
                    data = sock.recv(65536)
                    if not data:
                        raise RuntimeError("a connection has ended too early")
                    answers += data.count(b"\r\n\r\nhello")  # an answer is written in one piece
                made += at_once
        for sock in socks:
            sock.close()
    return made


def reset(sock: socket.socket) -> None:
    """Leave with a reset, whatever was sent."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def cut(server: Server, count: int, *, abreast: int = 50) -> int:
    """Cut `count` connections or a few more, in every state, and return how many."""
    made = 0
    while made < count:
        for data, until in STATES.values():
            socks = [server.connect(data) for _ in range(abreast)]
            for sock in socks:
                seen = b""
                while until not in seen:
                    chunk = sock.recv(65536)
                    if not chunk:
                        raise RuntimeError("a connection has ended too early")
                    seen += chunk
                reset(sock)
            made += len(socks)
    return made


@dataclass(frozen=True)
class Soaked:
    """What became of a server: how many requests or connections there were, and the figures around them."""

    loop: str
    what: str
    count: int
    seconds: float
    before: Figures
    after: Figures

    @property
    def sound(self) -> bool:
        """True if nothing is left."""
        before, after = self.before, self.after
        return (
            after.descriptors <= before.descriptors
            and after.requests == 0
            and after.tasks <= before.tasks
            and after.memory - before.memory <= MOST
        )


def soak(loop: str, requests: int = REQUESTS, resets: int = RESETS) -> Iterator[Soaked]:
    """Soak a server on this loop in requests, then in connections that are cut."""
    with serving(loop) as server:
        fresh = server.figures()
        # On trio and CPython 3.13 the memory is at its height after 10,000 connections, and does not grow then.
        ask(server, min(requests, 20_000))
        cut(server, min(resets, 10_000))
        server.settled(fresh)
        for what, count, use in (("requests", requests, ask), ("cut", resets, cut)):
            before = server.settled()
            began = time.monotonic()
            made = use(server, count)
            seconds = time.monotonic() - began
            yield Soaked(loop, what, made, seconds, before, server.settled(before))


@dataclass(frozen=True)
class Silent:
    """What connections cost that never send a request, how long they stayed, and how long others waited meanwhile."""

    loop: str
    what: str
    count: int
    bytes_each: float
    first: float
    last: float
    slowest: float
    after: Figures
    before: Figures


def silence(loop: str, count: int, what: str, deadline: float = 20.0) -> Silent:
    """Open `count` connections that send `STATES[what]` and no more, and wait until all are closed."""
    with serving(
        loop, "--keep-alive-timeout", str(deadline), "--head-timeout", str(deadline)
    ) as server:
        ask(server, 2_000)
        before = server.settled()
        began = time.monotonic()
        socks = [(server.connect(STATES[what][0]), time.monotonic()) for _ in range(count)]
        opened = server.settled()
        if opened.descriptors - before.descriptors < count:
            raise RuntimeError(f"only {opened.descriptors - before.descriptors} were open at once")
        stayed, slowest = [], 0.0
        for sock, since in socks:
            with sock:
                while True:
                    sock.settimeout(0.2)
                    try:
                        while sock.recv(65536):
                            pass
                        break
                    except TimeoutError:
                        asked = time.monotonic()
                        with server.connect(LAST) as other:
                            while other.recv(65536):
                                pass
                        slowest = max(slowest, time.monotonic() - asked)
                        if asked - began > 3 * deadline + PATIENCE:
                            raise RuntimeError("a connection stays open") from None
                stayed.append(time.monotonic() - since)
        return Silent(
            loop,
            what,
            count,
            (opened.memory - before.memory) / count,
            min(stayed),
            max(stayed),
            slowest,
            server.settled(before),
            before,
        )


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python3 benchmarks/run.py soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--requests", type=int, default=REQUESTS, metavar="N")
    parser.add_argument("--resets", type=int, default=RESETS, metavar="N")
    parser.add_argument("--idle", type=int, default=IDLE, metavar="N")
    parser.add_argument("--loops", default=",".join(LOOPS), metavar="A,B")
    chosen = parser.parse_args(args)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < chosen.idle + 200:
        parser.exit(1, f"{chosen.idle + 200} open files are needed, and {hard} are allowed\n")
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sound = True
    print("| | how many | a second | descriptors | tasks | memory, MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for loop in chosen.loops.split(","):
        for one in soak(loop, chosen.requests, chosen.resets):
            sound = sound and one.sound
            before, after = one.before, one.after
            print(
                f"| {loop}, {one.what} | {one.count:,} | {one.count / one.seconds:,.0f} "
                f"| {before.descriptors} → {after.descriptors} | {before.tasks} → {after.tasks} "
                f"| {before.memory / 2**20:.1f} → {after.memory / 2**20:.1f} |",
                flush=True,
            )
    if chosen.idle:
        print("\n| | how many | KiB each | closed after, s | slowest other answer, ms |")
        print("| --- | ---: | ---: | ---: | ---: |", flush=True)
        for loop in chosen.loops.split(","):
            for what in ("nothing said", "half a head"):
                found = silence(loop, chosen.idle, what)
                sound = sound and found.after.descriptors <= found.before.descriptors
                print(
                    f"| {loop}, {what} | {found.count:,} | {found.bytes_each / 1024:.1f} "
                    f"| {found.first:.1f} to {found.last:.1f} | {found.slowest * 1000:.0f} |",
                    flush=True,
                )
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
