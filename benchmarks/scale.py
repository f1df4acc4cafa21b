"""What thousands of open connections cost one worker: memory and processor time, beside other frameworks.

`python3 benchmarks/run.py scale` prints tables, as JSON too with `--json FILE`; `--help` says what can be chosen. Each
comparison serves the same app on all frameworks under the same server **at the same time**, in processes of their
own, so that what else the machine does disturbs all alike. Everything stays on 127.0.0.1, and ends by itself.
Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .scale_client import Worker, connected, exchange

SERVERS = ("kui-trio", "kui-asyncio", "hypercorn-trio", "hypercorn-asyncio", "uvicorn")
KINDS = ("events", "channels", "sockets")
"""Event streams of a generator, those of a channel in memory, which only Kui has, and WebSockets."""
FRAMEWORKS = ("bare", "kui", "starlette")
NAMES = {"bare": "bare ASGI", "kui": "Kui", "starlette": "Starlette, sse-starlette"}
WARM_UP = 20
"""Connections that are opened first, so that what is imported late is not counted."""
ABREAST = 20
"""Connections over which requests are sent."""
LASTING = 100
"""Requests that one such connection is good for."""
IMPORTS = (
    "import anyio",
    "from anyio import create_task_group",  # what anyio loads when it is used
    "from anyio import create_task_group; import baize.datastructures",
    "import kui.asgi",
    "from kui.asgi import FileResponse, Kui, StreamResponse, UploadFile, WebSocket, request; import kui.websockets.session",
    "import starlette.applications, starlette.responses, starlette.routing, starlette.websockets",
)


def idle(
    frameworks: Sequence[str], kind: str, server: str, count: int, ping: float, seconds: float
) -> Iterator[dict[str, Any]]:
    """Open connections to one worker of each framework, and look at all of them for some time."""
    with ExitStack() as stack:
        opened = []
        for framework in frameworks:
            worker = stack.enter_context(Worker(server, framework, ping))
            with connected(worker, kind) as first:
                first.open(WARM_UP)
            connections = stack.enter_context(connected(worker, kind))
            before = worker.memory()
            connections.open(count)
            connections.listen(ping / 4)
            opened.append((framework, worker, connections, before))
        for _, _, connections, _ in opened:
            connections.listen(0.5)  # what has come while the others were opened
        begin = [worker.processor_time() for _, worker, _, _ in opened]
        start = time.monotonic()
        counted = [connections.pings for _, _, connections, _ in opened]
        while (left := start + seconds - time.monotonic()) > 0:
            for _, _, connections, _ in opened:
                connections.listen(min(0.05, left))
        took = time.monotonic() - start
        for (framework, worker, connections, before), at_work, pings in zip(
            opened, begin, counted, strict=True
        ):
            yield {
                "kind": kind,
                "server": server,
                "framework": framework,
                "count": count,
                "ping": ping,
                "bytes each": (worker.memory() - before) / count,
                "processor": (worker.processor_time() - at_work) / took,
                "pings": connections.pings - pings,
                "seconds": took,
            }


def where(
    frameworks: Sequence[str], kind: str, server: str, count: int
) -> Iterator[dict[str, Any]]:
    """Whose code has allocated the memory of a connection, and how many tasks it has."""
    for framework in frameworks:
        with Worker(server, framework) as worker, connected(worker, kind) as each:
            each.open(WARM_UP)
            each.listen(1)
            before = worker.report()
            each.open(count)
            each.listen(1)
            after = worker.report()
        owners = {name: size / count for name, size in after["bytes"].items()}
        yield {
            "kind": kind,
            "server": server,
            "framework": framework,
            "tasks each": (after["tasks"] - before["tasks"]) / count,
            "bytes each": {name: round(size) for name, size in owners.items() if size >= 50},
        }


def flat(server: str, framework: str, count: int) -> dict[str, Any]:
    """The memory of one worker, ten times while it answers so many requests of five sorts."""
    memory = []
    with Worker(server, framework) as worker:
        for _ in range(10):
            for done in range(0, count // 10, LASTING * ABREAST):
                with ExitStack() as stack:
                    sockets = [stack.enter_context(worker.connect()) for _ in range(ABREAST)]
                    for turn in range(min(LASTING, -(-(count // 10 - done) // ABREAST))):
                        exchange(sockets, turn)
            memory.append(worker.memory())
    return {"server": server, "framework": framework, "requests": count, "memory": memory}


def imports(rounds: int) -> Iterator[tuple[str, float]]:
    """The milliseconds of processor time that a process takes for an import, over one that imports nothing.

    What is imported has been compiled before, as where it is installed: to compile takes longer than to import.
    """
    with TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for code in IMPORTS:
            subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        yield from _imports(rounds, environment)


def _imports(rounds: int, environment: dict[str, str]) -> Iterator[tuple[str, float]]:
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for code in ("", *IMPORTS):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True, env=environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            times.setdefault(code, []).append(1000 * took)
    nothing = statistics.median(times.pop(""))
    for code, each in times.items():
        yield code, statistics.median(each) - nothing


def row(*cells: object) -> None:
    print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


def head(*cells: str) -> None:
    print()
    row(*cells)
    row(*("---" if number == 0 else "---:" for number in range(len(cells))))


def table_of_idle(results: list[dict[str, Any]]) -> None:
    """One row for each server and number of connections, with medians."""
    groups: dict[tuple[Any, ...], dict[str, list[dict[str, Any]]]] = {}
    for each in results:
        key = (each["kind"], each["ping"], each["server"], each["count"])
        groups.setdefault(key, {}).setdefault(each["framework"], []).append(each)
    frameworks = [each for each in NAMES if any(each in group for group in groups.values())]
    head("KiB each; processor time; for a ping", *(NAMES[framework] for framework in frameworks))
    for (kind, ping, server, count), group in groups.items():
        cells = []
        for framework in frameworks:
            if framework not in group:
                cells.append("")
                continue
            size = statistics.median(each["bytes each"] for each in group[framework]) / 1024
            share = statistics.median(each["processor"] for each in group[framework])
            cell = f"{size:.1f}; {100 * share:.1f} %"
            if pings := sum(each["pings"] for each in group[framework]):
                spent = sum(each["processor"] * each["seconds"] for each in group[framework])
                cell += f"; {1e6 * spent / pings:.0f} µs"
            cells.append(cell)
        every = "" if kind == "sockets" else f", pings every {ping:g} s"
        row(f"{count:,} {kind}, {server}{every}", *cells)


def table_of_where(results: list[dict[str, Any]]) -> None:
    head("bytes of a connection, by whose code allocated them", "tasks", "bytes")
    for each in results:
        owners = sorted(each["bytes each"].items(), key=lambda item: -item[1])
        sizes = ", ".join(f"{name} {size:,}" for name, size in owners)
        name = f"{each['kind']}, {each['server']}, {NAMES[each['framework']]}"
        row(name, f"{each['tasks each']:g}", sizes)


def table_of_flat(results: list[dict[str, Any]]) -> None:
    head("MiB after so many tenths of the requests", *map(str, range(1, 11)))
    for each in results:
        name = f"{each['requests']:,} requests, {each['server']}, {NAMES[each['framework']]}"
        row(name, *(f"{size / 2**20:.2f}" for size in each["memory"]))


def table_of_imports(results: list[dict[str, Any]]) -> None:
    head("", "ms of processor time")
    for each in results:
        row(f"`{each['import']}`", f"{each['ms']:.0f}")


LOOKS = {
    "idle": table_of_idle,
    "where": table_of_where,
    "flat": table_of_flat,
    "imports": table_of_imports,
}


def look(chosen: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything that was chosen, one result after the other."""
    if "idle" in chosen.only:
        for _, kind, server, count in product(
            range(chosen.rounds), chosen.kinds, chosen.servers, chosen.counts
        ):
            frameworks = ("kui",) if kind == "channels" else chosen.frameworks
            for ping in chosen.pings[:1] if kind == "sockets" else chosen.pings:
                for each in idle(frameworks, kind, server, count, ping, chosen.seconds):
                    yield "idle", each
    if "where" in chosen.only:
        for kind, server in product(chosen.kinds, chosen.servers):
            frameworks = ("kui",) if kind == "channels" else chosen.frameworks
            for each in where(frameworks, kind, server, min(chosen.counts)):
                yield "where", each
    if "flat" in chosen.only:
        for server in chosen.servers:
            yield "flat", flat(server, "kui", chosen.requests)
    if "imports" in chosen.only:
        for code, took in imports(5 * chosen.rounds):
            yield "imports", {"import": code, "ms": took}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python3 benchmarks/run.py scale", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=LOOKS, default=list(LOOKS))
    parser.add_argument("--frameworks", nargs="*", choices=FRAMEWORKS, default=FRAMEWORKS)
    parser.add_argument("--servers", nargs="*", choices=SERVERS, default=SERVERS)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--counts", nargs="*", type=int, default=[1000, 5000])
    parser.add_argument("--pings", nargs="*", type=float, default=[3, 15], help="seconds")
    parser.add_argument(
        "--seconds", type=float, default=60, help="of each look at idle connections"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="a file for the results")
    chosen = parser.parse_args(arguments)
    raise_the_limit(len(chosen.frameworks) * max(chosen.counts) + 200)
    results: dict[str, list[Any]] = {}
    for name, each in look(chosen):
        results.setdefault(name, []).append(each)
        if chosen.json is not None:
            chosen.json.write_text(json.dumps(results, indent=1))
    for name, found in results.items():
        LOOKS[name](found)


def raise_the_limit(count: int) -> None:
    """Let this process, and the workers that it starts, have so many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        sys.exit(f"{count:,} open files are needed, and the limit is {hard:,}: take less --counts")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


if __name__ == "__main__":
    main(sys.argv[1:])
