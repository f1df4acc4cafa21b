"""Which of many paths is found, compared with a model that tries them one by one."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from baize.routing import CONVERTOR_TYPES
from hypothesis import example, given
from hypothesis import strategies as st

from kui.routing.patterns import PathPattern
from kui.routing.tree import Tree

from .conftest import Own

ORDER = ["int", "uuid", "date", "decimal", "own", "str", "any"]
REGEX = {
    "int": "[0-9]+",
    "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}",
    "date": "2026-[0-9]{2}-[0-9]{2}",
    "decimal": r"[0-9]+(?:\.[0-9]+)?",
    "own": "[ab]+",
    "str": "[^/]+",
    "any": ".*",
}

pytestmark = pytest.mark.usefixtures("own")


def parts_of(path: str) -> list[str]:
    return [part for part in re.split(r"(\{[^}]*\})", path) if part]


def kind(part: str) -> str:
    return part.strip("{}").partition(":")[2] or "str"


def rank(path: str) -> Any:
    """The order of paths, written down a second time: segment by segment, part by part."""
    ranks = []
    for segment in path[1:].split("/"):
        for part in parts_of(segment):
            if part[0] == "{":
                ranks.append((2 + ORDER.index(kind(part)), 0, ""))
            else:
                ranks.append((0, -len(part), part))
        if not segment:
            ranks.append((0, 0, ""))
        ranks.append((1, 0, ""))  # the segment's end
    return ranks


def matches(path: str, text: str) -> bool:
    regex = "".join(
        REGEX[kind(part)] if part[0] == "{" else re.escape(part) for part in parts_of(path)
    )
    return re.fullmatch(regex, text, re.DOTALL) is not None


def first_of(paths: list[str], text: str) -> str | None:
    return min((path for path in paths if matches(path, text)), key=rank, default=None)


def tree_of(paths: list[str]) -> Tree[str]:
    tree = Tree[str]()
    for path in paths:
        pattern = PathPattern(path)
        tree.put(pattern, tree.get(pattern) or path)
    return tree


SEGMENTS = [
    *("a", "ab", "1", "", "{:int}", "{:date}", "{:decimal}", "{:own}", "{:str}"),
    *("a{:str}", "ab{:str}", "a{:own}", "{:str}b", "{:str}bb", "a{:str}b", "1{:int}", "{:int}1"),
    *("{:int}{:str}", "{:str}{:str}", "{:str}-{:str}", "{:int}-{:str}", "{:str}-{:int}"),
    *("{:own}b{:str}", "{:str}-{:str}-{:str}"),
]
LAST = ["{:any}", "a{:any}", "{:str}-{:any}", "ab{:any}"]
TEXTS = [
    "a",
    "ab",
    "abb",
    "abbb",
    "1",
    "11",
    "111",
    "1.1",
    "a-1",
    "1-1",
    "1-1-a",
    "b",
    "",
    "2026-01-02",
]


def named(path: str) -> str:
    """The path with a name in each placeholder."""
    names = iter("pqrstuvwxyz")
    return re.sub(r"\{", lambda brace: "{" + next(names), path)


paths = st.builds(
    lambda segments, last: named("/" + "/".join(segments + last)),
    st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=2),
    st.lists(st.sampled_from([*SEGMENTS, *LAST, *LAST]), max_size=1),
)
asked = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3).map(
    lambda segments: "/" + "/".join(segments)
)


@given(
    st.lists(paths, min_size=2, max_size=20), st.lists(asked, min_size=1, max_size=10), st.randoms()
)
@example(["/{a}/x", "/{a:int}/y"], ["/1/x"], random.Random(0))
@example(["/a/{b}/{c}", "/{a}/b/c"], ["/a/b/c"], random.Random(0))
@example(["/a{p}", "/ab{p}"], ["/abb"], random.Random(0))
@example(["/{p:int}", "/{p:int}{q}"], ["/11"], random.Random(0))
@example(["/{p:int}/a", "/{p}/{q}"], ["/1/b"], random.Random(0))
@example(["/{a:int}/{p:any}", "/{a}/b"], ["/1/b", "/1/b/c", "/x/b"], random.Random(0))
@example(["/1/{p}", "/{p}/a/{q:int}"], ["/1/a/11"], random.Random(0))
def test_the_first_in_order_is_found_whatever_the_order_of_registration(
    paths: list[str], texts: list[str], shuffler: random.Random
) -> None:
    shapes: dict[Any, str] = {}
    for path in paths:
        shapes.setdefault(str(rank(path)), path)
    distinct = list(shapes.values())
    shuffled = distinct[:]
    shuffler.shuffle(shuffled)
    trees = tree_of(distinct), tree_of(shuffled)
    for text in texts:
        wanted = first_of(distinct, text)
        for tree in trees:
            found = tree.find(text)
            assert (found and found[0]) == wanted
            assert found is None or found == tree_of([found[0]]).find(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/new", "/new"),
        ("/7", "/{a:int}"),
        ("/c9bf9e57-1685-4c89-bafb-ff5af830be8a", "/{a:uuid}"),
        ("/2026-01-01", "/{a:date}"),
        ("/7.5", "/{a:decimal}"),
        ("/ab", "/{a:own}"),
        ("/xy", "/{a}"),
        ("/2026-02-30", "/{a}"),
        ("/x/y", "/{a:any}"),
        ("/", "/{a:any}"),
    ],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_fixed_text_comes_first_and_any_last(text: str, path: str, turn: int) -> None:
    tree = tree_of(["/new", *(f"/{{a:{kind}}}" for kind in ORDER)][::turn])
    found = tree.find(text)
    assert found is not None
    assert found[0].replace(":str", "") == path


def test_no_slash_is_added_or_taken_away() -> None:
    tree = tree_of(["/a", "/b/", "/c/{x}", "/d/{x}/"])
    assert tree.find("/a/") is None
    assert tree.find("/b") is None
    assert tree.find("//a") is None
    assert tree.find("/c/1/") is None
    assert tree.find("/d/1") is None
    assert tree.find("/d/1/") == ("/d/{x}/", ["1"])
    assert tree.find("/c//1") is None
    assert tree.find("a") is None
    assert tree.find("") is None
    assert tree.find("*") is None


def test_a_path_is_found_that_was_added_after_a_lookup() -> None:
    tree = tree_of(["/a/{x:int}"])
    assert tree.find("/a/b") is None
    for path in ("/{x}/b", "/a/{x:own}", "/a/b"):
        tree.put(PathPattern(path), path)
        found = tree.find("/a/b")
        assert found is not None
        assert found[0] == path


def test_paths_that_differ_in_names_only_are_one() -> None:
    tree = tree_of(["/{a:int}/{b}"])
    assert tree.get(PathPattern("/{x:int}/{y}")) == "/{a:int}/{b}"
    assert tree.get(PathPattern("/{x:int}/{y:int}")) is None
    assert tree.get(PathPattern("/{x:int}")) is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a", 'write "/a"'),
        ("", 'write "/"'),
        ("/{", "brace on its own"),
        ("/a}", "brace on its own"),
        ("/{{a}}", "brace on its own"),
        ("/{a/b}", "brace on its own"),
        ("/{}", "is no placeholder"),
        ("/{1a}", "is no placeholder"),
        ("/{a b}", "is no placeholder"),
        ("/{a:}", "is no placeholder"),
        ("/{:int}", "is no placeholder"),
        ("/{a:nope}", "no converter 'nope'"),
        ("/{a}/{a}", "give each a name of its own"),
        ("/{a}-{a}", "give each a name of its own"),
        ("/{a:any}/b", "move it to the end"),
        ("/{a:any}/", "move it to the end"),
        ("/{a:any}.txt", "move it to the end"),
        ("/{a:any}{b:any}", "move it to the end"),
        ("/{a}" + "/x" * 300, "make it shorter"),
    ],
)
def test_a_wrong_path_is_refused_by_a_sentence_that_says_what_to_do(
    path: str, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        PathPattern(path)
    assert "\n" not in str(raised.value)


def test_a_path_without_placeholders_may_be_of_any_length() -> None:
    path = "/x" * 10_000
    assert tree_of([path, "/{a}"]).find(path) == (path, [])


@pytest.mark.parametrize(
    "text", ["/" * 1_000_000, "/a" * 500_000, "/" + "1" * 1_000_000, "/1/" + "é" * 1_000_000]
)
def test_a_megabyte_is_looked_up_in_linear_time(text: str) -> None:
    paths = [
        f"/{{a:{one}}}/{{b:{two}}}/{end}"
        for one in ORDER[:-1]
        for two in ORDER[:-1]
        for end in "xy"
    ]
    tree = tree_of(paths)
    for _ in range(20):
        assert tree.find(text) is None


def test_a_lookup_visits_each_node_once_at_most() -> None:
    seen: list[str] = []

    class Counting(Own):
        def to_python(self, value: str) -> str:
            seen.append(value)
            return value

    CONVERTOR_TYPES["own"] = Counting(REGEX["own"])
    tree = tree_of(["/{a:own}/{b:own}/{c:own}/x", "/{a}/{b:own}/{c:own}/x"])
    assert tree.find("/a/a/a/y") is None
    assert len(seen) == 5


@pytest.mark.parametrize(
    "path", ["/p{}-{{a:own}}", "/{{a:own}}.p{}", "/p{}/{{a:own}}", "/x{}-{{a:own}}-{{b:own}}"]
)
def test_among_thousands_only_those_are_tried_whose_fixed_text_is_right(path: str) -> None:
    seen: list[str] = []

    class Counting(Own):
        def to_python(self, value: str) -> str:
            seen.append(value)
            return value

    CONVERTOR_TYPES["own"] = Counting(REGEX["own"])
    tree = tree_of([path.format(number) for number in range(10_000)])
    asked = path.format(1234).replace("{a:own}", "a").replace("{b:own}", "b")
    found = tree.find(asked)
    assert found is not None
    assert found[0] == path.format(1234)
    assert len(seen) < 10
