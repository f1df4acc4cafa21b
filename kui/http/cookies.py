"""Cookies, both ways: `SetCookie` writes a Set-Cookie line, `parse_cookies` reads a Cookie header.

They agree: `parse_cookies` reads any text that `SetCookie` writes. RFC 6265 and its successor (6265bis).
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
# What `quote` makes. Python's own http.cookies never quotes a value of these characters alone.
_percent_quoted = re.compile(r"[A-Za-z0-9_.~%\-]*").fullmatch
_escape = re.compile(rb"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)


@dataclass(slots=True, unsafe_hash=True)
class SetCookie:
    """One Set-Cookie line; `str(cookie)` is its value.

    Parameters: `name`, a token; `value`, any text; `max_age`, seconds, of which none or fewer
    discard the cookie at once; `expires`, an aware datetime; `path` ("" for that of the request)
    and `domain`, without controls and `;`; `secure`; `httponly`; `samesite`, "lax", "strict" or
    "none"; `partitioned`, a jar of its own for each site that embeds this one (CHIPS).

    In the value, a lone surrogate becomes U+FFFD. Raises ValueError for what a browser would refuse
    or read otherwise: a name that is no token, `samesite="none"` or `partitioned` without `secure`,
    a `__Secure-` name without `secure`, a `__Host-` name without `secure`, with a domain or with another path than "/".

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
            index(self.max_age)  # a float or a timedelta is a TypeError here, not in the browser
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
    """Return the attributes after the value and the dates; cached, because an app sets few different ones.

    Raises ValueError for what `SetCookie` refuses.
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
    """Return the moment that lies `seconds` from now; the epoch for 0 or fewer, so that a wrong clock does not matter.

    Raises ValueError for a moment after the year 9999.
    """
    if seconds <= 0:
        return _EPOCH
    try:
        return datetime.now(UTC) + timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"a cookie cannot expire in {seconds} seconds") from None


def parse_cookies(header: str) -> dict[str, str]:
    """Return the cookies of a Cookie header, which is decoded as latin-1; takes linear time.

    Of two cookies with one name the first counts: browsers send the one with the longest path,
    the closest to what is asked for, first (RFC 6265, 5.4), and a cookie that another host of the
    domain planted does not displace it. What has no `=` has no name and is left out. Values in
    double quotes are read as `SetCookie` and as Python's http.cookies write them, all others as they
    are; text that is UTF-8 is read as such, as browsers send it.

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
    if value.isalnum() and value.isascii():  # as most are
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
