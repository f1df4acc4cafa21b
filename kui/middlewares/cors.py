"""Cross-origin requests by the Fetch standard (CORS protocol): who may ask, and what they are told.

What to say is decided by `answer`, which waits for nothing; the middleware asks the request to add
it to whatever goes out: no response is changed, no error is without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache, wraps
from typing import Any, NamedTuple

from kui.current import request_var
from kui.http.headers import RawHeaders, is_token
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
_KEPT = 256  # origins of which it is known whether they may ask


class CORSAnswer(NamedTuple):
    """What CORS says to one request."""

    headers: tuple[tuple[bytes, bytes], ...]
    """To be added to the answer, whatever it is."""
    preflight: bool
    """Whether to answer at once, with 204 and these headers, and not to ask the endpoint."""


@only_for("HTTP")
class allow_cors:
    """A middleware that lets pages of other origins ask (Fetch standard, CORS protocol).

    It answers preflights, and adds its headers to every answer, errors included. A preflight is an
    OPTIONS with Origin and Access-Control-Request-Method; every other OPTIONS is the endpoint's.
    Where it stands both in an application's `cors_config` and on a route, the outer one answers
    preflights; what the inner one says to other requests replaces what the outer one said.

    Parameters: `allow_origins`, patterns of which one has to match all of an origin, such as
    `re.compile(r"https://(www\\.)?example\\.com")`, or `re.compile("null")` for sandboxed pages;
    `allow_methods`; `allow_headers`, those that a page may send beside the few that are always
    allowed; `expose_headers`, those that it may read beside the few; in these three, "*" stands
    for all; `allow_credentials`, whether cookies may be sent; `max_age`, for how many seconds a
    browser may remember a preflight.

    Raises ValueError for `allow_credentials` where any origin is allowed, for what is no method or
    header and for a negative `max_age`, TypeError for an origin that is no compiled pattern.

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
        allow_origins: Iterable[re.Pattern[str]] = _ANY_ORIGIN,
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
        # Browsers take * as a name where there are credentials, and never as Authorization: so what
        # is asked for is echoed.
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
        """What to say to a request with this method and these raw headers (ASGI: in lower case).

        `Vary: Origin` is always said: a cache must not give one origin's answer to another. An
        origin that is not allowed is told no more than that, and its browser does the rest.
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
        """Add what the policy says to whatever answers the request; True if it is a preflight.

        A preflight is answered with 204 and nothing else.
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
        """The endpoint with these rules before it."""

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


def _patterns(origins: Iterable[re.Pattern[str]]) -> tuple[re.Pattern[str], ...]:
    patterns = (origins,) if isinstance(origins, (str, re.Pattern)) else tuple(origins)
    for pattern in patterns:
        if not isinstance(pattern, re.Pattern) or not isinstance(pattern.pattern, str):
            raise TypeError(
                f"allow_origins takes patterns, such as re.compile(re.escape({pattern!r}))"
            )
    return patterns


def _can_be_echoed(value: bytes) -> bool:
    """Whether what a client sent may stand in a response: not every server checks what comes in."""
    return value.isascii() and value.decode("ascii").isprintable()


def _is_boundless(pattern: re.Pattern[str]) -> bool:
    """Whether a pattern allows whatever comes: a page without an origin and one of any other."""
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
