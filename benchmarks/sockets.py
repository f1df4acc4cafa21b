"""Plain text over sockets: what a server serves with Kui, with Starlette and with a bare ASGI function.

wrk, Debian's load generator, asks over 1, 16 and 64 connections of the loopback interface, which stay open or
are closed after each request. It has one of the cores, and the server, in one process, another. All servers are up
from the beginning to the end, and are asked in turn. `kui run` binds its own socket, as it does for its users.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from .report import number, table
from .served import APP

__all__ = ["Load", "Sockets", "as_json", "measure", "tables"]

HYPERCORN = ["-w", "0", "--log-level", "warning"]
KUI = ["kui", "run", "--bind", "127.0.0.1:0", "--backend"]
SERVERS = {
    "kui run, trio": [*KUI, "trio"],
    "kui run, asyncio": [*KUI, "asyncio"],
    "kui run, uvloop": [*KUI, "uvloop"],
    "hypercorn-trio": ["hypercorn", "-k", "trio", *HYPERCORN, "-b", "fd://{fd}"],
    "hypercorn-asyncio": ["hypercorn", "-k", "asyncio", *HYPERCORN, "-b", "fd://{fd}"],
    "uvicorn": ["uvicorn", "--fd", "{fd}", "--no-access-log", "--log-level", "warning"],
}
TITLES = {
    "bare": "bare ASGI",
    "starlette": "Starlette",
    "kui": "Kui",
    "cancelling": "Kui, `cancel_on_disconnect`",
}
TARGETS = (
    ("kui run, trio", "kui", "bare", 0.9),
    ("kui run, asyncio", "kui", "bare", 0.9),
    ("kui run, uvloop", "kui", "bare", 0.8),
    ("hypercorn-trio", "kui", "bare", 0.9),
    ("hypercorn-asyncio", "kui", "bare", 0.9),
    ("uvicorn", "kui", "bare", 0.8),
    ("uvicorn", "cancelling", "kui", 0.75),
)
"""A server, which of its apps, beside which, and how many times as fast it must be, `USUAL`ly."""

UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


@dataclass(frozen=True)
class Way:
    """How many connections ask, and whether they stay open for the next request."""

    connections: int
    keep_alive: bool

    def __str__(self) -> str:
        return f"{self.connections} {'kept' if self.keep_alive else 'closed'}"


WAYS = tuple(Way(connections, kept) for kept in (True, False) for connections in (1, 16, 64))
USUAL = Way(64, True)


@dataclass(frozen=True)
class Load:
    """What wrk saw in one go: requests a second, and two quantiles of the latency in microseconds."""

    rate: float
    p50: float
    p99: float


@dataclass
class Sockets:
    """The rounds of each (server, app, way)."""

    rounds: dict[tuple[str, str, Way], list[Load]] = field(default_factory=dict)

    def middle(self, server: str, app: str, what: str, way: Way = USUAL) -> float:
        return median(getattr(load, what) for load in self.rounds[server, app, way])

    def ratio(self, server: str, app: str, beside: str, way: Way = USUAL) -> float:
        """How many times the requests a second: the median of the ratios of the rounds."""
        both = zip(self.rounds[server, app, way], self.rounds[server, beside, way], strict=True)
        return median(mine.rate / theirs.rate for mine, theirs in both)


@contextmanager
def serving(server: str, app: str) -> Iterator[str]:
    """Serve an app, and give its URL. Raises OSError or RuntimeError if the server does not come up within 20 s."""
    own = server.startswith("kui")
    with (
        closing(socket.create_server(("127.0.0.1", 0), backlog=1024)) as listener,
        tempfile.NamedTemporaryFile() as log,
    ):
        # The connections inherit it. uvicorn does not know that what it is given is TCP, and would leave it out.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fd = listener.fileno()
        command = [part.format(fd=fd) for part in SERVERS[server]]
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "benchmarks.served:app"],
            pass_fds=[] if own else [fd],
            env={**os.environ, APP: app},
            cwd=Path(__file__).resolve().parent.parent,
            stderr=log if own else None,
        )
        try:
            port = _port_in(Path(log.name), process) if own else listener.getsockname()[1]
            _come_up(process, ("127.0.0.1", port))
            listener.close()
            yield f"http://127.0.0.1:{port}/plain"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _port_in(log: Path, process: subprocess.Popen[bytes]) -> int:
    """The port that `kui run` says it listens on. Raises RuntimeError if it ends, or says none within 20 s."""
    end = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < end:
        found = re.search(r"Listening on http://127\.0\.0\.1:(\d+)", log.read_text())
        if found is not None:
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen:\n{log.read_text()}")


def _come_up(process: subprocess.Popen[bytes], address: Any) -> None:
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(b"GET /plain HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        if not client.recv(1000).startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{process.args!r} does not answer")


def load(url: str, seconds: int, way: Way = USUAL) -> Load:
    """Let wrk ask for so long. Raises RuntimeError for answers that were not 2xx, or were missing."""
    closing = [] if way.keep_alive else ["-H", "Connection: close"]
    done = subprocess.run(
        ["wrk", "-t1", f"-c{way.connections}", f"-d{seconds}s", "--latency", *closing, url],
        capture_output=True,
        text=True,
        timeout=seconds + 20,
        check=True,
    )
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(done.stdout)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    quantiles = dict(re.findall(r"(50|99)%\s+([\d.]+(?:us|ms|s))", done.stdout))
    if rate is None:
        raise RuntimeError(done.stdout)
    return Load(float(rate[1]), _microseconds(quantiles["50"]), _microseconds(quantiles["99"]))


def _microseconds(text: str) -> float:
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(value) * UNITS[unit]


def measure(
    rounds: int = 10,
    seconds: int = 1,
    tell: Callable[[str], None] = lambda line: None,
    servers: Iterable[str] = tuple(SERVERS),
) -> Sockets:
    """Ask every server with every app, in turn. Raises RuntimeError where there is no wrk."""
    if shutil.which("wrk") is None:
        raise RuntimeError("this needs wrk: apt-get install wrk")
    sockets = Sockets()
    with ExitStack() as stack:
        cases = [
            (server, app, way)
            for server in servers
            for app in TITLES
            if app != "cancelling" or server == "uvicorn"
            for way in (WAYS if app in ("bare", "kui") else (USUAL,))
        ]
        sockets.rounds = {each: [] for each in cases}
        apps = dict.fromkeys((server, app) for server, app, _ in cases)
        urls = {each: stack.enter_context(serving(*each)) for each in apps}
        for url in urls.values():
            load(url, 1)
        for turn in range(rounds):
            for server, app, way in cases if turn % 2 else reversed(cases):
                time.sleep(0.1)  # what the load before has left behind is over
                sockets.rounds[server, app, way].append(load(urls[server, app], seconds, way))
            tell(f"sockets, round {turn + 1} of {rounds}")
    return sockets


def tables(sockets: Sockets) -> str:
    """Three tables: the usual way, the others for Kui, and the targets."""
    usual = table(
        [
            f"server, app ({USUAL.connections} connections, kept)",
            "requests a second",
            "p50",
            "p99",
            ": bare",
        ],
        (
            [
                f"{server}, {TITLES[app]}",
                number(sockets.middle(server, app, "rate")),
                f"{sockets.middle(server, app, 'p50') / 1000:.2f} ms",
                f"{sockets.middle(server, app, 'p99') / 1000:.2f} ms",
                f"{sockets.ratio(server, app, 'bare'):.2f}",
            ]
            for server, app, way in sockets.rounds
            if way == USUAL
        ),
    )
    servers = dict.fromkeys(server for server, _, _ in sockets.rounds)
    ways = table(
        ["requests a second of Kui, by connections", *map(str, WAYS)],
        (
            [server, *(number(sockets.middle(server, "kui", "rate", way)) for way in WAYS)]
            for server in servers
        ),
    )
    targets = table(
        ["over a socket", "target", "got"],
        (
            [
                f"{server}: {TITLES[app]} beside {TITLES[beside]}",
                f"{wanted:g}",
                f"{got:.2f}" + ("" if got >= wanted else " **not reached**"),
            ]
            for server, app, beside, wanted in TARGETS
            if server in servers
            for got in [sockets.ratio(server, app, beside)]
        ),
    )
    return f"{usual}\n\n{ways}\n\n{targets}"


def as_json(sockets: Sockets) -> dict[str, Any]:
    return {
        f"{server}, {app}, {way}": {
            "requests_per_second": sockets.middle(server, app, "rate", way),
            "p50_microseconds": sockets.middle(server, app, "p50", way),
            "p99_microseconds": sockets.middle(server, app, "p99", way),
            "to_bare": round(sockets.ratio(server, app, "bare", way), 3),
            "rounds": [[each.rate, each.p50, each.p99] for each in rounds],
        }
        for (server, app, way), rounds in sockets.rounds.items()
    }
