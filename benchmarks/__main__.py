"""The command line, in an environment that has the frameworks: `run.py` makes one."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .calls import QUICK, Pace, measure
from .cases import CASES
from .frameworks import FRAMEWORKS
from .report import as_json, machine, missed, tables


def names(known: list[str]) -> Callable[[str], list[str]]:
    def split(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = sorted(set(chosen) - set(known))
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return [name for name in known if name in chosen]

    return split


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 benchmarks/run.py",
        description="Measure Kui beside a bare ASGI function and its peers.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Names are separated by commas. The cases: " + ", ".join(CASES),
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=["calls", "sockets", "publish"],
        default="calls",
        help="calls in process (default), requests over sockets, or both, written into docs/; "
        "scale, which is another program, has its own --help",
    )
    for option, known in (
        ("cases", list(CASES)),
        ("frameworks", list(FRAMEWORKS)),
        ("loops", ["asyncio", "trio"]),
    ):
        parser.add_argument(
            f"--{option}",
            type=names(known),
            default=known,
            metavar="A,B",
            help="only these" if option == "cases" else f"only these of {', '.join(known)}",
        )
    parser.add_argument("--rounds", type=int, help=f"how many rounds, by default {Pace.rounds}")
    parser.add_argument(
        "--quick", action="store_true", help="few short blocks, of which the quickest counts"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def pace_of(chosen: argparse.Namespace) -> Pace:
    pace = QUICK if chosen.quick else Pace()
    if chosen.rounds:
        heavy = min(chosen.rounds, pace.heavy_rounds)
        pace = replace(pace, rounds=chosen.rounds, heavy_rounds=heavy)
    return pace


def calls(chosen: argparse.Namespace) -> int:
    """Measure in process, print the tables, and return the exit status: 1 if a framework has failed."""
    pace = pace_of(chosen)
    figures = measure(chosen.cases, chosen.frameworks, chosen.loops, pace, tell)
    for loop, text in tables(figures):
        print(f"\n{loop}\n\n{text}")
    for (case, framework), why in figures.absent.items():
        print(f"\n{framework} has no {case}: {why}")
    print("", *missed(figures), sep="\n")
    if chosen.json:
        chosen.json.write_text(json.dumps({**machine(), **as_json(figures)}, indent=1) + "\n")
    for (case, of), why in figures.failed.items():
        print(f"{' on '.join(of)} failed in {case}: {why}", file=sys.stderr)
    return 1 if figures.failed else 0


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    # Whatever ends it, `timeout` for one, it ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = arguments()
    if chosen.what == "calls":
        return calls(chosen)
    from . import publish, sockets

    if chosen.what == "publish":
        return publish.publish(pace_of(chosen), tell)
    rounds = 1 if chosen.quick else chosen.rounds or sockets.ROUNDS
    print(sockets.tables(sockets.measure(rounds, tell=tell)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
