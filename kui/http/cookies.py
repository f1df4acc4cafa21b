"""Write a Set-Cookie line (`SetCookie`), and parse a Cookie header (`parse_cookies`) (RFC 6265 and 6265bis).

`parse_cookies` returns any text that `SetCookie` has written unchanged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import index
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from .dates import format_date
from .headers import is_token
from .text import whole_text

__all__ = ["SameSite", "SetCookie", "parse_cookies"]

SameSite = Literal["lax", "strict", "none"]

_SAMESITE = {"lax": "Lax", "strict": "Strict", "none": "None"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# cookie-octet of RFC 6265, 4.1.1
_plain_value = re.compile(r"[!#-+\--:<-\[\]-~]*").fullmatch
_attribute = re.compile(r"[\x20-:<-~]*").fullmatch
# The result of `quote`. Python's own http.cookies never quotes a value of these characters alone.
_percent_quoted = re.compile(r"[A-Za-z0-9_.~%\-]*").fullmatch
_escape = re.compile(rb"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)


@dataclass(slots=True, unsafe_hash=True)
class SetCookie:
    """One Set-Cookie line; `str(cookie)` is its value.

    :param name: a token.
    :param value: any text. A lone surrogate becomes U+FFFD.
    :param max_age: the lifetime in seconds; 0 or less deletes the cookie at once.
    :param expires: an aware datetime.
    :param path: "" for that of the request; without control characters and `;`, as `domain`.
    :param samesite: "lax", "strict" or "none".
    :param partitioned: True to keep one cookie for each site that embeds this one (CHIPS).
    :raises ValueError: a browser would refuse the cookie or read it differently: the name is no token;
        `samesite="none"` or `partitioned` without `secure`; a `__Secure-` name without `secure`; a `__Host-` name
        without `secure`, with a domain, or with another path than "/".

    Example: `str(SetCookie("theme", "dark", path="/"))` -> `"theme=dark; Path=/; SameSite=Lax"`.
    """

    name: str
    value: str = ""
    max_age: int | None = None
    expires: datetime | None = None
    path: str = "/"
    domain: str | None = None
    secure: bool = False
    httponly: bool = False
    samesite: SameSite = "lax"
    partitioned: bool = False

    def __post_init__(self) -> None:
        if self.max_age is not None:
            index(self.max_age)  # raises TypeError for a float or a timedelta
        self._attributes()

    def __str__(self) -> str:
        line = f"{self.name}={_encode_value(self.value)}"
        expires = self.expires
        if self.max_age is not None:
            line += f"; Max-Age={max(index(self.max_age), 0)}"
            if self.max_age <= 0:
                expires = _EPOCH
        if expires is not None:
            line += f"; Expires={format_date(expires)}"
        return line + self._attributes()

    def _attributes(self) -> str:
        return _attributes(
            self.name,
            self.path,
            self.domain,
            self.secure,
            self.httponly,
            self.samesite,
            self.partitioned,
        )


@lru_cache(maxsize=256)
def _attributes(
    name: str,
    path: str,
    domain: str | None,
    secure: bool,
    httponly: bool,
    samesite: str,
    partitioned: bool,
) -> str:
    """Return the attributes without the dates. The result is cached, because an app sets few different ones.

    :raises ValueError: as for `SetCookie`.
    """
    if not is_token(name):
        raise ValueError(f"{name!r} is no name for a cookie: letters, digits, - and _ do")
    for label, text in (("path", path), ("domain", domain or "")):
        if not _attribute(text):
            raise ValueError(
                f"the {label} {text!r} of a cookie is ASCII text without controls and ';'"
            )
    if samesite.lower() not in _SAMESITE:
        raise ValueError(f"samesite is 'lax', 'strict' or 'none', not {samesite!r}")
    if not secure and samesite.lower() == "none":
        raise ValueError("browsers refuse samesite='none' without secure=True")
    if not secure and partitioned:
        raise ValueError("browsers refuse partitioned=True without secure=True")
    prefix = name[:9].lower()
    if prefix.startswith("__host-"):
        if not secure or domain or path != "/":
            raise ValueError("a __Host- cookie needs secure=True, path='/' and no domain")
    elif prefix == "__secure-" and not secure:
        raise ValueError("a __Secure- cookie needs secure=True")
    line = f"; Domain={domain}" if domain else ""
    if path:
        line += f"; Path={path}"
    if secure:
        line += "; Secure"
    if httponly:
        line += "; HttpOnly"
    line += f"; SameSite={_SAMESITE[samesite.lower()]}"
    return f"{line}; Partitioned" if partitioned else line


def expiry(seconds: int) -> datetime:
    """Return the moment `seconds` from now; for 0 or less the epoch, so that a wrong clock has no effect.

    :raises ValueError: the moment is after the year 9999.
    """
    if seconds <= 0:
        return _EPOCH
    try:
        return datetime.now(UTC) + timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"a cookie cannot expire in {seconds} seconds") from None


def parse_cookies(header: str) -> dict[str, str]:
    """Return the cookies of a Cookie header, which must be decoded as latin-1. It takes linear time.

    If two cookies have the same name, the first one is used: browsers send the one with the longest path first
    (RFC 6265, section 5.4), so that a cookie of another host of the domain does not displace it. An element without `=`
    is left out. Values in double quotes are decoded as `SetCookie` and Python's http.cookies write them, other values
    are not decoded. UTF-8 is recognised.

    Example: `parse_cookies("a=1; b=%20; a=2")` -> `{"a": "1", "b": "%20"}`.
    """
    cookies: dict[str, str] = {}
    quoted, ascii_only = '"' in header, header.isascii()
    for piece in header.split(";"):
        name, equals, value = piece.partition("=")
        name = name.strip(" \t")
        if equals and name and name not in cookies:
            value = value.strip(" \t")
            if quoted and value[:1] == '"' == value[-1:] and len(value) > 1:
                value = _unquote(value[1:-1])
            elif not ascii_only:
                value = _as_utf8(value)
            cookies[name] = value
    return cookies


def _encode_value(value: str) -> str:
    # The quotes tell the parser to decode percent signs; it does not decode a bare value.
    if value.isalnum() and value.isascii():  # most values
        return value
    return value if _plain_value(value) else f'"{quote(whole_text(value), safe="")}"'


def _unquote(value: str) -> str:
    if _percent_quoted(value):
        raw = unquote_to_bytes(value)
    else:
        try:
            raw = _escape.sub(_unescape, value.encode("latin-1"))
        except UnicodeEncodeError:  # the header was not decoded as latin-1
            return value
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _unescape(match: re.Match[bytes]) -> bytes:
    octal, character = match.groups()
    return bytes((int(octal, 8),)) if octal else character


def _as_utf8(value: str) -> str:
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
