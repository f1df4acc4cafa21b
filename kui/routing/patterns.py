"""Parse the path of a route into segments, which match texts and have an order in which they are tried.

A `PathPattern("/users/{id:int}")` is independent of routes. `tree` finds the pattern of a path among many; `build`
makes a path of parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from kui.habits import CONVERTERS

from .converters import NO_MATCH, Converter, converter_named
from .segments import SegmentPart, divide

__all__ = ["PathPattern", "Segment", "SortKey"]

SortKey: TypeAlias = tuple[tuple[int, int, str], ...]

MAX_SEGMENTS: Final = 256
"""How many segments a path with placeholders may have, because a lookup recurses once for each segment."""

_END: Final = (1, 0, "")
_brace = re.compile(r"\{([^{}]*)\}|[{}]")
_as_it_is: Final = "!$&'()*+,;=:@"  # RFC 3986: what a segment may hold besides the unreserved
_of_flask = re.compile(r"<(?:([a-z]+):)?([A-Za-z_]\w*)>").search


class Segment:
    """The part of a path between two slashes, with at least one placeholder in it.

    - `parse(text)` returns the value of the placeholder, a tuple of values if `many` is True, or `NO_MATCH`.
    - `spans` is True if the segment gets the rest of the path, slashes included.
    - `key` is the order in which segments are tried; segments of equal `identity` match the same texts.
    """

    __slots__ = ("identity", "key", "many", "names", "parse", "parts", "prefix", "spans", "suffix")

    def __init__(self, parts: list[SegmentPart], names: list[str]) -> None:
        self.parts = tuple(parts)
        self.names = tuple(names)
        self.prefix = parts[0] if isinstance(parts[0], str) else ""
        self.suffix = parts[-1] if isinstance(parts[-1], str) else ""
        self.key: SortKey = (*map(_sort_key, parts), _END)
        self.identity = tuple(
            part if isinstance(part, str) else (part.name, id(part.own)) for part in parts
        )
        converters = [part for part in parts if not isinstance(part, str)]
        self.spans = converters[-1].spans
        self.many = len(converters) > 1
        self.parse: Callable[[str], Any]
        if self.many:
            self.parse = self._parse_many
        elif self.prefix or self.suffix:
            self.parse = _between(self.prefix, converters[0], self.suffix)
        else:
            self.parse = converters[0].parse

    def _divide(self, text: str) -> list[str] | None:
        """Divide the text between several placeholders; None if it does not match."""
        if not (text.startswith(self.prefix) and text.endswith(self.suffix)):
            return None
        if not self.spans:
            return divide(self.parts, text)
        head, slash, rest = text.partition("/")
        pieces = divide(self.parts[:-1], head, open_end=True)
        if pieces:
            pieces[-1] += slash + rest
        return pieces

    def _parse_many(self, text: str) -> Any:
        pieces = self._divide(text)
        if pieces is None:
            return NO_MATCH
        values = []
        converters = (part for part in self.parts if not isinstance(part, str))
        for converter, piece in zip(converters, pieces, strict=True):
            value = converter.parse(piece)
            if value is NO_MATCH:
                return NO_MATCH
            values.append(value)
        return tuple(values)

    def build(self, values: Mapping[str, Any]) -> str:
        """Return the text of the segment with these values, percent-encoded.

        :raises ValueError: as for `PathPattern.build`.
        """
        names = iter(self.names)
        plain = []
        quoted = []
        for part in self.parts:
            if isinstance(part, str):
                text = part
            else:
                name = next(names)
                try:
                    text = part.text_of(values[name])
                except ValueError as exc:
                    raise ValueError(f"the parameter {name!r}: {exc}") from exc.__cause__
                if "/" in text and not part.spans:
                    raise ValueError(f"the parameter {name!r} may not contain a slash")
            plain.append(text)
            quoted.append(_quote(text))
        if self.many and self._divide("".join(plain)) != [
            text for text, part in zip(plain, self.parts, strict=True) if not isinstance(part, str)
        ]:
            raise ValueError(
                f"the parameters {', '.join(self.names)} could not be told apart again "
                f"in {''.join(plain)!r:.80}"
            )
        return "".join(quoted)


def _quote(text: str) -> str:
    try:
        return quote(text, safe=_as_it_is + "/")
    except UnicodeEncodeError:
        raise ValueError(f"{text!r:.80} is not valid Unicode and has no place in a path") from None


def _sort_key(part: SegmentPart) -> tuple[int, int, str]:
    """Return the sort key of a part: fixed text first (the longer the earlier), then converters by rank."""
    if isinstance(part, str):
        return (0, -len(part), part)
    return (part.rank + 1, 0, part.name)


def _between(prefix: str, converter: Converter, suffix: str) -> Any:
    parse = converter.parse
    start = len(prefix)
    fixed = start + len(suffix)

    def between(text: str) -> Any:
        if len(text) >= fixed and text.startswith(prefix) and text.endswith(suffix):
            return parse(text[start : len(text) - len(suffix)])
        return NO_MATCH

    return between


class PathPattern:
    """A path with placeholders such as `{name}` or `{name:int}`, anywhere between the slashes.

    - `segments` has a str for each segment of fixed text, and a `Segment` for each other.
    - `names` are the parameters in order.
    - `key` orders patterns: the one with the smaller key is tried first.

    :raises ValueError: `path` does not begin with a slash, or has a malformed placeholder, an unknown converter, a
        parameter twice, or text after a placeholder that accepts slashes; the message says what to do.
    """

    __slots__ = ("fixed", "key", "names", "path", "segments")

    def __init__(self, path: str) -> None:
        if not path.startswith("/"):
            raise ValueError(f'the path {path!r} does not begin with a slash: write "/{path}"')
        if foreign := _of_flask(path):
            kind, name = foreign.groups()
            wanted = f"{{{name}:{CONVERTERS.get(kind, kind)}}}" if kind else f"{{{name}}}"
            raise ValueError(f"{foreign[0]!r} in {path!r} would be fixed text: write {wanted!r}")
        self.path = path
        self.segments: list[str | Segment] = []
        names: list[str] = []
        spanning = ""
        for text in path[1:].split("/"):
            if spanning:
                raise ValueError(
                    f"{spanning} takes the rest of a path, so {path!r} cannot go on behind it: "
                    f"move it to the end"
                )
            if "{" not in text and "}" not in text:
                self.segments.append(text)
                continue
            parts, found = _parse(text, path)
            for index, part in enumerate(parts):
                if not isinstance(part, str) and part.spans:
                    spanning = f"{{{found[-1]}:{part.name}}}"
                    if index < len(parts) - 1:
                        raise ValueError(
                            f"a placeholder of type {part.name} takes the rest of a path, so "
                            f"{path!r} cannot go on behind it: move it to the end"
                        )
            names += found
            self.segments.append(Segment(parts, found))
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"{path!r} has the parameter {name!r} twice: give each a name of its own"
                )
        self.names = tuple(names)
        self.fixed = not names
        if names and len(self.segments) > MAX_SEGMENTS:
            raise ValueError(
                f"the path {path[:40]!r}... has more than {MAX_SEGMENTS} segments: make it shorter"
            )
        self.key = tuple(
            ((0, -len(segment), segment), _END) if isinstance(segment, str) else segment.key
            for segment in self.segments
        )

    @property
    def converters(self) -> dict[str, str]:
        """The names of the converters by parameter; "" for an application's own."""
        parts = [
            part
            for segment in self.segments
            if isinstance(segment, Segment)
            for part in segment.parts
            if not isinstance(part, str)
        ]
        return {
            name: "" if part.own else part.name
            for name, part in zip(self.names, parts, strict=True)
        }

    def __repr__(self) -> str:
        return f"PathPattern({self.path!r})"

    def build(self, values: Mapping[str, Any]) -> str:
        """Return the path with these parameters, percent-encoded as UTF-8 (RFC 3986).

        :raises ValueError: a parameter is missing, unknown or does not fit its converter; or clients would not
            request this path, because they resolve `.` and `..` between slashes and take two slashes at the beginning
            for a host.
        """
        missing = [name for name in self.names if name not in values]
        if missing:
            raise ValueError(f"{self.path!r} needs the parameter {missing[0]!r}")
        for name in values:
            if name not in self.names:
                raise ValueError(f"{self.path!r} has no parameter {name!r}")
        path = "/" + "/".join(
            _quote(segment) if isinstance(segment, str) else segment.build(values)
            for segment in self.segments
        )
        if path.startswith("//"):
            raise ValueError(f"{path!r:.80} would name a host, as it begins with two slashes")
        if "/." in path and not {".", ".."}.isdisjoint(path.split("/")):
            raise ValueError(f"clients would resolve the '.' or '..' in {path!r:.80}")
        return path


def _parse(text: str, path: str) -> tuple[list[SegmentPart], list[str]]:
    """Return the parts of one segment and the names of its placeholders."""
    parts: list[SegmentPart] = []
    names: list[str] = []
    end = 0
    for found in _brace.finditer(text):
        if found.start() > end:
            parts.append(text[end : found.start()])
        end = found.end()
        if found[1] is None:
            raise ValueError(
                f"{path!r} has a brace on its own: write a placeholder as {{name}} or {{name:int}}"
            )
        name, colon, converter = found[1].partition(":")
        if not name.isidentifier() or (colon and not converter):
            raise ValueError(
                f"{found[0]!r} in {path!r} is no placeholder: write {{name}} or {{name:int}}, "
                f"where the name could be a variable's"
            )
        names.append(name)
        try:
            parts.append(converter_named(converter or "str"))
        except ValueError as exc:
            raise ValueError(f"{found[0]!r} in {path!r}: {exc}") from None
    if end < len(text):
        parts.append(text[end:])
    return parts, names
