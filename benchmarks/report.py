"""What was measured, as tables in Markdown and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .calls import Figures
from .cases import CASES
from .frameworks import FRAMEWORKS
from .targets import Verdict, best_peer, on, verdicts

__all__ = ["as_json", "machine", "missed", "number", "table", "tables", "targets_table"]


def number(value: float | None) -> str:
    """Three digits, and k or M."""
    if value is None:
        return "-"
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= 999.5 / 1000 * size:
            return f"{_digits(value / size)} {unit}"
    return _digits(value)


def _digits(value: float) -> str:
    return (
        f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, legible as it is; all columns but the first are numbers."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, rule)
    return "\n".join("| " + " | ".join(_padded(line, widths)) + " |" for line in lines)


def _padded(line: list[str], widths: list[int]) -> Iterator[str]:
    yield line[0].ljust(widths[0])
    for text, width in zip(line[1:], widths[1:], strict=True):
        yield text.rjust(width)


def tables(figures: Figures) -> Iterator[tuple[str, str]]:
    """For each loop, its name and its table."""
    seen = {of for case in figures.rounds.values() for of in case}
    for loop in ("asyncio", "trio"):
        names = [name for name in FRAMEWORKS if (name, loop) in seen]
        if names:
            yield loop, _loop_table(figures, loop, names)


def _loop_table(figures: Figures, loop: str, names: list[str]) -> str:
    def row(case: str) -> Iterator[str]:
        yield CASES[case].title
        for name in names:
            took = figures.microseconds(case, (name, loop))
            yield number(1e6 / took if took else None)
        if "kui" in names:
            yield _ratio(figures.ratio(case, ("kui", loop), ("bare", loop)))
            best = best_peer(figures, case, loop)
            got = figures.ratio(case, ("kui", loop), best) if best else None
            yield f"{_ratio(got)} ({FRAMEWORKS[best[0]].title})" if best else "-"

    head = ["calls a second", *(FRAMEWORKS[name].title for name in names)]
    if "kui" in names:
        head += ["Kui : bare", "Kui : best peer"]
    return table(head, (list(row(case)) for case in figures.rounds))


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def targets_table(figures: Figures) -> str:
    """Each target: what was wanted, what was got on each loop, and whether that is enough."""
    found: dict[tuple[str, str, float], dict[str, str]] = {}
    for each in verdicts(figures):
        beside = _title(each)
        mark = "" if each.reached else " **not reached**"
        key = (CASES[each.case].title, beside, each.wanted)
        found.setdefault(key, {})[each.loop] = f"{each.got:.2f}{mark}"
    return table(
        ["case", "beside", "target", "asyncio", "trio"],
        (
            [case, beside, f"{wanted:g}", got.get("asyncio", "-"), got.get("trio", "-")]
            for (case, beside, wanted), got in found.items()
        ),
    )


def missed(figures: Figures) -> Iterator[str]:
    """A line for each target that was not reached."""
    for each in verdicts(figures):
        if not each.reached:
            yield (
                f"{each.case} on {each.loop}: {each.got:.2f} x {_title(each)}, "
                f"{each.wanted:g} is wanted"
            )


def _title(each: Verdict) -> str:
    if (each.case, each.beside) == ("events", "starlette"):
        return "sse-starlette"
    return "the best peer" if each.beside == "best" else FRAMEWORKS[each.beside].title


DISTRIBUTIONS = {"kui": "kui-anyio"}
"""Where a package has another name at the registry."""


def machine() -> dict[str, Any]:
    """What it was measured on, and with."""
    packages = sorted({package for each in FRAMEWORKS.values() for package in each.packages})
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "versions": {package: version(DISTRIBUTIONS.get(package, package)) for package in packages},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def as_json(figures: Figures) -> dict[str, Any]:
    """Everything that was measured: medians, ratios, and the rounds they were made of."""
    cases: dict[str, Any] = {}
    for case, measured in figures.rounds.items():
        entry: dict[str, Any] = {"title": CASES[case].title, "asyncio": {}, "trio": {}}
        cases[case] = entry
        for (framework, loop), rounds in measured.items():
            took = figures.microseconds(case, (framework, loop)) or 0
            best = best_peer(figures, case, loop)
            entry[loop][framework] = {
                "calls_per_second": round(1e6 / took, 1),
                "microseconds": round(took, 3),
                "to_bare": _rounded(figures.ratio(case, (framework, loop), on("bare", loop))),
                "to_best_peer": _rounded(
                    figures.ratio(case, (framework, loop), best) if best else None
                ),
                "rounds_in_microseconds": [round(each, 3) for each in rounds],
            }
    absent = [
        {"case": case, "framework": framework, "why": why}
        for (case, framework), why in figures.absent.items()
    ]
    return {"cases": cases, "absent": absent}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
