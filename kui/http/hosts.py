"""Check Host headers: by the grammar of RFC 3986, or against a list of names.

These are pure functions of bytes. The application checks the header before it builds anything from it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final

__all__ = ["AllowedHosts", "split_host", "valid_host"]

LONGEST_HOST: Final = 255  # limit of a name in bytes (RFC 3986, section 3.2.2)

_NAME: Final = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+"
_LITERAL: Final = r"\[(?:(?P<v6>[0-9A-Fa-f:.]+)|[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+)\]"
_HOST: Final = re.compile(
    rf"(?P<host>{_NAME}|{_LITERAL})(?::(?P<port>[0-9]*))?".encode("ascii"), re.DOTALL
)
_PATTERN: Final = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")


def split_host(host: bytes) -> tuple[str, int | None] | None:
    """Split a Host header into its host, in lower case and with a literal's brackets, and its port.

    Return None if RFC 3986, section 3.2.2, does not allow the value: an empty host, user information, blanks, control
    characters, a malformed IPv6 address, a port above 65535. The port is None if there is none.

    Example: `split_host(b"Example.com:8000")` -> `("example.com", 8000)`.
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    name = found["host"]
    if len(name) > LONGEST_HOST:
        return None
    if found["v6"] is not None:
        try:
            IPv6Address(found["v6"].decode("ascii"))
        except AddressValueError:
            return None
    port = found["port"]
    if port and (len(port) > 5 or int(port) > 65535):
        return None
    return name.decode("ascii").lower(), int(port) if port else None


@lru_cache(maxsize=256)
def valid_host(host: bytes) -> bool:
    """True if `host`, the value of a Host header, is a host and perhaps a port (RFC 3986, 3.2.2 and 3.2.3).

    Example: `valid_host(b"[::1]:8000")` is true, `valid_host(b"[")` and `valid_host(b"")` are not.
    """
    return split_host(host) is not None


class AllowedHosts:
    """The host names that an application answers. Port and case are ignored.

    :param patterns: each is a name (`example.com`), all subdomains of a name (`*.example.com`, which does not include
        `example.com`), an address (`192.0.2.1`, `[::1]`), or `*` for every host.
    :raises ValueError: a pattern is none of these.
    :raises TypeError: a single str was given instead of a list.

    Example::

        AllowedHosts(["example.com", "*.example.com"]).allows(b"www.example.com:8000")  # True
    """

    __slots__ = ("_any", "_names", "_suffixes", "allows")

    def __init__(self, patterns: Iterable[str] = ("*",)) -> None:
        if isinstance(patterns, str):
            raise TypeError(f"allowed_hosts is a list of names; write [{patterns!r}]")
        names: set[str] = set()
        suffixes: set[str] = set()
        for pattern in patterns:
            plain = pattern if pattern == "*" else pattern.lower().removesuffix(".")
            if pattern != "*" and not _PATTERN.fullmatch(plain):
                raise ValueError(
                    f"allowed_hosts has {pattern!r}; write a name without scheme and port, such as"
                    " 'example.com', '*.example.com', '[::1]', or '*' for all"
                )
            if plain.startswith("*."):
                suffixes.add(plain[1:])
            else:
                names.add(plain)
        self._any = "*" in names
        self._names = frozenset(names)
        self._suffixes = tuple(suffixes)
        self.allows = valid_host if self._any else lru_cache(maxsize=256)(self._allows)
        """True if the value of a Host header is valid and names an allowed host."""

    def allow(
        self, fields: Mapping[bytes, bytes], headers: Collection[tuple[bytes, bytes]]
    ) -> bool:
        """True if a request has an allowed Host header.

        A request without one is allowed only if every host is. Two Host headers are refused (RFC 9112, section 3.2).

        :param fields: the same headers by name.
        """
        host = fields.get(b"host")
        if host is None:
            return self._any
        if len(fields) != len(headers) and [name for name, _ in headers].count(b"host") > 1:
            return False
        return self.allows(host)

    def _allows(self, host: bytes) -> bool:
        parts = split_host(host)
        if parts is None:
            return False
        name = parts[0].removesuffix(".")
        return name in self._names or (not name.startswith(".") and name.endswith(self._suffixes))
