"""Middlewares that check the origin of a page: for WebSockets, and for requests that change something.

Browsers send the user's cookies with the requests of any page. The same-origin policy does not cover WebSockets
(RFC 6455, section 10.2), and lets any page send a form (cross-site request forgery). Only headers that a page cannot
set tell which page has sent a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final

from kui.current import request_var, websocket_var
from kui.http.exceptions import HTTPException
from kui.http.origins import Origin, Origins, is_host_of
from kui.requests import HttpRequest
from kui.views import Endpoint

from .cors import CORS_ORIGIN, policies_in
from .placement import makes_middleware, only_for

__all__ = ["allow_origins", "cross_origin_protection"]

SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))


@makes_middleware
def allow_origins(
    *origins: Origin | Iterable[Origin], same_origin: bool = True, without_origin: bool = True
) -> Callable[[Endpoint], Endpoint]:
    """Make a middleware for WebSockets that lets only pages of these origins connect; others get 403 before `accept`.

    Use `cross_origin_protection` for HTTP.

    :param origins: such as `"https://example.com"`, compared without case and without the default port; or
        compiled patterns, which must match the whole header.
    :param same_origin: True if pages of the requested host may connect as well.
    :param without_origin: True if clients without an Origin header may connect. Browsers always send one.
    :raises ValueError: an origin has more than a scheme, a host and a port.
    :raises TypeError: an origin is neither text nor a pattern. Registering an HTTP route with the
        middleware raises it too.

    Example::

        @app.router.websocket("/chat", middlewares=[allow_origins("https://example.com")])
        async def chat(): ...
    """
    allowed = Origins(origins)

    @only_for("WebSocket", "allow_origins()")
    def middleware(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def checked() -> Any:
            connection = websocket_var.get()
            given = _values(connection["headers"], b"origin")
            if not given:
                fits = without_origin
            elif len(given) > 1:
                fits = False
            else:
                host = connection.headers.get("host")
                fits = given[0] in allowed or (same_origin and is_host_of(host, given[0]))
            if not fits:
                raise HTTPException(403, content="Pages of this origin may not connect here.")
            return await endpoint()

        return checked

    return middleware


@makes_middleware
def cross_origin_protection(
    *origins: Origin | Iterable[Origin],
) -> Callable[[Endpoint], Endpoint]:
    """Make a middleware that refuses requests of pages of other origins (403), against CSRF, without tokens.

    Requests with GET, HEAD and OPTIONS pass; handlers must not change anything for these. Requests with
    other methods pass if

    - `Sec-Fetch-Site` is `same-origin`, or `none`, which means the user's own input;
    - `Sec-Fetch-Site` is missing, and the Origin is that of the requested host (old browsers) or
      missing too (clients that are no browser);
    - the Origin is in `origins`, or is named by `cors_config` or by an `allow_cors` around or inside of
      this middleware. A policy that allows any origin names none.

    All others are refused, including those of other hosts of the same site and of `Origin: null`.
    The scheme of an origin is not compared, as a server behind a proxy does not know its own: send
    Strict-Transport-Security.

    :param origins: the origins whose pages may send any request, as for `allow_origins`.
    :raises ValueError: an origin has more than a scheme, a host and a port.
    :raises TypeError: an origin is neither text nor a pattern.

    Example::

        app = Kui(http_middlewares=[cross_origin_protection("https://admin.example.com")])
    """
    trusted = Origins(origins)

    @only_for("HTTP", "cross_origin_protection()")
    def middleware(endpoint: Endpoint) -> Endpoint:
        policies = policies_in(endpoint)

        @wraps(endpoint)
        async def protected() -> Any:
            request = request_var.get()
            if request.method not in SAFE and not _is_own(request):
                origin = _only_origin(request)
                if origin is None or not (
                    origin in trusted
                    or origin == request.get(CORS_ORIGIN)
                    or any(policy.names(origin) for policy in policies)
                ):
                    raise HTTPException(403, content="Pages of this origin may not send this.")
            return await endpoint()

        return protected

    return middleware


def _is_own(request: HttpRequest) -> bool:
    """True if a request is not sent by a page of another origin, as far as its headers tell."""
    sites = _values(request["headers"], b"sec-fetch-site")
    if sites:
        return sites in (["same-origin"], ["none"])
    origins = _values(request["headers"], b"origin")
    return not origins or (
        len(origins) == 1 and is_host_of(request.headers.get("host"), origins[0])
    )


def _only_origin(request: HttpRequest) -> str | None:
    """Return the origin of a request; None if it has none, several, or the opaque `null`."""
    origins = _values(request["headers"], b"origin")
    return origins[0] if len(origins) == 1 and origins[0] != "null" else None


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == wanted]
