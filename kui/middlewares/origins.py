"""Which pages may open a WebSocket: browsers let any page try, with the user's cookies (cross-site hijacking).

The same-origin policy does not cover WebSockets; the Origin header is all that tells (RFC 6455, 10.2).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from typing import Any, Final, TypeAlias

from kui.connections import websocket_var
from kui.http.exceptions import HTTPException

__all__ = ["allow_origins"]

Endpoint: TypeAlias = Callable[[], Awaitable[Any]]
Origin: TypeAlias = str | re.Pattern[str]

_origin = re.compile(
    r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(?::([0-9]+))?"
).fullmatch
_PORTS: Final = {"http": "80", "https": "443", "ws": "80", "wss": "443"}


def allow_origins(
    *origins: Origin | Iterable[Origin], same_origin: bool = True, without_origin: bool = True
) -> Callable[[Endpoint], Endpoint]:
    """A middleware that lets only the pages of these origins connect; others get 403 before `accept`.

    :param origins: such as `"https://example.com"`, compared without case and without the default port; or
        compiled patterns, which must match the whole header.
    :param same_origin: whether the pages of the host that is connected to may, too.
    :param without_origin: whether a client without an Origin header may. Browsers always send one.
    :raises ValueError: an origin has more than a scheme, a host and a port.
    :raises TypeError: it is neither text nor a pattern.

    Example::

        @app.router.websocket("/chat", middlewares=[allow_origins("https://example.com")])
        async def chat(): ...
    """
    texts: set[str] = set()
    patterns: list[re.Pattern[str]] = []
    for origin in _flat(origins):
        if isinstance(origin, re.Pattern):
            patterns.append(origin)
        else:
            texts.add(_normal(origin))

    def allowed(header: str, host: str | None) -> bool:
        normal = _parse(header)
        if normal in texts or any(pattern.fullmatch(header) for pattern in patterns):
            return True
        if not same_origin or normal is None or host is None:
            return False
        scheme, _, authority = normal.partition("://")
        return authority == _without_port(host.lower(), scheme)

    def middleware(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def checked() -> Any:
            connection = websocket_var.get()
            given = [value for name, value in connection["headers"] if name == b"origin"]
            if not given:
                fits = without_origin
            else:
                fits = len(given) == 1 and allowed(
                    given[0].decode("latin-1"), connection.headers.get("host")
                )
            if not fits:
                raise HTTPException(403, content="Pages of this origin may not connect here.")
            return await endpoint()

        return checked

    return middleware


def _flat(origins: Iterable[Origin | Iterable[Origin]]) -> Iterable[Origin]:
    for each in origins:
        if isinstance(each, str | re.Pattern):
            yield each
        elif isinstance(each, Iterable):
            yield from _flat(each)
        else:
            raise TypeError(f"an origin is a str or a compiled pattern, not {each!r}")


def _normal(origin: str) -> str:
    normal = _parse(origin)
    if normal is None:
        raise ValueError(
            f'{origin!r} is no origin: write "https://example.com", without a path, or a pattern'
        )
    return normal


def _parse(origin: str) -> str | None:
    """An origin as it is compared (RFC 6454, 6.2); None for what is none, and for one that is opaque."""
    found = _origin(origin.lower())
    if found is None:
        return None
    scheme, host, port = found.groups()
    return (
        f"{scheme}://{host}" if port in (None, _PORTS.get(scheme)) else f"{scheme}://{host}:{port}"
    )


def _without_port(host: str, scheme: str) -> str:
    """A Host header without the port that goes without saying."""
    return host.removesuffix(f":{_PORTS[scheme]}") if scheme in _PORTS else host
