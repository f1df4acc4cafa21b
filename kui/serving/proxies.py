"""Read what a trusted proxy says about the client: X-Forwarded-For, -Proto, -Host, or Forwarded (RFC 7239).

This is an ASGI wrapper, which the server puts around the app if `--forwarded-allow-ips` names a proxy. It uses
well-formed values only, and only those that trusted proxies have written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, NamedTuple, TypeAlias

from baize.typing import ASGIApp, Receive, Scope, Send

from kui.http.hosts import valid_host

__all__ = ["ForwardedHeaders"]

NodeAddress: TypeAlias = tuple[str, int]

_NODE: Final = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?")
_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR: Final = re.compile(
    rf"(?P<name>{_TOKEN})=(?:(?P<token>{_TOKEN})"
    r'|"(?P<quoted>(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*)")'
)
_NAMES: Final = frozenset(
    (b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
)
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_SOCKET_SCHEMES: Final = {"http": "ws", "https": "wss"}


class _Said(NamedTuple):
    """The values of one family of headers; None for each that is missing."""

    client: NodeAddress | None
    scheme: str | None
    host: bytes | None


_NOTHING: Final = _Said(None, None, None)


class ForwardedHeaders:
    """Lets trusted proxies set the client, the scheme and the host of a request or a WebSocket.

    The list of hops is read from the right, which is the side that the nearest proxy has written. The first address
    that is not trusted is the client; if all are trusted, it is the leftmost. Scheme and host are taken from the same
    hop. Malformed values are ignored. If a request has both Forwarded and X-Forwarded headers, and they differ, the
    proxy has not written one of them; then `scope["client"]` is None, and scheme and host are not changed.

    :param app: an ASGI app.
    :param trusted: addresses (`127.0.0.1`), networks (`10.0.0.0/8`), `*` for every address, and `unix` for clients on
        a Unix socket, in a list, or in a str with commas.
    :raises ValueError: a value is none of these.
    """

    __slots__ = ("_everybody", "_networks", "_unix", "app")

    def __init__(self, app: ASGIApp, trusted: str | Iterable[str]) -> None:
        self.app = app
        self._everybody = False
        self._unix = False
        self._networks: list[IPv4Network | IPv6Network] = []
        for part in trusted.split(",") if isinstance(trusted, str) else trusted:
            name = part.strip()
            if name == "*":
                self._everybody = True
            elif name == "unix":
                self._unix = True
            elif name:
                try:
                    self._networks.append(ip_network(name))
                except ValueError:
                    raise ValueError(
                        f"{name!r} is neither an address nor a network such as 10.0.0.0/8"
                    ) from None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and self._trusts_peer(scope.get("client")):
            scope = self._corrected(scope)
        await self.app(scope, receive, send)

    def _trusts_peer(self, client: NodeAddress | None) -> bool:
        if client is None:
            return self._unix or self._everybody
        return self._trusts(client[0])

    def _trusts(self, host: str) -> bool:
        if self._everybody:
            return True
        address = _parse_ip(host)
        return address is not None and any(address in network for network in self._networks)

    def _corrected(self, scope: Scope) -> Scope:
        fields: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name in _NAMES:
                fields.setdefault(name, []).append(value.decode("latin-1"))
        if not fields:
            return scope
        forwarded = fields.pop(b"forwarded", None)
        said = self._read_x_forwarded(fields) if fields else _NOTHING
        if forwarded is not None:
            by_standard = self._read_forwarded(",".join(forwarded))
            if fields and by_standard != said:
                return {**scope, "client": None}
            said = by_standard
        return _apply(said, scope)

    def _read_x_forwarded(self, fields: dict[bytes, list[str]]) -> _Said:
        nodes = _members(fields.get(b"x-forwarded-for"))
        index, client = self._find_client(nodes)
        scheme = _of_hop(_members(fields.get(b"x-forwarded-proto")), index, len(nodes))
        host = _of_hop(_members(fields.get(b"x-forwarded-host")), index, len(nodes))
        return _Said(client, _scheme(scheme), _host(host))

    def _read_forwarded(self, value: str) -> _Said:
        elements = _parse_forwarded(value)
        if not elements:
            return _NOTHING
        index, client = self._find_client([element.get("for", "") for element in elements])
        chosen = elements[index]
        return _Said(client, _scheme(chosen.get("proto")), _host(chosen.get("host")))

    def _find_client(self, nodes: list[str]) -> tuple[int, NodeAddress | None]:
        """Return the index and the address of the client's hop. Hops left of a malformed one are ignored."""
        found: tuple[int, NodeAddress | None] = (len(nodes) - 1, None)
        for index in range(len(nodes) - 1, -1, -1):
            address = _parse_node(nodes[index])
            if address is None:
                break
            found = index, address
            if not self._trusts(address[0]):
                break
        return found


def _apply(said: _Said, scope: Scope) -> Scope:
    changed = dict(scope)
    if said.client is not None:
        changed["client"] = said.client
    if said.scheme is not None:
        web = scope["type"] == "http"
        changed["scheme"] = said.scheme if web else _SOCKET_SCHEMES[said.scheme]
    if said.host is not None:
        others = [header for header in scope["headers"] if header[0] != b"host"]
        changed["headers"] = [(b"host", said.host), *others]
    return changed


def _members(fields: list[str] | None) -> list[str]:
    """Return the members of a comma-separated list that may be spread over several header fields."""
    if not fields:
        return []
    return [member.strip(" \t") for member in ",".join(fields).split(",")]


def _of_hop(values: list[str], index: int, hops: int) -> str | None:
    """Return the value for a hop: its own if each hop has one, otherwise that of the nearest proxy."""
    if not values:
        return None
    return values[index] if hops and len(values) == hops else values[-1]


def _scheme(value: str | None) -> str | None:
    return None if value is None else _SCHEMES.get(value.lower())


def _host(value: str | None) -> bytes | None:
    if value is None or not value.isascii():
        return None
    host = value.encode("ascii")
    return host if valid_host(host) else None


def _parse_ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _parse_node(text: str) -> NodeAddress | None:
    """Return an address with or without a port; IPv6 with or without brackets (RFC 7239, section 6)."""
    found = _NODE.fullmatch(text)
    host = (found["v6"] or found["v4"] or "") if found else text
    if "%" in host:
        return None
    address = _parse_ip(host)
    if address is None or (found is not None and found["v6"] and ":" not in host):
        return None
    port = int(found["port"] or 0) if found else 0
    return None if port > 65535 else (str(address), port)


def _parse_forwarded(value: str) -> list[dict[str, str]]:
    """Return the elements of a Forwarded field, or an empty list if it breaks the grammar (RFC 7239, 4)."""
    elements: list[dict[str, str]] = [{}]
    position = 0
    while True:
        position = _skip_blanks(value, position)
        pair = _PAIR.match(value, position)
        if pair is None:
            return []
        name = pair["name"].lower()
        if name in elements[-1]:
            return []
        quoted = pair["quoted"]
        elements[-1][name] = pair["token"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = _skip_blanks(value, pair.end())
        if position == len(value):
            return elements
        if value[position] == ",":
            elements.append({})
        elif value[position] != ";":
            return []
        position += 1


def _skip_blanks(value: str, position: int) -> int:
    while position < len(value) and value[position] in " \t":
        position += 1
    return position
