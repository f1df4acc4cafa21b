"""Who asks a server over sockets, and for what: wrk, h2load, and a client of WebSockets.

Each runs for so long on a core of its own, and tells how many answers it has had.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .cases import CASES

__all__ = ["WORKS", "Load", "Work", "on_core"]

UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}
PIPELINED = 16
"""Requests that are sent together."""
REQUESTS = 2000
"""What h2load asks for in place of a second: hypercorn on trio ends for good when it leaves in the midst of them."""
STREAMS = 10
"""Requests at once on a connection of HTTP/2."""
_RAW = """\
local file = io.open("{path}", "rb")
local raw = file:read("*a")
file:close()
request = function() return raw end
"""


@dataclass(frozen=True)
class Load:
    """What was seen in one go: answers a second, two quantiles of the latency, the server's processor time an answer.

    The last three are in microseconds; the quantiles are 0 where the client does not tell them.
    """

    rate: float
    p50: float = 0.0
    p99: float = 0.0
    cost: float = 0.0
    answers: int = 0


def on_core(core: int) -> Callable[[], None]:
    """What a child process does first, to have one core: that of the server is 1, that of its client 0."""

    def pin() -> None:
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > core:
            os.sched_setaffinity(0, {core})

    return pin


def _run(*command: str, seconds: float) -> str:
    """Raises CalledProcessError, TimeoutExpired."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds + 20,
        check=True,
        preexec_fn=on_core(0),
    )
    return done.stdout


def _wrk(work: Work, url: str, connections: int, keep_alive: bool, seconds: int) -> Load:
    more = [] if keep_alive else ["-H", "Connection: close"]
    with tempfile.TemporaryDirectory() as folder:
        if work.raw:
            raw, script = Path(folder) / "raw", Path(folder) / "raw.lua"
            raw.write_bytes(work.raw)
            script.write_text(_RAW.format(path=raw))
            more += ["-s", str(script)]
        arguments = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *more]
        out = _run("wrk", *arguments, url + work.path, seconds=seconds)
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(out)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    answers = re.search(r"(\d+) requests in", out)
    quantiles = dict(re.findall(r"(50|99)%\s+([\d.]+(?:us|ms|s))", out))
    if rate is None or answers is None:
        raise RuntimeError(out)
    p50, p99 = (_microseconds(quantiles[each]) for each in ("50", "99"))
    return Load(float(rate[1]), p50, p99, answers=int(answers[1]))


def _microseconds(text: str) -> float:
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(value) * UNITS[unit]


def _h2load(work: Work, url: str, connections: int, keep_alive: bool, seconds: int) -> Load:
    answers = REQUESTS * seconds
    shape = ["-n", str(answers), "-c", str(connections), "-m", str(STREAMS)]
    out = _run("h2load", *shape, url + work.path, seconds=seconds)
    rate = re.search(r"finished in [^,]+, ([\d.]+) req/s", out)
    if rate is None or f" {answers} succeeded, 0 failed, 0 errored, 0 timeout" not in out:
        raise RuntimeError(out)
    return Load(float(rate[1]), answers=answers)


def _echoes(work: Work, url: str, connections: int, keep_alive: bool, seconds: int) -> Load:
    client = str(Path(__file__).with_name("echo_client.py"))
    address = url.removeprefix("http://")
    shape = [address, work.path, str(connections), str(seconds)]
    answers, rate, p50, p99 = _run(sys.executable, client, *shape, seconds=seconds).split()
    return Load(float(rate), float(p50), float(p99), answers=int(answers))


@dataclass(frozen=True)
class Work:
    """What is asked for: a path, in other bytes than wrk's own if `raw` is not empty, over TLS or not, by which client."""

    title: str
    path: str
    raw: bytes = b""
    tls: bool = False
    client: Callable[[Work, str, int, bool, int], Load] = _wrk

    def ask(self, url: str, connections: int, keep_alive: bool, seconds: int) -> Load:
        """Ask for so long. Raises RuntimeError for answers that were wrong, or missing."""
        return self.client(self, url, connections, keep_alive, seconds)


def _raw(case: str, *, chunked: bool = False) -> bytes:
    """The request of a case, as HTTP/1.1 has it."""
    asked = CASES[case]
    lines = [f"{asked.method} {asked.path} HTTP/1.1".encode(), b"host: 127.0.0.1"]
    lines += [b"%b: %b" % header for header in asked.headers]
    body = b"".join(asked.body)
    if chunked:
        lines.append(b"transfer-encoding: chunked")
        pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif body:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


WORKS = {
    "plain": Work("plain text", "/plain"),
    "json-in": Work("JSON in, 1 KB", "/json", _raw("json-in-1k")),
    "file": Work("100 KB out", "/files/100k.bin"),
    "chunked-in": Work("1 MB in chunks in", "/json", _raw("json-in-1m", chunked=True)),
    "stream": Work("stream of 100 chunks", "/stream/100"),
    "pipelined": Work(f"{PIPELINED} requests at once", "/plain", _raw("plain") * PIPELINED),
    "tls": Work("plain text over TLS", "/plain", tls=True),
    "websocket": Work("WebSocket, an echo", "/echo", client=_echoes),
    "http2": Work("plain text over HTTP/2", "/plain", client=_h2load),
}
