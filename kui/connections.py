"""The common base of HTTP requests and WebSockets, and the context variables that hold the current ones.

Each header is parsed at its first use, and kept. `http/media`, `http/urls` and `http/cookies` parse headers; `requests`
has what only requests have; `current` has the proxies to the current connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, Generic, Protocol, TypeVar, overload
from urllib.parse import urlencode

from baize.datastructures import URL, Address, ContentType, Headers, QueryParams
from baize.typing import Message, Receive, Scope, Send

from .concurrency import ExitSignal
from .concurrency.services import Services
from .http.cookies import parse_cookies
from .http.dates import parse_date
from .http.media import (
    MediaType,
    RequestHeaders,
    accepts,
    best_match,
    parse_accept,
    parse_content_length,
    parse_content_type,
)
from .http.urls import base_url, build_url, parse_query, parse_referrer
from .lifetime import ConnectionLifetime
from .limits import Limits

__all__ = [
    "App",
    "HTTPConnection",
    "State",
    "cached",
    "pass_on_route",
    "request_var",
    "websocket_var",
]

T = TypeVar("T")

request_var: Final[ContextVar[Any]] = ContextVar("kui.request")
websocket_var: Final[ContextVar[Any]] = ContextVar("kui.websocket")
# The classes of their values are defined above this module; `current` has them with types.


def pass_on_route(inner: Scope, outer: Scope) -> None:
    """Copy the route that an app has found from the scope that the app got to that of a middleware around it."""
    if "route" in inner:
        outer["route"] = inner["route"]


class cached(Generic[T]):
    """A property that is computed once for each instance, and can then be set and deleted like an attribute."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> cached[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> cached[T] | T:
        if instance is None:
            return self
        value = self.compute(instance)
        setattr(instance, self.name, value)  # `__dict__` would take twice as long
        return value

    def __repr__(self) -> str:
        return f"<{self.name}, read when it is first asked for>"


class State:
    """A namespace for a user's own objects: `state.user = ...`, `state.user`, `del state.user`.

    `State(mapping)` stores its attributes in that mapping.

    :raises AttributeError: an attribute was read that was not set.
    """

    _values: MutableMapping[str, Any]

    def __init__(self, values: MutableMapping[str, Any] | None = None) -> None:
        object.__setattr__(self, "_values", {} if values is None else values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"the state has no {name!r}; set it before it is read") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self._values[name]
        except KeyError:
            raise AttributeError(f"the state has no {name!r}; there is nothing to delete") from None

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __repr__(self) -> str:
        return f"<State {dict(self._values)!r}>"


class App(Protocol):
    """The part of an application that handlers use through `request.app`. `Kui` implements it."""

    state: State
    limits: Limits
    shared: dict[Any, Any]

    @property
    def router(self) -> Named:
        """The routes, by name."""

    @property
    def task_group(self) -> Services:
        """The task group for work that outlives a request. Its tasks end with the app."""

    @property
    def exit_signal(self) -> ExitSignal:
        """The signal by which waiting code learns that the app must stop."""

    @property
    def should_exit(self) -> bool:
        """True if the app must stop."""

    async def wait_for_exit(self) -> None:
        """Wait until the app must stop."""


class MatchedRoute(Protocol):
    """A route that answers a request or a WebSocket. `HttpRoute` and `SocketRoute` implement it."""

    @property
    def path(self) -> str:
        """The path with its placeholders, behind the prefixes of all groups."""

    @property
    def full_name(self) -> str | None:
        """The name, behind the namespaces of all groups; None if it has no name."""


class Named(Protocol):
    """Routes that have names. `RouteTable` implements it."""

    def url_for(self, name: str, /, params: Mapping[str, Any] | None = None, **values: Any) -> str:
        """Return the path of the route of this name."""


async def no_receive() -> Message:
    raise RuntimeError("this connection was made without a receive function")


async def no_send(message: Message) -> None:
    raise RuntimeError("this connection was made without a send function")


class HTTPConnection(ConnectionLifetime, Mapping[str, Any]):
    """The common base of requests and WebSockets. As a mapping it is the ASGI scope.

    Its parameters are those of an ASGI application. It never receives or sends.

    Example::

        connection = HTTPConnection(scope)
        connection["path"], connection.headers["host"], connection.url.query
    """

    fields: dict[bytes, bytes]
    """The header fields as the server gives them, by name in lower case; for a repeated name, the last one."""

    _query_params: QueryParams | None = None  # not None once they were read or set
    _headers: Headers | None = None

    def __init__(self, scope: Scope, receive: Receive = no_receive, send: Send = no_send) -> None:
        self.scope = scope
        self._lines = scope.get("headers", ())
        self.fields = dict(self._lines)

    def __getitem__(self, key: str) -> Any:
        return self.scope[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scope)

    def __len__(self) -> int:
        return len(self.scope)

    # Connections are compared by identity, and not as mappings.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def app(self) -> App:
        """The application that answers this connection, a `Kui`.

        :raises RuntimeError: no Kui app answers it.
        """
        app: App | None = self.scope.get("app")
        if app is None:
            raise RuntimeError("no Kui app answers this connection: `app` and `url_for` need one")
        return app

    @cached
    def client(self) -> Address:
        """The client's host and port as the server gives them. Either may be None."""
        return Address(*(self.scope.get("client") or (None, None)))

    @cached
    def url(self) -> URL:
        """The full URL that was requested, percent-encoded as it was sent (RFC 3986)."""
        return build_url(self.scope)

    @property
    def path_params(self) -> dict[str, Any]:
        """The parameters of the path, converted: `{"id": 7}` for `/item/{id:int}`."""
        params: dict[str, Any] | None = self.scope.get("path_params")
        if params is None:
            params = self.scope["path_params"] = {}
        return params

    @path_params.setter
    def path_params(self, params: dict[str, Any]) -> None:
        self.scope["path_params"] = params

    @property
    def route(self) -> MatchedRoute | None:
        """The route that answers, such as that of `/item/{id:int}`; None if there is none (404, 405).

        It identifies a handler in metrics and traces, where a path with its values would not. Within a mounted app it
        is a route of that app.
        """
        return self.scope.get("route")

    @property
    def query_params(self) -> QueryParams:
        """The query as a mapping with several values for a key: `["q"]` is the last, `getlist("q")` all of them.

        It may be set; the scope and declared parameters then have the new query as well.

        :raises HTTPException: 400, if there are more than 10,000 fields.
        """
        params = self._query_params
        if params is None:
            params = self._query_params = parse_query(self.scope.get("query_string", b""))
        return params

    @query_params.setter
    def query_params(self, params: QueryParams) -> None:
        self._query_params = params
        self.scope["query_string"] = urlencode(params.multi_items()).encode()

    @property
    def headers(self) -> Headers:
        """The headers. Keys are in lower case, and found regardless of case; `getlist(name)` gives each line.

        They may be set; the scope and declared parameters then have the new headers as well.
        """
        headers = self._headers
        if headers is None:
            headers = self._headers = RequestHeaders(self.scope["headers"])
        return headers

    @headers.setter
    def headers(self, headers: Headers) -> None:
        self._headers = headers
        self.scope["headers"] = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers.items()
        ]

    def plain_fields(self) -> Mapping[bytes, bytes] | None:
        """Return `fields` if they are the same as `headers`, but ready; otherwise None.

        They differ if a name was sent twice, or if the headers were set.
        """
        lines = self.scope["headers"]
        if lines is self._lines and len(lines) == len(self.fields):
            return self.fields
        return None

    @cached
    def accepted_types(self) -> Sequence[MediaType]:
        """The media ranges that the client accepts, in the order of its Accept header (RFC 9110, 12.5.1).

        Each has a weight, `q`. Use `best_match` to choose among several types.
        """
        return [media_type for media_type in self._accept if media_type.q]

    def accepts(self, media_type: str) -> bool:
        """Return True if the client accepts `media_type`, such as `"text/html"`. `q=0` means that it does not."""
        return accepts(self._accept, media_type)

    def best_match(self, *media_types: str) -> str | None:
        """Return the media type that the client prefers, the first of equals; None if it accepts none of them.

        Example: `request.best_match("text/html", "application/json")`.
        """
        return best_match(self._accept, media_types)

    @cached
    def _accept(self) -> list[MediaType]:
        return parse_accept(self.headers.get("accept"))

    @cached
    def content_type(self) -> ContentType:
        """The Content-Type header. It compares equal to its bare type as text; `.options` has its parameters."""
        return parse_content_type(self.headers.get("content-type"))

    @cached
    def content_length(self) -> int | None:
        """The Content-Length header in bytes; None if there is none (as with a chunked body)."""
        return parse_content_length(self.headers.get("content-length"))

    @cached
    def cookies(self) -> dict[str, str]:
        """The cookies that the client sent. Changing this dictionary changes no response."""
        return parse_cookies(self.headers.get("cookie", ""))

    @cached
    def date(self) -> datetime | None:
        """The time of the Date header, with a time zone; None if the header is missing or malformed."""
        return parse_date(self.headers.get("date"))

    @cached
    def referrer(self) -> URL | None:
        """The Referer header; None if it is missing or no URL."""
        return parse_referrer(self.headers.get("referer"))

    @cached
    def state(self) -> State:
        """A namespace for objects that the application keeps for this connection."""
        return State(self.scope.setdefault("state", {}))

    def url_for(self, name: str, params: Mapping[str, Any] | None = None, /, **more: Any) -> str:
        """Return the absolute URL, without a query, of the route with this name.

        :raises LookupError: no route has the name.
        :raises ValueError: a parameter is missing, unknown, or does not fit.

        Example: `request.url_for("item", {"id": 7})` -> `"https://example.com/item/7"`.
        """
        return base_url(self.scope) + self.app.router.url_for(name, params, **more)
