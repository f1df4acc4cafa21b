"""Several placeholders in one segment: who gets what, compared with a regular expression."""

from __future__ import annotations

import re
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kui.routing.patterns import PathPattern
from kui.routing.tree import Tree

A_UUID = "c9bf9e57-1685-4c89-bafb-ff5af830be8a"
REGEX = {
    "str": "[^/]+",
    "int": "[0-9]+",
    "decimal": r"[0-9]+(?:\.[0-9]+)?",
    "uuid": "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}",
    "date": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "any": ".*",
    "own": "[a-z1]*-?",
}

pytestmark = pytest.mark.usefixtures("own")


def texts(parts: list[str], text: str) -> list[str] | None:
    """What the placeholders get, by the definition: a greedy regular expression."""
    regex = "".join(f"({REGEX[part[1:]]})" if part[0] == ":" else re.escape(part) for part in parts)
    found = re.fullmatch(regex, text, re.DOTALL)
    return list(found.groups()) if found else None


fixed = st.text("a1-.", min_size=1, max_size=3)
kinds = st.sampled_from([":str", ":str", ":int", ":decimal", ":date", ":uuid", ":own"])
segments = (
    st.lists(st.one_of(fixed, kinds), min_size=2, max_size=6)
    .filter(lambda parts: sum(part[0] == ":" for part in parts) >= 2)
    .filter(lambda parts: not any(a[0] != ":" != b[0] for a, b in pairwise(parts)))
)
pieces = st.sampled_from([*"a1-.", "11", "1.1", "2026-01-02", A_UUID, A_UUID.replace("-", "")])


@st.composite
def parts_and_text(draw: st.DrawFn) -> tuple[list[str], str]:
    """A segment, and a text that fits it or nearly does."""
    parts = draw(segments)
    usual = {":str": "a-b", ":int": "11", ":decimal": "1.1", ":own": "ab-"}
    text = "".join(
        draw(st.one_of(st.just(usual.get(part, part)), pieces)) if part[0] == ":" else part
        for part in parts
    )
    return parts, draw(st.one_of(st.just(text), st.lists(pieces, max_size=8).map("".join)))


def pattern_of(parts: list[str]) -> PathPattern:
    return PathPattern(
        "/" + "".join(f"{{p{i}{p}}}" if p[0] == ":" else p for i, p in enumerate(parts))
    )


def values_of(parts: list[str], text: str) -> list[str] | None:
    found = texts(parts, text)
    kinds_of = [part for part in parts if part[0] == ":"]
    shown = {":int": lambda piece: str(int(piece)), ":uuid": lambda piece: str(UUID(piece))}
    return found and [
        shown.get(kind, str)(piece) for kind, piece in zip(kinds_of, found, strict=True)
    ]


@given(parts_and_text())
@example(([":str", "-", ":str"], "a-b-c"))
@example(([":str", "-", ":str", "-", ":str", "-", ":str"], "-a-b"))
@example(([":int", ":int"], "123"))
@example(([":decimal", ".", ":decimal"], "1.2.3"))
@example(([":str", ":decimal", "1"], "11.11"))
@example(([":uuid", ":int"], A_UUID.replace("-", "") + "12"))
@example(([":uuid", "-", ":uuid"], f"{A_UUID}-{A_UUID.replace('-', '')}"))
def test_the_first_placeholder_takes_as_much_as_it_can(case: tuple[list[str], str]) -> None:
    parts, text = case
    tree = Tree[str]()
    tree.put(pattern_of(parts), "found")
    found = tree.find("/" + text)
    assert (found and list(map(str, found[1]))) == values_of(parts, text)


@given(
    st.lists(st.one_of(fixed, st.just(":str"), st.just(":int")), min_size=1, max_size=4)
    .filter(lambda parts: any(part[0] == ":" for part in parts))
    .filter(lambda parts: not any(a[0] != ":" != b[0] for a, b in pairwise(parts))),
    st.text("a1-/", max_size=8),
)
def test_a_placeholder_of_type_any_takes_what_the_others_leave(parts: list[str], text: str) -> None:
    parts = [*parts, ":any"]
    tree = Tree[str]()
    tree.put(pattern_of(parts), "found")
    found = tree.find("/" + text)
    assert (found and list(map(str, found[1]))) == values_of(parts, text)


@pytest.mark.parametrize(
    ("path", "text", "values"),
    [
        ("/v{n:int}.json", "/v12.json", [12]),
        ("/v{n:int}.json", "/v.json", None),
        ("/v{n:int}.json", "/v1.jsonx", None),
        ("/aa{x}aa", "/aaa", None),
        ("/aa{x}aa", "/aaxaa", ["x"]),
        ("/{a}-{b}", "/x-y", ["x", "y"]),
        ("/{a}-{b}", "/x-y-z", ["x-y", "z"]),
        ("/{a}-{b}", "/-y", None),
        ("/{a}-{b}", "/x-", None),
        ("/{a}-{b}", "/x/-y", None),
        ("/{n:int}{unit}", "/10kg", [10, "kg"]),
        ("/{n:int}{unit}", "/10", [1, "0"]),
        ("/x{rest:any}", "/x", [""]),
        ("/x{rest:any}", "/xa/b", ["a/b"]),
        ("/{a}:{rest:any}", "/k:v/w:x", ["k", "v/w:x"]),
    ],
)
def test_a_placeholder_may_be_a_part_of_a_segment(
    path: str, text: str, values: list[object] | None
) -> None:
    tree = Tree[str]()
    tree.put(PathPattern(path), "found")
    found = tree.find(text)
    assert (found and found[1]) == values


@pytest.mark.parametrize(
    ("path", "unit", "end"),
    [
        ("/{a}-{b}-{c}-{d}", "-", ""),
        ("/{a}-{b}-{c}!{d}-{e}", "a-", "x"),
        ("/{a:int}{b:int}{c:int}", "1", ""),
        ("/{a:int}{b:int}{c:int}!{d}", "1", ""),
        ("/{a}{b:int}{c}{d:int}", "1", ""),
        ("/{a}1{b:int}1{c:decimal}", "1", "!"),
        ("/{a:decimal}.{b:decimal}.{c:decimal}!{d}", "1.", "1"),
        ("/{a}{b:date}{c}{d:date}", "2026-01-01", ""),
        ("/{a:own}-{b:own}-{c:own}", "a-", "!"),
        ("/{a}-{b}-{rest:any}", "-", "/" * 500_000),
    ],
)
def test_a_megabyte_takes_no_more_than_linear_time(path: str, unit: str, end: str) -> None:
    # In quadratic time each of these would take hours; the suite's timeout is the judge.
    tree = Tree[str]()
    tree.put(PathPattern(path), "found")
    tree.find("/" + unit * (1_000_000 // len(unit)) + end)
