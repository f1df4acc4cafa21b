"""The ratios of every framework to the bare ASGI function, as a drawing: SVG, without a library."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import ceil, floor, log10

from .calls import Figures
from .cases import CASES
from .frameworks import FRAMEWORKS

__all__ = ["chart"]

COLORS = {
    "kui": "#d55e00",
    "starlette": "#0072b2",
    "fastapi": "#009e73",
    "litestar": "#cc79a7",
    "blacksheep": "#222222",
    "quart": "#e69f00",
}
LOOPS = ("asyncio", "trio")
LABELS, PANEL, GAP, ROW, TOP, BOTTOM = 160, 400, 24, 19, 66, 34
WIDTH = LABELS + 2 * PANEL + GAP + 16


def chart(figures: Figures) -> str:
    """A row for each case, a panel for each loop, a dot for each framework; the scale is logarithmic."""
    height = TOP + ROW * len(figures.rounds) + BOTTOM
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
            f' width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12" fill="#333">',
            "<title>Calls a second, as a share of those of a bare ASGI function</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            *_legend(),
            *_panels(figures, height),
            "</svg>\n",
        ]
    )


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(text)}</text>'


def _dot(x: float, y: float, framework: str, title: str) -> str:
    color, radius = COLORS[framework], 5.5 if framework == "kui" else 4
    shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}" fill-opacity="0.9">'
    return f"{shape}<title>{escape(title)}</title></circle>"


def _legend() -> Iterator[str]:
    x = float(LABELS)
    for name in COLORS:
        title = FRAMEWORKS[name].title
        yield _dot(x, 16, name, title)
        yield _text(x + 9, 20, title)
        x += 34 + 7.5 * len(title)
    yield _text(x, 20, "calls a second : bare ASGI function", ' fill="#777"')


def _panels(figures: Figures, height: int) -> Iterator[str]:
    ratios = {
        (case, name, loop): figures.ratio(case, (name, loop), ("bare", loop))
        for case in figures.rounds
        for loop in LOOPS
        for name in reversed(COLORS)  # Kui last, and so on top
    }
    known = [ratio for ratio in ratios.values() if ratio]
    low, high = floor(log10(min(known, default=0.1))), max(0.15, log10(max(known, default=1)) + 0.1)
    bottom = height - BOTTOM

    def along(left: float, ratio: float) -> float:
        return left + (log10(ratio) - low) / (high - low) * PANEL

    rows = {case: TOP + ROW * (at + 0.5) for at, case in enumerate(figures.rounds)}
    for case, y in rows.items():
        yield _text(LABELS - 12, y + 4, CASES[case].title, ' text-anchor="end"')
        yield f'<path d="M{LABELS} {y}H{WIDTH - 16}" stroke="#eee"/>'
    for at, loop in enumerate(LOOPS):
        left = LABELS + at * (PANEL + GAP)
        yield _text(left + PANEL / 2, 48, loop, ' text-anchor="middle" font-weight="bold"')
        for power in range(low, ceil(high)):
            x = along(left, 10.0**power)
            stroke = "#888" if power == 0 else "#ddd"
            yield f'<path d="M{x:.1f} {TOP - 6}V{bottom + 4}" stroke="{stroke}"/>'
            yield _text(x, bottom + 20, f"{10.0**power:g}", ' text-anchor="middle"')
        for (case, name, its_loop), ratio in ratios.items():
            if ratio and its_loop == loop:
                title = f"{FRAMEWORKS[name].title}, {CASES[case].title}: {ratio:.3g}"
                yield _dot(along(left, ratio), rows[case], name, title)
