"""Endpoints for requests that reach no route: an unknown path, a wrong Host, an app that has crashed."""

from __future__ import annotations

from kui.http.exceptions import HTTPException, Unavailable
from kui.responses.base import HttpResponse

__all__ = ["bad_host", "no_content", "not_found", "service_unavailable"]


async def not_found() -> HttpResponse:
    """Raise 404: no route matches the path (RFC 9110, 15.5.5)."""
    raise HTTPException(404)


async def service_unavailable() -> HttpResponse:
    """Raise 503: a service of the app has failed, and the app is stopping (RFC 9110, 15.6.4)."""
    raise Unavailable


async def no_content() -> HttpResponse:
    """Answer a CORS preflight, or `OPTIONS *` (RFC 9110, 9.3.7), with 204."""
    return HttpResponse(204)


async def bad_host() -> HttpResponse:
    """Raise 400: the Host header is missing, malformed or not allowed (RFC 9112, 3.2)."""
    raise HTTPException(400, content="The Host header names no host that is served here.")
