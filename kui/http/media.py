"""Parse request headers: media types, weights, lengths.

Each parser takes linear time, and raises only the HTTPExceptions in its docstring, for any input. `kui.connections` has
the attributes of a request that use them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar, overload

from baize.datastructures import ContentType as _ContentType
from baize.datastructures import Headers as _Headers
from baize.datastructures import MediaType as _MediaType

from .exceptions import HTTPException

__all__ = [
    "MULTIPART",
    "URLENCODED",
    "ContentType",
    "MediaType",
    "RequestHeaders",
    "accepts",
    "best_match",
    "is_plain_form",
    "parse_accept",
    "parse_content_length",
    "parse_content_type",
    "quality",
    "refuse_encoding",
]

T = TypeVar("T")

URLENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"

_SPACE = " \t\r\n"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
# One option with the semicolons before it. Possessive quantifiers, so that there is no backtracking.
_OPTION = re.compile(
    r'[; \t]++([^;="]*+)(?:=[ \t]*+(?:"((?:[^"\\]++|\\.)*+)"?+[^;]*+|([^;]*+))|[^;]++)?+', re.DOTALL
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# One element of a list: all characters up to a comma that is not between quotes.
_ELEMENT = re.compile(r'(?:[^",]++|"(?:[^"\\]++|\\.)*+"?+)++', re.DOTALL)


def _parse_options(line: str) -> tuple[str, dict[str, str]]:
    """Split `value; name=token; name="quoted"` into the value and the options, with names in lower case.

    If an option occurs twice, the first one is used. What is no option is ignored. A quote that is never closed extends
    to the end (WHATWG MIME Sniffing, section 4.4).
    """
    value, semicolon, _ = line.partition(";")
    options: dict[str, str] = {}
    if semicolon:
        for match in _OPTION.finditer(line, len(value)):
            name, quoted, plain = match.groups()
            if quoted is not None:
                plain = _ESCAPE.sub(r"\1", quoted) if "\\" in quoted else quoted
            elif plain is not None:
                plain = plain.strip(_SPACE)
            else:
                continue
            name = name.strip(_SPACE).lower()
            if _TOKEN(name):
                options.setdefault(name, plain)
    return value.strip(_SPACE), options


def _format_options(options: dict[str, str]) -> str:
    text = ""
    for name, value in options.items():
        if not _TOKEN(value):
            value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        text += f"; {name}={value}"
    return text


class MediaType(_MediaType):
    """One element of an Accept header: a media range and its weight (RFC 9110, section 12.5.1).

    `main_type` and `sub_type` are in lower case. `q` is the weight from 0.0 to 1.0; it is 1.0 if it is missing or
    malformed.

    Example::

        MediaType("Text/*;q=0.5").match("text/html")  # True
    """

    __slots__ = ("q",)

    q: float

    def __init__(self, media_type_raw_line: str) -> None:
        full_type, self.options = _parse_options(media_type_raw_line)
        self.main_type, _, self.sub_type = full_type.lower().partition("/")
        weight = self.options.get("q")
        self.q = 1.0 if weight is None else _parse_weight(weight)

    def __str__(self) -> str:
        slash = "/" if self.sub_type else ""
        return f"{self.main_type}{slash}{self.sub_type}{_format_options(self.options)}"

    def match(self, other: str) -> bool:
        """True if this element alone accepts the media type `other`.

        Case is ignored, options must be equal if both have them, and an element with `q=0` accepts nothing. Use
        `accepts` for a whole header.
        """
        return self.q > 0 and self.specificity_for(MediaType(other)) >= 0

    def specificity_for(self, asked: _MediaType) -> int:
        """Return how exactly this range matches `asked`: a larger number is more exact, -1 means no match."""
        if self.main_type != asked.main_type or self.sub_type not in ("*", asked.sub_type):
            return 0 if self.is_all_types else -1
        if self.sub_type == "*":
            return 1
        own = [(name, value) for name, value in self.options.items() if name != "q"]
        if all(asked.options.get(name, "").lower() == value.lower() for name, value in own):
            return 3 + len(own)
        # The client has sent "application/json; charset=utf-8", and "application/json" is asked for. It
        # is accepted, but an element without an option is more exact.
        return 2 if self.q > 0 and not asked.options else -1


def _parse_weight(text: str) -> float:
    digits = re.match(r"[0-9]{1,3}(?:\.[0-9]{0,6})?", text)
    return min(float(digits[0]), 1.0) if digits else 1.0


def parse_accept(header: str | None) -> list[MediaType]:
    """Return the elements of an Accept header in order, also those with `q=0`.

    Elements that are no media range are ignored. If none is left, or there is no header, the result is `*/*` (RFC 9110,
    section 12.5.1).
    """
    types = []
    for element in _ELEMENT.findall(header or ""):
        media_type = MediaType(element)
        if media_type.main_type == "*" and not media_type.sub_type:
            media_type.sub_type = "*"  # some clients write * for */*
        if media_type.main_type and media_type.sub_type:
            types.append(media_type)
    return types or [MediaType("*/*")]


def accepts(types: Sequence[_MediaType], media_type: str) -> bool:
    """Return True if a client that has sent `types` accepts `media_type`; see `quality`.

    Example::

        accepts(parse_accept("text/*, text/html;q=0"), "text/html")  # False
        accepts(parse_accept("text/*, text/html;q=0"), "text/plain")  # True
    """
    return quality(types, media_type) > 0


def quality(types: Sequence[_MediaType], media_type: str) -> float:
    """Return the weight, 0.0 to 1.0, that a client gives to a media type (RFC 9110, 12.5.1).

    The weight is that of the most specific range that matches, or the largest one of equals.

    :param types: the result of `parse_accept`.
    :param media_type: a full media type, `"text/html"` or `"text/html;level=1"`; case is ignored.

    Example: `quality(parse_accept("text/*;q=0.5, */*;q=0.1"), "text/html")` -> `0.5`.
    """
    asked = MediaType(media_type)
    best, weight = -1, 0.0
    for element in types:
        if not isinstance(element, MediaType):
            element = MediaType(str(element))
        specificity = element.specificity_for(asked)
        if specificity > best:
            best, weight = specificity, element.q
        elif specificity == best and best >= 0:
            weight = max(weight, element.q)
    return weight


def best_match(types: Sequence[_MediaType], offered: Iterable[str]) -> str | None:
    """Return the media type among `offered` that a client prefers, the first of equals; None if it accepts none.

    Example::

        best_match(parse_accept("text/html;q=0.8, */*;q=0.1"), ["application/json", "text/html"])
        # "text/html"
    """
    best, best_weight = None, 0.0
    for media_type in offered:
        weight = quality(types, media_type)
        if weight > best_weight:
            best, best_weight = media_type, weight
    return best


def awaits_events(method: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if a request is like that of a browser's `EventSource`: a GET whose Accept names `text/event-stream`.

    `*/*` does not count, because nearly every client sends it.
    """
    if method != "GET":
        return False
    accepted = b",".join([value for name, value in headers if name == b"accept"])
    if b"text/event-stream" not in accepted.lower():
        return False
    types = parse_accept(accepted.decode("latin-1"))
    return any(
        (kind.main_type, kind.sub_type) == ("text", "event-stream") and kind.q > 0 for kind in types
    )


class ContentType(_ContentType):
    """A Content-Type header: `type` in lower case, `options` by lower-case name.

    It is equal to a str that is its type, regardless of case, and to a ContentType with equal options.

    Example::

        parse_content_type("Text/HTML; Charset=UTF-8") == "text/html"  # True
    """

    __slots__ = ()

    # Not hashable: it is equal to strings with other hashes.
    __hash__ = None  # type: ignore[assignment]  # makes it unhashable; object has a method there

    def __init__(self, content_type_raw_line: str) -> None:
        full_type, self.options = _parse_options(content_type_raw_line)
        self.type = full_type.lower()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.type == other.lower()
        if isinstance(other, _ContentType):
            return self.type == other.type.lower() and self.options == other.options
        return NotImplemented

    def __str__(self) -> str:
        return self.type + _format_options(self.options)


def parse_content_type(header: str | None) -> ContentType:
    """Return the Content-Type of a header; its type is empty if there is no header."""
    return ContentType(header or "")


def parse_content_length(header: str | None) -> int | None:
    """Return the number of bytes that a Content-Length header announces.

    Return None if there is no header, or it does not consist of ASCII digits (RFC 9110, section 8.6). A number above
    `sys.maxsize` is returned as `sys.maxsize`, which exceeds every limit.
    """
    if header is None:
        return None
    text = header.strip(_SPACE)
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 18:
        text = text.lstrip("0")
        if len(text) > 18:
            return sys.maxsize
    return int(text or "0")


def is_plain_form(fields: Mapping[bytes, bytes] | None) -> bool:
    """True if a request's headers say only that the body is an urlencoded form, as those of most clients do.

    Otherwise the charset and the encoding must be looked at.

    :param fields: the header fields by name in lower case, if each was sent once; otherwise None.
    """
    return (
        fields is not None
        and fields.get(b"content-type") == b"application/x-www-form-urlencoded"
        and b"content-encoding" not in fields
    )


def refuse_encoding(content_encoding: str | None) -> None:
    """Check that a request body is not compressed.

    :raises HTTPException: 415 with Accept-Encoding (RFC 9110, section 15.5.16), if there is a Content-Encoding other
        than identity.
    """
    if content_encoding and content_encoding.strip(_SPACE).lower() not in ("", "identity"):
        raise HTTPException(
            415,
            headers={"accept-encoding": "identity"},
            content="Bodies with a Content-Encoding are not accepted.",
        )


class RequestHeaders(_Headers):
    """The headers of a request: a mapping that ignores case, whose keys are in lower case.

    Headers that were sent several times are joined with `", "` (Cookie with `"; "`). Set-Cookie is never joined; its
    last value is used. `getlist` has each value. Bytes are decoded as latin-1.

    :param raw: the `headers` of an ASGI scope.

    Example::

        RequestHeaders([(b"accept", b"a/b"), (b"accept", b"c/d")])["Accept"]  # "a/b, c/d"
    """

    __slots__ = ("_index", "_lines")

    def __init__(self, raw: Iterable[tuple[bytes, bytes]] = ()) -> None:
        lines = self._lines = raw if isinstance(raw, list) else list(raw)
        index = dict(lines)
        if len(index) < len(lines) or not b"".join(index).islower():
            values: dict[bytes, list[bytes]] = {}
            for name, value in lines:
                values.setdefault(name.lower(), []).append(value)
            index = {name: _join(name, several) for name, several in values.items()}
        self._index: dict[bytes, bytes] = index

    def __getitem__(self, key: str) -> str:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, /, default: str | T) -> str | T: ...
    def get(self, key: str, /, default: str | T | None = None) -> str | T | None:
        """Return the value of the header `key`, or `default` if it was not sent."""
        index = self._index
        name = key.encode() if key.isascii() else key.encode("latin-1", "replace")
        value = index.get(name)
        if value is None and (lower := name.lower()) != name:
            value = index.get(lower)
        return default if value is None else value.decode("latin-1")

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter([name.decode("latin-1") for name in self._index])

    def __len__(self) -> int:
        return len(self._index)

    def getlist(self, key: str) -> list[str]:
        """Return all values of the header `key` in the order in which they were sent."""
        wanted = key.encode("latin-1", "replace").lower()
        return [value.decode("latin-1") for name, value in self._lines if name.lower() == wanted]

    def multi_items(self) -> list[tuple[str, str]]:
        """Return all headers as pairs of a name in lower case and a value, also repeated ones."""
        return [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in self._lines]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.multi_items()!r})"


def _join(name: bytes, values: list[bytes]) -> bytes:
    if name == b"set-cookie":
        return values[-1]
    return (b"; " if name == b"cookie" else b", ").join(values)
