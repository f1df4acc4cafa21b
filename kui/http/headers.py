"""Check and write the headers of responses (RFC 9110, sections 5.1 and 5.5).

Each header of a response is checked here, so that none contains CR, LF or NUL. `http/media.py` parses request headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

from baize.datastructures import MutableHeaders

from .text import whole_text

__all__ = [
    "RawHeaders",
    "ResponseHeaders",
    "charset_of",
    "content_type",
    "encode_location",
    "header_mapping",
    "is_token",
    "merge_headers",
]

RawHeaders = list[tuple[bytes, bytes]]

_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
# A tab is the only control character that a value may contain. Characters outside of latin-1 cannot be sent.
_field_value = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
_tchar = r"[\w!#$%&'*+\-.^`|~]++"
_quoted = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*+"'
# Possessive quantifiers, so that there is no backtracking: a media type may come from an upload.
_parameter = rf"[ \t]*+;[ \t]*+(?:({_tchar})=({_tchar}|{_quoted}))?+"
_parameters = re.compile(_parameter, re.ASCII)
_media_type = re.compile(rf"{_tchar}/{_tchar}(?:{_parameter})*+", re.ASCII).fullmatch
# Set-Cookie has lines of its own; only the server sets Transfer-Encoding (ASGI).
_NOT_ENCODED = frozenset(("set-cookie", "transfer-encoding"))
_NOTHING: Mapping[str, str] = {}
_stray_percent = re.compile("%(?![0-9A-Fa-f]{2})")


def is_token(text: str) -> bool:
    """True if `text` is a token: a header name, a method, a cookie's name (RFC 9110, 5.6.2)."""
    return _token(text) is not None


@lru_cache(maxsize=512)
def _checked_name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a header name is a str, not {name!r}")
    if not _token(name):
        raise ValueError(f"{name!r} is no header name: letters, digits and !#$%&'*+-.^_`|~ only")
    return name.lower()


def _checked_value(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the value of the header {name} is a str, not {value!r}")
    value = value.strip(" \t")
    if not (value.isascii() and value.isprintable()) and not _field_value(value):
        raise ValueError(
            f"the value {value!r} of the header {name} has a control character or one outside"
            " latin-1; encode it first"
        )
    return value


class ResponseHeaders(MutableHeaders):
    """The headers of a response: a mutable mapping whose keys ignore case. Spaces around a value are dropped.

    `append` joins a value to the present one with a comma, except for Set-Cookie, of which each stays a line of its
    own: `headers["set-cookie"]` is the last line, `headers.getlist("set-cookie")` all of them.

    :param headers: a mapping, or pairs, of str.
    :param defaults: further headers, used if `headers` does not have them. They are not checked, and must be in lower
        case.
    :raises ValueError: at each change, if a name is no token (RFC 9110, section 5.1), or a value has a control
        character or one outside of latin-1 (5.5).
    :raises TypeError: a name or a value is no `str`.

    Example::

        response.headers["Cache-Control"] = "no-store"
        response.headers.append("Vary", "Accept")
    """

    __slots__ = ("_set_cookie",)

    def __init__(
        self,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        defaults: Mapping[str, str] = _NOTHING,
    ) -> None:
        self._set_cookie: list[str] = []
        if headers is None:
            self._dict: dict[str, str] = {**defaults}
            return
        self._dict = {}
        self._add(headers)
        if defaults:
            self._dict = {**defaults, **self._dict}

    def _add(self, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        if isinstance(headers, ResponseHeaders):
            self._dict.update(headers._dict)  # noqa: SLF001  # of this module
            self._set_cookie += headers._set_cookie  # noqa: SLF001  # of this module
            return
        if isinstance(headers, (dict, Mapping)):  # the check for a dict alone is much faster
            headers = headers.items()
        for name, value in headers:
            self.append(name, value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._dict

    def __setitem__(self, name: str, value: str) -> None:
        name = _checked_name(name)
        value = _checked_value(name, value)
        if name == "set-cookie":
            self._set_cookie = [value]
        self._dict[name] = value

    def __delitem__(self, name: str) -> None:
        name = name.lower()
        del self._dict[name]
        if name == "set-cookie":
            self._set_cookie = []

    def append(self, name: str, value: str) -> None:
        """Add a value to those of a name. Raises what setting it raises."""
        name = _checked_name(name)
        value = _checked_value(name, value)
        if name == "set-cookie":
            self._set_cookie.append(value)
        elif name in self._dict:
            value = f"{self._dict[name]}, {value}"
        self._dict[name] = value

    def getlist(self, name: str) -> list[str]:
        """Return the lines with a name: any number for Set-Cookie, one or none for others."""
        name = name.lower()
        if name == "set-cookie":
            return self._set_cookie.copy()
        return [self._dict[name]] if name in self._dict else []

    def copy(self) -> ResponseHeaders:
        """Return a copy."""
        return ResponseHeaders(self)

    def encode(self) -> RawHeaders:
        """Return the headers in the form that ASGI requires."""
        raw = [
            (name.encode(), value.encode("latin-1"))
            for name, value in self._dict.items()
            if name not in _NOT_ENCODED
        ]
        if self._set_cookie:
            raw += [(b"set-cookie", line.encode("latin-1")) for line in self._set_cookie]
        return raw

    def __repr__(self) -> str:
        return f"ResponseHeaders({self._dict!r})"


def header_mapping(
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
) -> Mapping[str, str] | None:
    """Check the headers of a response, and return them as a mapping. A mapping and None are returned unchanged.

    :param headers: a mapping, or a list or tuple of pairs. A name may occur in several pairs.
    :raises TypeError: they are neither, or a name or a value is no `str`.
    :raises ValueError: a name is no token, or a value has a control character or one outside of latin-1.

    Example: `header_mapping([("allow", "GET")])["Allow"]` -> `"GET"`.
    """
    if headers is None:
        return None
    if isinstance(headers, ResponseHeaders):  # checked already
        return headers
    if isinstance(headers, Mapping):
        ResponseHeaders(headers)
        return headers
    if not isinstance(headers, (list, tuple)) or not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in headers
    ):
        raise TypeError(f"headers are a mapping or a sequence of pairs, not {headers!r:.100}")
    return ResponseHeaders(headers)


def merge_headers(
    headers: Iterable[tuple[bytes, bytes]], added: Iterable[tuple[bytes, bytes]]
) -> RawHeaders:
    """Return the raw headers of a response with others added. Neither argument is changed.

    An added header replaces those with the same name. Lists of Vary are merged, and Set-Cookie lines are added. All
    names must be in lower case (ASGI).

    Example: merging `(b"vary", b"origin")` into `(b"vary", b"accept")` gives `b"accept, origin"`.
    """
    headers, added = list(headers), list(added)
    present = dict(headers)
    for name, _ in added:
        if name in present and name != b"set-cookie":
            break
    else:
        return headers + added
    replaced = {name for name, _ in added} - {b"set-cookie"}
    merged = [header for header in headers if header[0] not in replaced or header[0] == b"vary"]
    merged += [header for header in added if header[0] != b"vary"]
    if b"vary" in replaced:
        fields: dict[bytes, bytes] = {}
        for name, value in (*merged, *added):
            if name == b"vary":
                for field in value.split(b","):
                    field = field.strip()
                    if field:
                        fields.setdefault(field.lower(), field)
        merged = [header for header in merged if header[0] != b"vary"]
        merged.append((b"vary", b"*" if b"*" in fields else b", ".join(fields.values())))
    return merged


@lru_cache(maxsize=256)
def content_type(media_type: str, charset: str) -> str:
    """Return the Content-Type of a body. The charset is added to `text/*` unless the media type has one.

    :raises ValueError: `media_type` is no media type (RFC 9110, section 8.3.1), or `charset` is no name of a charset.

    Example: `content_type("text/plain", "utf-8")` -> `"text/plain; charset=utf-8"`.
    """
    if not _media_type(media_type):
        raise ValueError(f"{media_type!r} is no media type, such as 'text/html'")
    if not media_type.lower().startswith("text/") or charset_of(media_type) is not None:
        return media_type
    if not _token(charset):
        raise ValueError(f"{charset!r} is no charset, such as 'utf-8'")
    return f"{media_type}; charset={charset}"


def charset_of(media_type: str) -> str | None:
    """Return the charset parameter of a media type; None if it has none."""
    for name, value in _parameters.findall(media_type):
        if name.lower() == "charset":
            return str(value).strip('"')
    return None


def encode_location(url: str) -> str:
    """Return the URI that an IRI maps to (RFC 3987, 3.1), for a Location header.

    It percent-encodes, as UTF-8, the characters that a URI must not contain: control characters, spaces, characters
    outside of ASCII, and a backslash, which browsers would read as a slash. Existing percent-encoding is not changed. A
    lone surrogate becomes U+FFFD.

    Example: `encode_location("/a b?q=%20")` -> `"/a%20b?q=%20"`.
    """
    return quote(_stray_percent.sub("%25", whole_text(url)), safe="%:/?#[]@!$&'()*+,;=~")
