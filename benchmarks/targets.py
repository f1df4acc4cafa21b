"""The ratios of calls per second that Kui must reach, and if it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .calls import Figures, Of
from .frameworks import FRAMEWORKS

__all__ = ["TARGETS", "Verdict", "best_peer", "on", "peers", "verdicts"]

TARGETS: dict[str, dict[str, float]] = {
    "plain": {"bare": 0.45, "starlette": 2.2, "blacksheep": 1},
    "json": {"bare": 0.85},
    "json-10k": {"bare": 0.85},
    "parameters": {"bare": 0.35, "blacksheep": 1},
    "json-in-1k": {"bare": 0.85},
    "json-in-1m": {"bare": 0.85},
    "stream-100": {"starlette": 1.4},
    "events": {"starlette": 4, "best": 1},
    "file-10m": {"bare": 0.35, "starlette": 12},
    "file-1k": {"starlette": 2},
    "websocket": {"blacksheep": 1},
}
"""Every other case must be ahead of every peer: 1 x the best."""


def on(framework: str, loop: str) -> Of:
    """The framework on this loop; on its only one, where it does not run on this."""
    loops = FRAMEWORKS[framework].loops
    return framework, loop if loop in loops else loops[0]


def peers(figures: Figures, case: str, loop: str) -> list[Of]:
    """The peers that have the case, each on this loop or on its only one; the best is the first."""
    all_of_them = (on(name, loop) for name in FRAMEWORKS if name not in ("bare", "kui"))
    measured = [of for of in all_of_them if figures.microseconds(case, of)]
    return sorted(measured, key=lambda of: figures.microseconds(case, of) or 0)


def best_peer(figures: Figures, case: str, loop: str) -> Of | None:
    return next(iter(peers(figures, case, loop)), None)


@dataclass(frozen=True)
class Verdict:
    """How many times as fast as another Kui must be in a case, and how many times it is.

    `beside` is a framework, or `best`: the best of the peers.
    """

    case: str
    loop: str
    beside: str
    wanted: float
    got: float

    @property
    def reached(self) -> bool:
        return self.got >= self.wanted


def verdicts(figures: Figures) -> Iterator[Verdict]:
    """Each target that was measured, on each loop that was."""
    for case in figures.rounds:
        for loop in ("asyncio", "trio"):
            best = best_peer(figures, case, loop)
            for beside, times in TARGETS.get(case, {"best": 1}).items():
                other = best if beside == "best" else on(beside, loop)
                got = figures.ratio(case, ("kui", loop), other) if other else None
                if got is not None:
                    yield Verdict(case, loop, beside, times, got)
