"""Plain text over sockets: what a server serves with Kui, with Starlette and with a bare ASGI function.

wrk, Debian's load generator, asks over 32 connections of the loopback interface; it has one of the
cores, and the server, in one process, another. All servers are up from the beginning to the end, and
are asked in turn.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from .report import number, table
from .served import APP

__all__ = ["Load", "Sockets", "as_json", "measure", "tables"]

HYPERCORN = ["-w", "0", "--log-level", "warning"]
SERVERS = {
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
    ("hypercorn-trio", "kui", "bare", 0.9),
    ("hypercorn-asyncio", "kui", "bare", 0.9),
    ("uvicorn", "kui", "bare", 0.8),
    ("uvicorn", "cancelling", "kui", 0.75),
)
"""A server, which of its apps, beside which, and how many times as fast it is to be."""

CONNECTIONS = 32
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


@dataclass(frozen=True)
class Load:
    """What wrk saw in one go: requests a second, and two quantiles of the latency in microseconds."""

    rate: float
    p50: float
    p99: float


@dataclass
class Sockets:
    """The rounds of each (server, app)."""

    rounds: dict[tuple[str, str], list[Load]] = field(default_factory=dict)

    def middle(self, server: str, app: str, what: str) -> float:
        return median(getattr(load, what) for load in self.rounds[server, app])

    def ratio(self, server: str, app: str, beside: str) -> float:
        """How many times the requests a second: the median of the ratios of the rounds."""
        both = zip(self.rounds[server, app], self.rounds[server, beside], strict=True)
        return median(mine.rate / theirs.rate for mine, theirs in both)


@contextmanager
def serving(server: str, app: str) -> Iterator[str]:
    """Serve an app, and give its URL. Raises OSError or RuntimeError if the server does not come up within 20 s."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=1024)) as listener:
        # The connections inherit it. uvicorn does not know that what it is given is TCP, and would leave it out.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = listener.getsockname()
        fd = listener.fileno()
        command = [part.format(fd=fd) for part in SERVERS[server]]
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "benchmarks.served:app"],
            pass_fds=[fd],
            env={**os.environ, APP: app},
            cwd=Path(__file__).resolve().parent.parent,
        )
    try:
        _come_up(process, address)
        yield f"http://127.0.0.1:{address[1]}/plain"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _come_up(process: subprocess.Popen[bytes], address: Any) -> None:
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(b"GET /plain HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        if not client.recv(1000).startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{process.args!r} does not answer")


def load(url: str, seconds: int) -> Load:
    """Let wrk ask for so long. Raises RuntimeError for answers that were not 2xx, or were missing."""
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url],
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
    rounds: int = 10, seconds: int = 1, tell: Callable[[str], None] = lambda line: None
) -> Sockets:
    """Ask every server with every app, in turn. Raises RuntimeError where there is no wrk."""
    if shutil.which("wrk") is None:
        raise RuntimeError("this needs wrk: apt-get install wrk")
    sockets = Sockets()
    with ExitStack() as stack:
        apps = [
            (server, app)
            for server in SERVERS
            for app in TITLES
            if app != "cancelling" or server == "uvicorn"
        ]
        sockets.rounds = {each: [] for each in apps}
        urls = {each: stack.enter_context(serving(*each)) for each in apps}
        for url in urls.values():
            load(url, 1)
        for turn in range(rounds):
            for each in apps if turn % 2 else reversed(apps):
                time.sleep(0.1)  # what the load before has left behind is over
                sockets.rounds[each].append(load(urls[each], seconds))
            tell(f"sockets, round {turn + 1} of {rounds}")
    return sockets


def tables(sockets: Sockets) -> str:
    """Two tables: what was measured, and the targets."""
    measured = table(
        ["server, app", "requests a second", "p50", "p99", ": bare"],
        (
            [
                f"{server}, {TITLES[app]}",
                number(sockets.middle(server, app, "rate")),
                f"{sockets.middle(server, app, 'p50') / 1000:.2f} ms",
                f"{sockets.middle(server, app, 'p99') / 1000:.2f} ms",
                f"{sockets.ratio(server, app, 'bare'):.2f}",
            ]
            for server, app in sockets.rounds
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
            for got in [sockets.ratio(server, app, beside)]
        ),
    )
    return f"{measured}\n\n{targets}"


def as_json(sockets: Sockets) -> dict[str, Any]:
    return {
        f"{server}, {app}": {
            "requests_per_second": sockets.middle(server, app, "rate"),
            "p50_microseconds": sockets.middle(server, app, "p50"),
            "p99_microseconds": sockets.middle(server, app, "p99"),
            "to_bare": round(sockets.ratio(server, app, "bare"), 3),
            "rounds": [[each.rate, each.p50, each.p99] for each in rounds],
        }
        for (server, app), rounds in sockets.rounds.items()
    }
