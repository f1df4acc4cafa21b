"""Every case on every framework and loop, in turn: what a call takes, in process.

Each framework has a process of its own on each loop. In a round each case is measured on all of them, one
directly after the other, so that a ratio compares what was measured within a second; the rounds are
minutes apart, so that no disturbance is in most of them.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from .cases import CASES
from .frameworks import FRAMEWORKS

__all__ = ["QUICK", "Figures", "Of", "Pace", "measure"]

Of = tuple[str, str]
"""A framework and a loop."""

LIMIT = 60.0
"""Seconds that a block may take at most; a worker that takes longer is ended."""


@dataclass(frozen=True)
class Pace:
    """How many rounds there are, how many of them for heavy cases, and the seconds of a block.

    A block's figure is the quickest of its slices, for what else a machine does only adds to them. That of
    all rounds is their median, or the quickest if `quickest`, which steers well on a busy machine.
    """

    rounds: int = 11
    heavy_rounds: int = 5
    seconds: float = 0.06
    quickest: bool = False


QUICK = Pace(rounds=8, heavy_rounds=2, seconds=0.03, quickest=True)


@dataclass
class Figures:
    """For each case and each (framework, loop): microseconds a call, round by round.

    `absent` says why a framework has nothing for a case, `failed` how one has failed.
    """

    rounds: dict[str, dict[Of, list[float]]]
    quickest: bool = False
    absent: dict[tuple[str, str], str] = field(default_factory=dict)
    failed: dict[tuple[str, Of], str] = field(default_factory=dict)

    def microseconds(self, case: str, of: Of) -> float | None:
        figures = self.rounds[case].get(of)
        if not figures:
            return None
        return min(figures) if self.quickest else median(figures)

    def ratio(self, case: str, of: Of, to: Of) -> float | None:
        """How many times as fast: the median of the ratios of the rounds."""
        mine, theirs = self.rounds[case].get(of), self.rounds[case].get(to)
        if not mine or not theirs:
            return None
        if self.quickest:
            return min(theirs) / min(mine)
        return median(b / a for a, b in zip(mine, theirs, strict=False))


class Worker:
    """A process that measures one framework on one loop; see `worker.py`."""

    def __init__(self, framework: str, loop: str) -> None:
        self.of = (framework, loop)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", framework, loop],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parent.parent,
        )

    def ask(self, case: str, seconds: float) -> dict[str, object]:
        """What the worker answers; what says that it has failed, if it ends or takes too long."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps({"case": case, "seconds": seconds}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"failed": "its process has ended"}
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(LIMIT):
                self.process.kill()
        line = self.process.stdout.readline()
        answer: dict[str, object] = (
            json.loads(line) if line else {"failed": "its process has ended"}
        )
        return answer


@contextmanager
def _running(framework: str, loop: str) -> Iterator[Worker]:
    worker = Worker(framework, loop)
    try:
        yield worker
    finally:
        assert worker.process.stdin
        worker.process.stdin.close()
        try:
            worker.process.wait(5)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()


def measure(
    cases: list[str],
    frameworks: list[str],
    loops: list[str],
    pace: Pace,
    tell: Callable[[str], None] = lambda line: None,
) -> Figures:
    """Measure these cases of these frameworks on these loops. `tell` is told how far it is."""
    figures = Figures({name: {} for name in cases}, pace.quickest)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(_running(framework, loop))
            for loop in loops
            for framework in frameworks
            if loop in FRAMEWORKS[framework].loops
        ]
        for number in range(pace.rounds):
            for name in cases:
                if CASES[name].heavy and number >= pace.heavy_rounds:
                    continue
                for worker in workers if number % 2 else reversed(workers):
                    _block(worker, name, pace, figures)
            tell(f"round {number + 1} of {pace.rounds}")
    return figures


def _block(worker: Worker, name: str, pace: Pace, figures: Figures) -> None:
    framework = worker.of[0]
    if (name, framework) in figures.absent or (name, worker.of) in figures.failed:
        return
    answer = worker.ask(name, pace.seconds)
    slices = answer.get("slices")
    if isinstance(slices, list):
        figures.rounds[name].setdefault(worker.of, []).append(min(slices))
    elif "absent" in answer:
        figures.absent[name, framework] = str(answer["absent"])
    else:
        figures.failed[name, worker.of] = str(answer["failed"])
