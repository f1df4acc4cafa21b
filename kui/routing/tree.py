"""Find the pattern of a path among many patterns.

A pattern without placeholders is found in a dict. Patterns with placeholders are in a tree with one level for each
segment. A lookup enters each node at most once, so its time is linear in the path's length and does not grow with the
number of patterns. The tree does not look at the values that it holds.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable, Iterator
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from .converters import NO_MATCH
from .patterns import PathPattern, Segment

__all__ = ["Tree"]

T = TypeVar("T")

_by_key: Final = attrgetter("key")


class _Node(Generic[T]):
    """The state of a lookup after a part of the path, up to a slash.

    `fixed` is tried first, then `branches` in order. Many branches may have fixed text around their placeholder:
    `index` finds those whose text fits, without trying all.
    """

    __slots__ = ("branches", "fixed", "index", "known", "leaf", "lengths")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node[T]] = {}
        self.branches: list[_Branch[T]] = []
        self.known: dict[Hashable, _Branch[T]] = {}
        self.index: dict[tuple[str, str], list[_Branch[T]]] | None = None
        self.lengths: list[tuple[int, int]] = []
        self.leaf: T | None = None

    def child(self, segment: str | Segment) -> _Node[T]:
        """Return the node after this segment, and create it if it is new."""
        if isinstance(segment, str):
            return self.fixed.setdefault(segment, _Node())
        branch = self.known.get(segment.identity)
        if branch is None:
            branch = self.known[segment.identity] = _Branch(segment)
            self._add(branch, segment)
        return branch.node

    def _add(self, branch: _Branch[T], segment: Segment) -> None:
        partial = bool(segment.prefix or segment.suffix or segment.many)
        if self.index is None:
            if not partial:
                insort(self.branches, branch, key=_by_key)
                return
            self.index = {}
            if self.branches:
                self.index["", ""] = list(self.branches)
                self.lengths.append((0, 0))
        self.branches.append(branch)
        lengths = len(segment.prefix), len(segment.suffix)
        if lengths not in self.lengths:
            self.lengths.append(lengths)
        insort(self.index.setdefault((segment.prefix, segment.suffix), []), branch, key=_by_key)

    def fitting(self, text: str) -> list[_Branch[T]]:
        """Return the branches whose fixed text is in `text`, in their order."""
        if self.index is None:
            return self.branches
        size = len(text)
        found: list[_Branch[T]] = []
        for before, behind in self.lengths:
            if before + behind <= size:
                bucket = self.index.get((text[:before], text[size - behind :]))
                if bucket is not None:
                    found += bucket
        found.sort(key=_by_key)
        return found


class _Branch(Generic[T]):
    """A segment with placeholders, and the node behind it."""

    __slots__ = ("key", "many", "node", "parse", "spans")

    def __init__(self, segment: Segment) -> None:
        self.key = segment.key
        self.parse = segment.parse
        self.many = segment.many
        self.spans = segment.spans
        self.node: _Node[T] = _Node()


class Tree(Generic[T]):
    """Patterns, each with a value, which must not be None.

    Example::

        tree = Tree[str]()
        tree.put(PathPattern("/users/{id:int}"), "user")
        assert tree.find("/users/7") == ("user", [7])
    """

    __slots__ = ("_depth", "_root", "_shortcuts", "fixed")

    def __init__(self) -> None:
        self.fixed: dict[str, T] = {}
        self._root: _Node[T] = _Node()
        self._depth = 0
        self._shortcuts: dict[str, tuple[_Node[T], _Branch[T] | None]] | None = {}

    def get(self, pattern: PathPattern) -> T | None:
        """Return the value of a pattern that matches exactly the same paths, or None."""
        if pattern.fixed:
            return self.fixed.get(pattern.path)
        node: _Node[T] | None = self._root
        for segment in pattern.segments:
            if node is None:
                return None
            if isinstance(segment, str):
                node = node.fixed.get(segment)
            else:
                branch = node.known.get(segment.identity)
                node = None if branch is None else branch.node
        return None if node is None else node.leaf

    def put(self, pattern: PathPattern, value: T) -> None:
        """Set the value of a pattern; replaces the value of an equal pattern."""
        if pattern.fixed:
            self.fixed[pattern.path] = value
            return
        node = self._root
        for segment in pattern.segments:
            node = node.child(segment)
        node.leaf = value
        self._depth = max(self._depth, len(pattern.segments))
        self._shortcuts = None  # computed again: the new branch may have made one wrong

    def find(self, path: str) -> tuple[T, list[Any]] | None:
        """Return the value of the first pattern that matches, in their order, and the parameters' values.

        A path without placeholders is preferred to all patterns.
        """
        value = self.fixed.get(path)
        return self.find_open(path) if value is None else (value, [])

    def find_open(self, path: str) -> tuple[T, list[Any]] | None:
        """Return the same as `find`, but only of the patterns with placeholders."""
        shortcuts = self._shortcuts
        if shortcuts is None:
            ways = _fixed_ways(self._root, "")
            shortcuts = self._shortcuts = {head: (node, _only_way(node)) for head, node in ways}
        values: list[Any] = []
        head, _, tail = path.rpartition("/")
        shortcut = shortcuts.get(head)
        if shortcut is not None:
            node, branch = shortcut
            if branch is not None:
                value = branch.parse(tail)
                leaf = branch.node.leaf
                return None if value is NO_MATCH or leaf is None else (leaf, [value])
            leaf = _walk(node, tail, [tail], 0, 0, values)
            return None if leaf is None else (leaf, values)
        # One more than the deepest pattern has: the rest of a longer path is not split.
        segments = path.split("/", self._depth + 1)
        last = len(segments) - 1
        if not last or segments[0]:
            return None
        leaf = _walk(self._root, path, segments, 1, last, values)
        return None if leaf is None else (leaf, values)


def _fixed_ways(node: _Node[T], path: str) -> Iterator[tuple[str, _Node[T]]]:
    """Yield, for each way of fixed text only, its text and the first node with branches on it.

    A path that begins with that text and a slash can only match below the node.
    """
    if node.branches:
        yield path, node
        return
    for text, child in node.fixed.items():
        yield from _fixed_ways(child, f"{path}/{text}")


def _only_way(node: _Node[T]) -> _Branch[T] | None:
    """Return the only branch of a node that has nothing else; None if a lookup has to choose."""
    if node.fixed or node.index is not None or len(node.branches) != 1:
        return None
    branch = node.branches[0]
    return None if branch.many else branch


def _walk(
    node: _Node[T], path: str, segments: list[str], at: int, last: int, values: list[Any]
) -> T | None:
    """Return the leaf that `segments[at:]` lead to from `node`; append the values to `values`."""
    while True:
        text = segments[at]
        child = node.fixed.get(text)
        branches = node.branches if node.index is None else node.fitting(text)
        if child is None:
            if len(branches) != 1:
                break
            # The usual case, with a single way, needs no backtracking and no recursion.
            branch = branches[0]
            if branch.spans:
                text = _rest(path, segments, at)
                at = last
            value = branch.parse(text)
            if value is NO_MATCH:
                return None
            if branch.many:
                values += value
            else:
                values.append(value)
            child = branch.node
        elif branches:
            break
        if at == last:
            return child.leaf
        node = child
        at += 1
    size = len(values)
    if child is not None:
        leaf = child.leaf if at == last else _walk(child, path, segments, at + 1, last, values)
        if leaf is not None:
            return leaf
        del values[size:]
    for branch in branches:
        value = branch.parse(_rest(path, segments, at) if branch.spans else text)
        if value is NO_MATCH:
            continue
        if branch.many:
            values += value
        else:
            values.append(value)
        if at == last or branch.spans:
            leaf = branch.node.leaf
        else:
            leaf = _walk(branch.node, path, segments, at + 1, last, values)
        if leaf is not None:
            return leaf
        del values[size:]
    return None


def _rest(path: str, segments: list[str], at: int) -> str:
    """Return the rest of the path from a segment on, with its slashes."""
    return path[sum(map(len, segments[:at])) + at :]
