"""Measure everything, and write it into `docs/`: the page's tables, all figures as JSON, and the chart."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import sockets
from .calls import Figures, Pace, measure
from .cases import CASES
from .chart import chart
from .frameworks import FRAMEWORKS
from .report import as_json, machine, tables, targets_table

__all__ = ["publish"]

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN = "<!-- results: written by `python3 benchmarks/run.py publish` -->"
END = "<!-- end of the results -->"


def publish(pace: Pace, tell: Callable[[str], None]) -> int:
    """Returns the exit status: 1, and nothing is written, if a framework has failed in a case."""
    about = machine()  # which may fail, and must not do so at the end
    began = time.monotonic()
    served = sockets.measure(min(pace.rounds, sockets.ROUNDS), tell=tell)
    figures = measure(list(CASES), list(FRAMEWORKS), ["asyncio", "trio"], pace, tell)
    for (case, of), why in figures.failed.items():
        print(f"{' on '.join(of)} failed in {case}: {why}", file=sys.stderr)
    if figures.failed:
        return 1
    minutes = (time.monotonic() - began) / 60
    about |= {"rounds": pace.rounds, "minutes": round(minutes, 1)}
    everything = {**about, **as_json(figures), "sockets": sockets.as_json(served)}
    (DOCS / "performance.json").write_text(dumps(everything, 4) + "\n")
    (DOCS / "performance.svg").write_text(chart(figures))
    page = DOCS / "performance.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    results = "\n\n".join(_results(figures, served, about))
    page.write_text(f"{before}{BEGIN}\n\n{results}\n\n{END}{after}")
    return 0


def dumps(value: Any, depth: int) -> str:
    """JSON, one line for each entry down to this depth."""
    if depth == 0 or not isinstance(value, dict) or not value:
        return json.dumps(value)
    entries = (f"{json.dumps(key)}: {dumps(each, depth - 1)}" for key, each in value.items())
    return "{\n" + ",\n".join(entries) + "\n}"


def _results(figures: Figures, served: sockets.Sockets, about: dict[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    yield (
        f"Measured {about['date']}, {about['rounds']} rounds in {about['minutes']:.0f} minutes, on "
        f"{about['cores']} cores of a shared\n{about['processor']}, {about['python']}:\n{versions}."
    )
    yield "![Calls a second, as a share of those of a bare ASGI function](performance.svg)"
    for loop, text in tables(figures):
        yield f"### Calls in process, {loop}\n\n{text}"
    yield "\n".join(
        f"- {FRAMEWORKS[framework].title} has no {CASES[case].title}: {why}."
        for (case, framework), why in figures.absent.items()
    )
    yield f"### Targets, in process\n\n{targets_table(figures)}"
    yield f"### Over sockets\n\n{sockets.tables(served)}"
