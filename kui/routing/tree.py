"""From a path to whatever was put there: the lookup, for many patterns at once.

A path without placeholders is one look into a dict. The others stand in a tree with one level for
each segment; each node is entered at most once in a lookup, so that the time is linear in the path
and does not grow with the number of routes. Nothing here knows what a route is.
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
    """What may follow a part of a path that has been read up to a slash.

    `branches` are tried after `fixed`, in their order. Where some of them have fixed text of their
    own, there may be thousands: `index` finds those whose text before and behind is right.
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
        """The node behind this segment, made if it is new."""
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
        """The branches whose fixed text stands in `text`, in their order."""
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
        """What stands at a pattern that matches the very same paths, or None."""
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
        """Put a value where the pattern leads, in the place of one that is there."""
        if pattern.fixed:
            self.fixed[pattern.path] = value
            return
        node = self._root
        for segment in pattern.segments:
            node = node.child(segment)
        node.leaf = value
        self._depth = max(self._depth, len(pattern.segments))
        self._shortcuts = None  # another branch may have made one wrong

    def find(self, path: str) -> tuple[T, list[Any]] | None:
        """The value of the first pattern, in their order, that matches, and the parameters' values.

        A path without placeholders comes before all others, so that a caller in a hurry may look
        into `fixed` on its own and ask `find_open` for the rest.
        """
        value = self.fixed.get(path)
        return self.find_open(path) if value is None else (value, [])

    def find_open(self, path: str) -> tuple[T, list[Any]] | None:
        """As `find`, among the patterns with placeholders."""
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
        # One more than the deepest pattern has: a longer path is not taken to pieces.
        segments = path.split("/", self._depth + 1)
        last = len(segments) - 1
        if not last or segments[0]:
            return None
        leaf = _walk(self._root, path, segments, 1, last, values)
        return None if leaf is None else (leaf, values)


def _fixed_ways(node: _Node[T], path: str) -> Iterator[tuple[str, _Node[T]]]:
    """The nodes that fixed text alone leads to, where nothing but fixed text could lead away.

    Whatever begins with such a path and a slash can only be found from its node on.
    """
    if node.branches:
        yield path, node
        return
    for text, child in node.fixed.items():
        yield from _fixed_ways(child, f"{path}/{text}")


def _only_way(node: _Node[T]) -> _Branch[T] | None:
    """The one branch of a node from which nothing else leads on; None where there is more to decide."""
    if node.fixed or node.index is not None or len(node.branches) != 1:
        return None
    branch = node.branches[0]
    return None if branch.many else branch


def _walk(
    node: _Node[T], path: str, segments: list[str], at: int, last: int, values: list[Any]
) -> T | None:
    """The leaf that `segments[at:]` lead to from `node`; the values are added to `values`."""
    while True:
        text = segments[at]
        child = node.fixed.get(text)
        branches = node.branches if node.index is None else node.fitting(text)
        if child is None:
            if len(branches) != 1:
                break
            # There is one way only, the usual case: nothing to come back to, no call deeper.
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
    """What is left of the path from a segment on, with its slashes."""
    return path[sum(map(len, segments[:at])) + at :]
