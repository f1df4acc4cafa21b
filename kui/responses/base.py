"""The base of all responses: a status, headers, cookies and a body whose every byte is known.

A response is an ASGI application: its constructor prepares, its call sends. Bodies that take time are in `stream.py`, `events.py` and `file.py`; content is in `content.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, ClassVar, NoReturn, Self

from baize.typing import Message, Receive, Scope, Send

from kui.concurrency import owner_of
from kui.http.cookies import SameSite, SetCookie, expiry
from kui.http.headers import RawHeaders, ResponseHeaders

__all__ = ["WITHOUT_CONTENT", "HttpResponse", "content_length"]

STATUSES = frozenset(range(200, 600))
# RFC 9110, 6.4.1 and 15.3.6: these have no content, and all but 205 end with their headers.
WITHOUT_CONTENT = frozenset((204, 205, 304))
_RESET_CONTENT = 205


def bad_status(status_code: object) -> NoReturn:
    raise ValueError(f"a status code is an int from 200 to 599, not {status_code!r}")


class _ContentLength(dict[int, tuple[bytes, bytes]]):
    """The Content-Length of a body of so many bytes; the smaller ones are kept."""

    def __missing__(self, size: int) -> tuple[bytes, bytes]:
        header = b"content-length", b"%d" % size
        if size < 4096:
            self[size] = header
        return header


content_length = _ContentLength()


class HttpResponse:
    """A response without content, and the base of all others.

    Parameters: `status_code`, from 200 to 599; `headers`, a mapping (or pairs) of text. Raises
    ValueError for another status, for a header's name that is no token and for a value with
    controls (RFC 9110), TypeError for headers that are no text.

    It may be sent any number of times, to several requests at once: sending never changes it.
    204 and 304 are sent without a body and without Content-Length; all others have the
    Content-Length of their body. HEAD gets the headers that GET would, and no body.

    Example::

        response = HttpResponse(201, {"Location": "/items/7"})
        response.set_cookie("seen", "7", max_age=3600)
        return response
    """

    __slots__ = ("_cookies", "_headers", "body", "status_code")

    buffered: ClassVar[bool] = True
    """True if sending takes two messages and runs no user code; `body` is bytes then."""

    # The headers that every response of this class has, as text and as bytes.
    _default_text: Mapping[str, str] = {}
    _default_headers: tuple[tuple[bytes, bytes], ...] = ()

    body: bytes | None
    """The whole body; None if it is made while it is sent."""

    def __init__(
        self,
        status_code: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        self.status_code = status_code if status_code in STATUSES else bad_status(status_code)
        self._headers: ResponseHeaders | None = None if headers is None else self._own(headers)
        self._cookies: list[SetCookie] | None = None
        self.body = b""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.buffered = cls.__call__ is HttpResponse.__call__

    @property
    def headers(self) -> ResponseHeaders:
        """The headers, to be read and changed; without Content-Length, which the body gives."""
        headers = self._headers
        if headers is None:
            # Made on first use: most responses have no headers of their own.
            headers = self._headers = ResponseHeaders(None, self._default_text)
        return headers

    @property
    def cookies(self) -> list[SetCookie]:
        """The cookies that the response sets, to be read and changed."""
        if self._cookies is None:
            self._cookies = []
        return self._cookies

    def set_cookie(
        self,
        key: str,
        value: str = "",
        max_age: int | None = None,
        expires: int | None = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite = "lax",
        partitioned: bool = False,
    ) -> None:
        """Set a cookie in the client (RFC 6265).

        Parameters: `key`, a token; `value`, any text, which `request.cookies` will give back;
        `max_age`, its life in seconds, of which none or fewer discard it at once; `expires`, the
        same as a date, in seconds from now; `path`, "" for that of the request; `domain`;
        `secure`; `httponly`, out of reach for scripts; `samesite`, "lax", "strict" or "none";
        `partitioned`, a jar of its own for each site that embeds this one (CHIPS), with `secure`.

        Raises ValueError for what browsers refuse or would read otherwise: see `SetCookie`.

        Example: `response.set_cookie("__Host-id", token, 3600, secure=True, httponly=True)`.
        """
        until = None if expires is None else expiry(expires)
        cookie = SetCookie(
            key, value, max_age, until, path, domain, secure, httponly, samesite, partitioned
        )
        if self._cookies is None:
            self._cookies = [cookie]
        else:
            self._cookies.append(cookie)

    def delete_cookie(
        self,
        key: str,
        path: str = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite = "lax",
        partitioned: bool = False,
    ) -> None:
        """Tell the client to discard a cookie that was set with the same path, domain and `partitioned`.

        Raises ValueError as `set_cookie` does: a `__Host-` cookie is deleted with `secure=True`.

        Example: `response.delete_cookie("session")`.
        """
        self.set_cookie(key, "", 0, None, path, domain, secure, httponly, samesite, partitioned)

    def raw_headers(self) -> RawHeaders:
        """Return a new list of the headers and cookies as ASGI requires them; the caller may add to it."""
        headers = self._headers
        raw = [*self._default_headers] if headers is None else headers.encode()
        if self._cookies:
            for cookie in self._cookies:
                raw.append((b"set-cookie", str(cookie).encode("ascii")))
        return raw

    def messages(self, method: str, body: bytes) -> tuple[Message, Message]:
        """Return the two messages that answer a request with this method; `body` is that for GET."""
        status = self.status_code
        if (
            self._headers is None
            and self._cookies is None
            and method != "HEAD"
            and status not in WITHOUT_CONTENT
        ):
            raw = [*self._default_headers, content_length[len(body)]]
        else:
            raw, body = self._frame(method, body)
        return (
            {"type": "http.response.start", "status": status, "headers": raw},
            {"type": "http.response.body", "body": body},
        )

    def _frame(self, method: str, body: bytes) -> tuple[RawHeaders, bytes]:
        """Return the headers, with the right Content-Length if any, and the bytes to send after them."""
        raw = self.raw_headers()
        bare = self.status_code in WITHOUT_CONTENT
        if bare:
            body = b""
        if self._headers is not None and "content-length" in self._headers:
            # A handler of its own for HEAD may say how long the body of GET is; all others obey.
            if method == "HEAD" and not body and not bare:
                return raw, body
            raw = [header for header in raw if header[0] != b"content-length"]
        if not bare or self.status_code == _RESET_CONTENT:
            raw.append(content_length[len(body)])
        return raw, b"" if method == "HEAD" else body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; an ASGI application. Nothing is received."""
        body = self.body
        if body is None:
            body = await self._produce()
        start, last = self.messages(scope.get("method", "GET"), body)
        exchange = owner_of(receive, send)
        if exchange is None:
            await send(start)
            await send(last)
        else:
            await exchange.send_whole(start, last)

    async def _produce(self) -> bytes:
        raise NotImplementedError(f"{type(self).__name__} has no body; it overrides __call__")

    def amended(
        self,
        status_code: int | None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
    ) -> Self:
        """Return a copy with another status, and with headers that replace its own; Set-Cookie lines are added."""
        clone = copy(self)
        if self._headers is not None:
            clone._headers = self._headers.copy()  # noqa: SLF001  # of this module
        if self._cookies is not None:
            clone._cookies = self._cookies.copy()  # noqa: SLF001  # of this module
        if status_code is not None:
            clone.status_code = status_code if status_code in STATUSES else bad_status(status_code)
        if headers is not None:
            added = ResponseHeaders(headers)
            for name in added:
                if name == "set-cookie":
                    for line in added.getlist(name):
                        clone.headers.append(name, line)
                else:
                    clone.headers[name] = added[name]
        return clone

    def _own(
        self, headers: Mapping[str, str] | Iterable[tuple[str, str]] | None
    ) -> ResponseHeaders:
        return ResponseHeaders(headers, self._default_text)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status_code}>"
