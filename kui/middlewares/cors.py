"""Cross-origin requests by the Fetch standard (CORS protocol).

`allow_cors.answer` is a pure function of the request; the middleware has its headers added to every response of the
request, so that errors have them too and no response object is changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache, wraps
from typing import Any, NamedTuple

from kui.current import request_var
from kui.http.headers import RawHeaders, is_token
from kui.http.origins import Origin, normal_origin
from kui.requests import HttpRequest
from kui.responses.base import HttpResponse
from kui.views import Endpoint

from .placement import only_for

__all__ = ["CORS_ORIGIN", "CORSAnswer", "allow_cors", "policies_in"]

_ANY_ORIGIN = (re.compile(".*"),)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
_VARY = (b"vary", b"Origin")
CORS_ORIGIN = "kui.cors_origin"
"""The key of a scope that holds its Origin, if a CORS policy names it."""
_KEPT = 256  # origins whose answers are cached


class CORSAnswer(NamedTuple):
    """The headers for one request, and its kind."""

    headers: tuple[tuple[bytes, bytes], ...]
    """Headers that must be added to every response of the request."""
    preflight: bool
    """True if the request must be answered with 204 and these headers, and the endpoint not called."""


@only_for("HTTP")
class allow_cors:
    """A middleware that allows requests from pages of other origins (Fetch standard, CORS protocol).

    It answers preflights, and adds its headers to every response, including errors. A preflight is an
    OPTIONS request with Origin and Access-Control-Request-Method; other OPTIONS requests go to the
    endpoint. If there is a policy in the app's `cors_config` and one on a route, the outer policy
    answers preflights; for other requests the headers of the inner policy replace those of the outer.

    In the lists of methods and headers "*" means all.

    :param allow_origins: such as `"https://example.com"`, compared without case and without the default port; or
        compiled patterns, which must match the whole origin, such as `re.compile(r"https://(www\\.)?example\\.com")`,
        or `re.compile("null")` for sandboxed pages. Any origin by default.
    :param allow_methods: the methods that a page may use.
    :param allow_headers: the headers that a page may send, beside those that are always allowed.
    :param expose_headers: the headers that a page may read, beside those that are always allowed.
    :param allow_credentials: True if a page may send cookies.
    :param max_age: seconds for which a browser may cache a preflight.
    :raises ValueError: `allow_credentials` is True and any origin is allowed; a method or header is no
        token; `max_age` is negative; the text of an origin has more than a scheme, a host and a port.
    :raises TypeError: an origin is neither text nor a compiled pattern.

    Example::

        routes = Routes(..., http_middlewares=[allow_cors(allow_headers=["Authorization"])])
    """

    __slots__ = (
        "_allows",
        "_any_header",
        "_any_method",
        "_named",
        "_origins",
        "_preflight",
        "_simple",
        "_simple_answer",
        "_vary",
    )

    def __init__(
        self,
        allow_origins: Iterable[Origin] = _ANY_ORIGIN,
        allow_methods: Iterable[str] = _METHODS,
        allow_headers: Iterable[str] = ("Content-Type",),
        expose_headers: Iterable[str] = (),
        allow_credentials: bool = False,
        max_age: int = 600,
    ) -> None:
        self._origins = _patterns(allow_origins)
        self._named = tuple(each for each in self._origins if not _is_boundless(each))
        self._allows = lru_cache(_KEPT)(self._matches)
        self._simple_answer = lru_cache(_KEPT)(self._answer_simply)
        if allow_credentials and len(self._named) < len(self._origins):
            raise ValueError(
                "allow_credentials=True needs allow_origins: with the default, any site on the web"
                " could act in the name of your users"
            )
        methods = [method.upper() for method in _tokens("allow_methods", allow_methods)]
        headers = _tokens("allow_headers", allow_headers)
        exposed = _tokens("expose_headers", expose_headers)
        if allow_credentials and "*" in exposed:
            raise ValueError(
                "with allow_credentials=True browsers take * in expose_headers as a name"
            )
        if isinstance(max_age, bool) or not isinstance(max_age, int) or max_age < 0:
            raise ValueError(f"max_age is a number of seconds, not {max_age!r}")
        # With credentials, browsers do not treat * as a wildcard, and it never includes Authorization: the
        # requested names are echoed instead.
        self._any_method = "*" in methods
        self._any_header = "*" in headers
        credentials: RawHeaders = []
        if allow_credentials:
            credentials.append((b"access-control-allow-credentials", b"true"))
        self._simple: RawHeaders = [_VARY, *credentials]
        if exposed:
            self._simple.append((b"access-control-expose-headers", _joined(exposed)))
        self._preflight: RawHeaders = [*credentials]
        if not self._any_method:
            self._preflight.append((b"access-control-allow-methods", _joined(methods)))
        if headers and not self._any_header:
            self._preflight.append((b"access-control-allow-headers", _joined(headers)))
        self._preflight.append((b"access-control-max-age", b"%d" % max_age))
        fields = b"Origin"
        if self._any_method:
            fields += b", Access-Control-Request-Method"
        if self._any_header:
            fields += b", Access-Control-Request-Headers"
        self._vary = b"vary", fields  # of preflights

    def answer(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> CORSAnswer:
        """Return the answer for a request with this method and these raw headers (ASGI: in lower case).

        It always has `Vary: Origin`, as a cache must not serve the response for one origin to another.
        An origin that is not allowed gets no other header, and its browser blocks the page.
        """
        if method == "OPTIONS":
            return self._answer_options(dict(headers))
        origin = b""
        for name, value in headers:
            if name == b"origin":
                origin = value
        return self._simple_answer(origin)

    def _answer_simply(self, origin: bytes) -> CORSAnswer:
        if not self._allows(origin):
            return CORSAnswer((_VARY,), False)
        return CORSAnswer(((b"access-control-allow-origin", origin), *self._simple), False)

    def _answer_options(self, headers: Mapping[bytes, bytes]) -> CORSAnswer:
        origin = headers.get(b"origin", b"")
        asked_method = headers.get(b"access-control-request-method", b"")
        asked_headers = headers.get(b"access-control-request-headers", b"")
        if not (origin and asked_method):
            return self._simple_answer(origin)
        if not self._allows(origin):
            return CORSAnswer((self._vary,), True)
        answer = [(b"access-control-allow-origin", origin), self._vary, *self._preflight]
        if self._any_method and _can_be_echoed(asked_method):
            answer.append((b"access-control-allow-methods", asked_method))
        if self._any_header and asked_headers and _can_be_echoed(asked_headers):
            answer.append((b"access-control-allow-headers", asked_headers))
        return CORSAnswer(tuple(answer), True)

    def names(self, origin: str) -> bool:
        """True if this origin is allowed, and not only because any origin is."""
        return any(pattern.fullmatch(origin) for pattern in self._named)

    def admit(self, request: HttpRequest) -> bool:
        """Add the headers of the policy to every response of the request; return True if it is a preflight.

        The caller must answer a preflight with 204.
        """
        headers = request["headers"]
        answer = self.answer(request.method, headers)
        request.add_response_headers(answer.headers)
        origin = dict(headers).get(b"origin", b"").decode("latin-1")
        if origin and self.names(origin):
            request.scope[CORS_ORIGIN] = origin
        return answer.preflight

    def _matches(self, origin: bytes) -> bool:
        text = origin.decode("latin-1")
        return (
            bool(origin)
            and _can_be_echoed(origin)
            and any(pattern.fullmatch(text) for pattern in self._origins)
        )

    def __call__(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint with this policy before it."""

        @wraps(endpoint)
        async def answered() -> Any:
            if self.admit(request_var.get()):
                return HttpResponse(204)
            return await endpoint()

        answered.__kui_cors__ = self  # type: ignore[attr-defined]  # functions take attributes
        return answered


def policies_in(endpoint: Endpoint) -> list[allow_cors]:
    """Return the policies among the middlewares of an endpoint, as far as these use functools.wraps."""
    policies = []
    inside: Any = endpoint
    while inside is not None:
        policy = getattr(inside, "__kui_cors__", None)
        if policy is not None and policy not in policies:
            policies.append(policy)
        inside = getattr(inside, "__wrapped__", None)
    return policies


def _patterns(origins: Iterable[Origin]) -> tuple[re.Pattern[str], ...]:
    given = (origins,) if isinstance(origins, str | re.Pattern) else origins
    return tuple(map(_pattern, given))


def _pattern(origin: Origin) -> re.Pattern[str]:
    if origin == "*":
        raise ValueError('"*" is no origin: to allow any origin, leave allow_origins out')
    if isinstance(origin, str):
        return re.compile(re.escape(normal_origin(origin)))
    if isinstance(origin, re.Pattern) and isinstance(origin.pattern, str):
        return origin
    raise TypeError(f"an origin is a str or a compiled pattern of str, not {origin!r}")


def _can_be_echoed(value: bytes) -> bool:
    """True if a value from the client may be part of a response; not every server checks what it receives."""
    return value.isascii() and value.decode("ascii").isprintable()


def _is_boundless(pattern: re.Pattern[str]) -> bool:
    """True if a pattern matches any origin, `null` included."""
    return all(map(pattern.fullmatch, ("null", "https://any.invalid", "http://any.invalid:1")))


def _tokens(parameter: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise TypeError(f"{parameter} is a list of names, such as [{values!r}]")
    names = list(values)
    for name in names:
        if not is_token(name):
            raise ValueError(f"{name!r} in {parameter} is neither a name nor *")
    return names


def _joined(names: Iterable[str]) -> bytes:
    return ", ".join(names).encode("ascii")
