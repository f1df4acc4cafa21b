"""The endpoints that answer a request in the place of a route: no such path, a wrong Host, a crashed app."""

from __future__ import annotations

from kui.http.exceptions import HTTPException, Unavailable
from kui.responses.base import HttpResponse

__all__ = ["bad_host", "no_content", "not_found", "service_unavailable"]


async def not_found() -> HttpResponse:
    """There is no route for the path (RFC 9110, 15.5.5)."""
    raise HTTPException(404)


async def service_unavailable() -> HttpResponse:
    """The app is ending, because a service of it has failed (RFC 9110, 15.6.4)."""
    raise Unavailable


async def no_content() -> HttpResponse:
    """The answer to a CORS preflight, and to `OPTIONS *` (RFC 9110, 9.3.7)."""
    return HttpResponse(204)


async def bad_host() -> HttpResponse:
    """The Host header is missing where it must be there, malformed, or not allowed (RFC 9112, 3.2)."""
    raise HTTPException(400, content="The Host header names no host that is served here.")
