"""Compare origins of pages, as in the Origin header (RFC 6454, Fetch standard)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

__all__ = ["Origin", "Origins", "is_host_of", "normal_origin"]

Origin: TypeAlias = str | re.Pattern[str]

_origin = re.compile(
    r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s/?#@:*\[\]]+)(?::([0-9]+))?"
).fullmatch
_PORTS: Final = {"http": "80", "https": "443", "ws": "80", "wss": "443"}


class Origins:
    """A set of origins: texts such as `https://example.com`, and compiled patterns that must match the whole header.

    Texts are compared without case and without the default port.

    :raises ValueError: a text has more than a scheme, a host and a port.
    :raises TypeError: an origin is neither text nor a compiled pattern.
    """

    def __init__(self, origins: Iterable[Origin | Iterable[Origin]]) -> None:
        self._texts: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []
        for origin in _flat(origins):
            if isinstance(origin, re.Pattern):
                self._patterns.append(origin)
            else:
                self._texts.add(normal_origin(origin))

    def __contains__(self, header: str) -> bool:
        return _parse(header) in self._texts or any(
            pattern.fullmatch(header) for pattern in self._patterns
        )


def is_host_of(host: str | None, origin: str) -> bool:
    """True if the value of a Host header names the host and the port of an origin.

    The schemes are not compared: a server behind a proxy does not know its own.
    """
    normal = _parse(origin)
    if normal is None or host is None:
        return False
    scheme, _, authority = normal.partition("://")
    return authority == _without_port(host.lower(), scheme)


def _flat(origins: Iterable[Origin | Iterable[Origin]]) -> Iterable[Origin]:
    for each in origins:
        if isinstance(each, str | re.Pattern):
            yield each
        elif isinstance(each, Iterable):
            yield from _flat(each)
        else:
            raise TypeError(f"an origin is a str or a compiled pattern, not {each!r}")


def normal_origin(origin: str) -> str:
    """Return an origin as browsers send it: in lower case, without the default port.

    :raises ValueError: it has more than a scheme, a host and a port.
    """
    normal = _parse(origin)
    if normal is None:
        raise ValueError(
            f'{origin!r} is no origin: write "https://example.com", without a path, or a pattern'
        )
    return normal


def _parse(origin: str) -> str | None:
    """Return an origin in the form in which it is compared (RFC 6454, 6.2); None if it is opaque or malformed."""
    found = _origin(origin.lower())
    if found is None:
        return None
    scheme, host, port = found.groups()
    return (
        f"{scheme}://{host}" if port in (None, _PORTS.get(scheme)) else f"{scheme}://{host}:{port}"
    )


def _without_port(host: str, scheme: str) -> str:
    """Return a Host header without the default port of a scheme."""
    return host.removesuffix(f":{_PORTS[scheme]}") if scheme in _PORTS else host
