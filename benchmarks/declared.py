"""Declared parameters and dependencies beside the others' own: `python -m benchmarks.declared`, in the environment of `run.py`.

Each framework has a process on each loop; in a round each case is measured on all of them, one directly after the other.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

import anyio

from .cases import Case, text
from .worker import Absent, Blocks, Sites

ORDER = {
    "id": 7,
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "street": "12 St James's Square",
    "city": "London",
    "note": "x" * 700,
    "price": 12.5,
    "paid": True,
    "tags": ["a", "b", "c"],
    "quantities": list(range(20)),
}
"""About 1 KB as JSON, of ten fields."""
BODY = json.dumps(ORDER).encode()
JSON = ((b"content-type", b"application/json"),)

CASES = {
    one.name: one
    for one in (
        Case(
            "parameters",
            "path, query, header",
            "/items/7",
            text(b"7 red 4 a6f0"),
            query=b"color=red&size=4",
            headers=((b"x-token", b"a6f0"),),
        ),
        Case(
            "model",
            "1 KB of JSON, pydantic",
            "/model",
            text(b"7 19"),
            "POST",
            headers=JSON,
            body=(BODY,),
        ),
        Case(
            "struct",
            "1 KB of JSON, msgspec",
            "/struct",
            text(b"7 19"),
            "POST",
            headers=JSON,
            body=(BODY,),
        ),
        Case("graph", "five dependencies", "/graph", text(b"6 1")),
    )
}
FRAMEWORKS = {"kui": 2, "fastapi": 2, "litestar": 2, "blacksheep": 1}
"""The frameworks, and on how many loops they run: asyncio, or trio as well."""
WANTED = {"fastapi": 4.0, "litestar": 1.5, "blacksheep": 1.0}
"""How many times as fast as each Kui must be."""


async def serve(framework: str) -> None:
    """Measure blocks as ordered: lines of JSON in and out."""
    async with AsyncExitStack() as stack:
        blocks = Blocks(Sites(f"declared_{framework}", stack))
        for line in iter(sys.stdin.readline, ""):
            order = json.loads(line)
            result: dict[str, Any]
            try:
                slices = await blocks.measure(CASES[order["case"]], order["seconds"])
                result = {"took": min(slices)}
            except Absent as error:
                result = {"absent": str(error)}
            except Exception as error:
                result = {"failed": f"{type(error).__name__}: {error}"[:300]}
            print(json.dumps(result), flush=True)


class Worker:
    """The process of a framework on a loop."""

    def __init__(self, framework: str, loop: str) -> None:
        command = [sys.executable, "-m", "benchmarks.declared", "--worker", framework, loop]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self, case: str, seconds: float) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"case": case, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        result: dict[str, Any] = json.loads(self.process.stdout.readline())
        return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.06, help="for a block of calls")
    parser.add_argument(
        "--quickest", action="store_true", help="compare the quickest rounds, on a busy machine"
    )
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        logging.disable(logging.CRITICAL)
        anyio.run(serve, options.worker[0], backend=options.worker[1])
        return 0
    loops = ("asyncio", "trio")
    workers = {
        (name, loop): Worker(name, loop)
        for name, count in FRAMEWORKS.items()
        for loop in loops[:count]
    }
    took: dict[tuple[str, str, str], list[float]] = {}
    problems: dict[tuple[str, str, str], str] = {}
    for _ in range(options.rounds):
        for case in CASES:
            for (name, loop), worker in workers.items():
                result = worker.measure(case, options.seconds)
                if "took" in result:
                    took.setdefault((case, name, loop), []).append(result["took"])
                else:
                    problems[case, name, loop] = result.get("absent") or result["failed"]
    for worker in workers.values():
        worker.process.stdin.close()  # type: ignore[union-attr]  # it has one
        worker.process.wait(10)
    if options.quickest:
        took = {of: [min(rounds)] for of, rounds in took.items()}
    return report(took, problems)


def report(
    took: dict[tuple[str, str, str], list[float]], problems: dict[tuple[str, str, str], str]
) -> int:
    """Print calls per second and ratios, the medians of the rounds; return how many targets were missed."""
    missed = 0
    for case, about in CASES.items():
        print(f"\n{about.title}")
        for loop in ("asyncio", "trio"):
            mine = took[case, "kui", loop]
            line = f"  {loop:8} kui {1e6 / median(mine):9,.0f}/s"
            for name, wanted in WANTED.items():
                theirs = took.get((case, name, loop)) or took.get((case, name, "asyncio"))
                if theirs is None:
                    continue
                ratio = median(their / my for their, my in zip(theirs, mine, strict=True))
                missed += ratio < wanted
                line += f"   {ratio:5.2f} x {name}{'' if ratio >= wanted else ' (missed)'}"
            print(line)
    for (case, name, loop), problem in problems.items():
        print(f"{case}, {name} on {loop}: {problem}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
