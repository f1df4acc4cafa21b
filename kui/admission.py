"""What stands before the routes: which Hosts are answered, and what answers where no route does.

The header's grammar and the list of names are in `http/hosts.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kui.http.exceptions import HTTPException

from .http.hosts import AllowedHosts
from .responses.base import HttpResponse

__all__ = ["RULED", "Admission", "bad_host", "going_down", "no_content", "not_found"]

RULED = frozenset((b"host", b"content-length", b"transfer-encoding"))
"""The headers that the rules about hosts and bodies ask for; a request that has others only is simple."""

_KEPT = 256


class Admission(dict[bytes | None, bool]):
    """Whether a request with this Host, or with none, is its route's business alone.

    Parameters: `allowed_hosts`, as for Kui; `special`, whether there is something to be done for each
    request. When that changes, call `clear`: the answers are kept.

    Example: `Admission(["example.com"], lambda: False)[b"example.com:8000"]` is true.
    """

    def __init__(self, allowed_hosts: Iterable[str], special: Callable[[], bool]) -> None:
        super().__init__()
        allowed_hosts = allowed_hosts if isinstance(allowed_hosts, str) else list(allowed_hosts)
        self._allows = AllowedHosts(allowed_hosts).allows
        self._without = "*" in allowed_hosts
        self._special = special

    def __missing__(self, host: bytes | None) -> bool:
        if len(self) >= _KEPT:
            self.clear()
        self[host] = admitted = not self._special() and self.allowed(host)
        return admitted

    def allowed(self, host: bytes | None) -> bool:
        """Whether this Host, or none, is one that is answered here."""
        return self._without if host is None else self._allows(host)

    def allows(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request with these headers has a Host that is answered here (RFC 9112, 3.2)."""
        hosts = [value for name, value in headers if name == b"host"]
        return len(hosts) <= 1 and self.allowed(hosts[0] if hosts else None)


async def not_found() -> HttpResponse:
    raise HTTPException(404)


async def going_down() -> HttpResponse:
    raise HTTPException(503)


async def no_content() -> HttpResponse:
    return HttpResponse(204)


async def bad_host() -> HttpResponse:
    raise HTTPException(400, content="The Host header names no host that is served here.")
