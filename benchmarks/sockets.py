"""Requests over sockets: what a server serves with Kui, with Starlette and with a bare ASGI function.

The clients of `loads` ask over the loopback interface. They have one of the cores, and the server, in one process,
another. All servers of a kind are up at once, and are asked in turn. `kui run` binds its own socket, as it does for its users.
What an answer costs is the processor time of the server: it depends less on what else the machine does than a rate.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from .loads import WORKS, Load, on_core
from .report import number, table
from .served import APP

__all__ = ["ROUNDS", "Load", "Sockets", "as_json", "measure", "tables"]

ROUNDS = 3
"""As many take ten minutes."""

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
    ("kui run, trio", "plain", 0.85),
    ("kui run, asyncio", "plain", 0.9),
    ("kui run, uvloop", "plain", 1.1),
    ("kui run, trio", "stream", 0.8),
    ("kui run, asyncio", "stream", 0.8),
    ("kui run, uvloop", "stream", 0.8),
    ("kui run, trio", "websocket", 0.8),
    ("kui run, trio", "tls", 0.8),
)
"""A server with Kui, what it is asked for, and how little it must cost: uvicorn's time with a bare function, over its own."""
HTTP2_TARGET = 3.0
"""The time of hypercorn on the same loop over that of `kui run`, with a bare function each."""


@dataclass(frozen=True)
class Way:
    """Over how many connections is asked, whether they stay open for the next request, and for what."""

    connections: int
    keep_alive: bool = True
    work: str = "plain"

    def __str__(self) -> str:
        kept = f"{self.connections} {'kept' if self.keep_alive else 'closed'}"
        return kept if self.work == "plain" else f"{WORKS[self.work].title}, {kept}"


PLAIN = tuple(Way(connections, kept) for kept in (True, False) for connections in (1, 16, 64))
WAYS = (
    *PLAIN,
    *(Way(4 if work == "http2" else 16, work=work) for work in WORKS if work != "plain"),
)
USUAL = Way(64)


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

    def saving(self, of: tuple[str, str], beside: tuple[str, str], way: Way) -> float | None:
        """How many times the processor time another one takes, likewise; None if one was not asked."""
        mine, theirs = self.rounds.get((*of, way)), self.rounds.get((*beside, way))
        if not mine or not theirs or not all(load.cost for load in mine):
            return None
        return median(other.cost / load.cost for load, other in zip(mine, theirs, strict=True))


@dataclass(frozen=True)
class Served:
    """A server that is up: where, and as which process."""

    url: str
    process: int

    def ask(self, way: Way, seconds: int) -> Load:
        """Raises RuntimeError for answers that were wrong, or were missing."""
        before = _processor_time(self.process)
        load = WORKS[way.work].ask(self.url, way.connections, way.keep_alive, seconds)
        time.sleep(0.1)  # what the load has left behind is over
        spent = _processor_time(self.process) - before
        return replace(load, cost=spent / load.answers)


def _processor_time(process: int) -> float:
    """The microseconds of all threads of a process; 0 where there is no /proc."""
    tasks = Path(f"/proc/{process}/task")
    if not tasks.exists():
        return 0.0
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1000


@contextmanager
def serving(server: str, app: str, certificate: Path | None = None) -> Iterator[Served]:
    """Serve an app, over TLS if there is a certificate. Raises OSError or RuntimeError if it does not come up in 20 s."""
    own = server.startswith("kui")
    with (
        closing(socket.create_server(("127.0.0.1", 0), backlog=1024)) as listener,
        tempfile.NamedTemporaryFile() as log,
    ):
        # The connections inherit it. uvicorn does not know that what it is given is TCP, and would leave it out.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fd = listener.fileno()
        command = [part.format(fd=fd) for part in SERVERS[server]]
        if certificate is not None:
            prefix = "--ssl-" if server == "uvicorn" else "--"
            command += [f"{prefix}certfile", str(certificate), f"{prefix}keyfile", str(certificate)]
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "benchmarks.served:app"],
            pass_fds=[] if own else [fd],
            env={**os.environ, APP: app},
            cwd=Path(__file__).resolve().parent.parent,
            stderr=log,  # hypercorn tells of each write to a client that has gone
            preexec_fn=on_core(1),
        )
        try:
            port = _port_in(Path(log.name), process) if own else listener.getsockname()[1]
            _come_up(process, ("127.0.0.1", port), certificate)
            listener.close()
            scheme = "http" if certificate is None else "https"
            yield Served(f"{scheme}://127.0.0.1:{port}", process.pid)
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
        found = re.search(r"Listening on https?://127\.0\.0\.1:(\d+)", log.read_text())
        if found is not None:
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen:\n{log.read_text()}")


def _come_up(process: subprocess.Popen[bytes], address: Any, certificate: Path | None) -> None:
    with socket.create_connection(address, timeout=20) as plain:
        client = plain
        if certificate is not None:
            trust = ssl.create_default_context(cafile=str(certificate))
            client = trust.wrap_socket(plain, server_hostname="127.0.0.1")
        client.sendall(b"GET /plain HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        if not client.recv(1000).startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{process.args!r} does not answer")


def _is_asked(server: str, app: str, way: Way) -> bool:
    if way.work == "http2" and server == "uvicorn":
        return False  # it does not have it
    if app == "cancelling":
        return server == "uvicorn" and way == USUAL
    return app in ("bare", "kui") or way == USUAL


def measure(
    rounds: int = ROUNDS,
    seconds: int = 1,
    tell: Callable[[str], None] = lambda line: None,
    servers: Iterable[str] = tuple(SERVERS),
    ways: Iterable[Way] = WAYS,
) -> Sockets:
    """Ask every server with every app, in turn. Raises RuntimeError where there is no wrk or no h2load."""
    for program, package in (("wrk", "wrk"), ("h2load", "nghttp2-client")):
        if shutil.which(program) is None:
            raise RuntimeError(f"this needs {program}: apt-get install {package}")
    sockets = Sockets()
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder) / "certificate.pem"
        _certify(certificate)
        for secure in (False, True):
            cases = [
                (server, app, way)
                for way in ways
                if WORKS[way.work].tls is secure
                for server in servers
                for app in TITLES
                if _is_asked(server, app, way)
            ]
            _ask(sockets, cases, certificate if secure else None, rounds, seconds, tell)
    return sockets


def _ask(
    sockets: Sockets,
    cases: list[tuple[str, str, Way]],
    certificate: Path | None,
    rounds: int,
    seconds: int,
    tell: Callable[[str], None],
) -> None:
    """Have the servers of these cases up, and ask them, each case once a round."""
    sockets.rounds.update({each: [] for each in cases})
    with ExitStack() as stack:
        up = {
            each: stack.enter_context(serving(*each, certificate))
            for each in dict.fromkeys((server, app) for server, app, _ in cases)
        }
        for each in up.values():
            each.ask(Way(1), 1)
        for turn in range(rounds):
            for server, app, way in cases if turn % 2 else reversed(cases):
                sockets.rounds[server, app, way].append(up[server, app].ask(way, seconds))
            over = "sockets" if certificate is None else "sockets, TLS"
            tell(f"{over}, round {turn + 1} of {rounds}")


def _certify(path: Path) -> None:
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    path.write_bytes(
        issued.private_key_pem.bytes()
        + b"".join(each.bytes() for each in issued.cert_chain_pems)
        + authority.cert_pem.bytes()
    )


def tables(sockets: Sockets) -> str:
    """Four tables: the usual way, the others for Kui, what answers cost, and the targets."""
    usual = table(
        [f"server, app ({USUAL.connections} connections, kept)", "requests a second", "p50", "p99"],
        (
            [
                f"{server}, {TITLES[app]}",
                number(sockets.middle(server, app, "rate")),
                f"{sockets.middle(server, app, 'p50') / 1000:.2f} ms",
                f"{sockets.middle(server, app, 'p99') / 1000:.2f} ms",
            ]
            for server, app, way in sockets.rounds
            if way == USUAL
        ),
    )
    servers = dict.fromkeys(server for server, _, _ in sockets.rounds)
    plain = [way for way in PLAIN if any(each[2] == way for each in sockets.rounds)]
    rates = table(
        ["requests a second of Kui, by connections", *map(str, plain)],
        (
            [server, *(number(sockets.middle(server, "kui", "rate", way)) for way in plain)]
            for server in servers
        ),
    )
    return f"{usual}\n\n{rates}\n\n{_costs(sockets)}\n\n{_targets(sockets)}"


def _costs(sockets: Sockets) -> str:
    """For each way and server, microseconds of processor time with a bare function, and with Kui."""
    servers = dict.fromkeys(server for server, _, _ in sockets.rounds)
    ways = dict.fromkeys(way for _, app, way in sockets.rounds if app == "kui")

    def cost(server: str, way: Way) -> str:
        if (server, "bare", way) not in sockets.rounds:
            return "-"
        return " / ".join(
            f"{sockets.middle(server, app, 'cost', way):.0f}" for app in ("bare", "kui")
        )

    return table(
        ["µs of processor time, bare / Kui", *servers],
        ([str(way), *(cost(server, way) for server in servers)] for way in ways),
    )


def _targets(sockets: Sockets) -> str:
    def row(what: str, wanted: float, got: float | None) -> list[str]:
        if got is None:
            return [what, f"{wanted:g}", "-"]
        return [what, f"{wanted:g}", f"{got:.2f}" + ("" if got >= wanted else " **not reached**")]

    def rows() -> Iterator[list[str]]:
        for server, work, wanted in TARGETS:
            way = USUAL if work == "plain" else Way(16, work=work)
            got = sockets.saving((server, "kui"), ("uvicorn", "bare"), way)
            yield row(f"{server}: {WORKS[work].title}", wanted, got)
        for loop in ("trio", "asyncio"):
            beside = (f"hypercorn-{loop}", "bare")
            got = sockets.saving((f"kui run, {loop}", "bare"), beside, Way(4, work="http2"))
            yield row(f"kui run, {loop}: HTTP/2 beside hypercorn", HTTP2_TARGET, got)

    return table(["processor time, of uvicorn's with a bare function", "target", "got"], rows())


def as_json(sockets: Sockets) -> dict[str, Any]:
    return {
        f"{server}, {app}, {way}": {
            "requests_per_second": sockets.middle(server, app, "rate", way),
            "p50_microseconds": sockets.middle(server, app, "p50", way),
            "p99_microseconds": sockets.middle(server, app, "p99", way),
            "processor_microseconds": sockets.middle(server, app, "cost", way),
            "to_bare": round(sockets.ratio(server, app, "bare", way), 3),
            "rounds": [[each.rate, each.p50, each.p99, each.cost] for each in rounds],
        }
        for (server, app, way), rounds in sockets.rounds.items()
    }
