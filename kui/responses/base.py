"""The base of all responses: a status, headers, cookies, and a body that is known as a whole.

A response is an ASGI application: its constructor prepares, its call sends. Bodies that are made while they are sent
are in `stream.py`, `events.py` and `file.py`; text, HTML and JSON are in `content.py`.
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
# RFC 9110, sections 6.4.1 and 15.3.6: these have no content; 204 and 304 have no Content-Length either.
WITHOUT_CONTENT = frozenset((204, 205, 304))
_RESET_CONTENT = 205


def bad_status(status_code: object) -> NoReturn:
    raise ValueError(f"a status code is an int from 200 to 599, not {status_code!r}")


class _ContentLength(dict[int, tuple[bytes, bytes]]):
    """Content-Length headers by the size of the body. Those of small sizes are kept."""

    def __missing__(self, size: int) -> tuple[bytes, bytes]:
        header = b"content-length", b"%d" % size
        if size < 4096:
            self[size] = header
        return header


content_length = _ContentLength()


class HttpResponse:
    """A response without content, and the base of all others.

    It may be sent any number of times, also to several requests at once: sending does not change it. 204 and 304 are
    sent without a body and without Content-Length; all others have the Content-Length of their body. HEAD gets the
    headers that GET would get, and no body.

    :param status_code: from 200 to 599.
    :param headers: a mapping, or pairs, of str.
    :raises ValueError: the status is another one, the name of a header is no token, or its value has control
        characters (RFC 9110).
    :raises TypeError: a header is not a str.

    Example::

        response = HttpResponse(201, {"Location": "/items/7"})
        response.set_cookie("seen", "7", max_age=3600)
        return response
    """

    __slots__ = ("_cookies", "_headers", "body", "status_code")

    buffered: ClassVar[bool] = True
    """True if the response is sent in two messages without running user code. `body` is bytes then."""

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
        """The headers, which may be changed. Content-Length is not among them: it is taken from the body."""
        headers = self._headers
        if headers is None:
            # Created at first use, because most responses have no headers of their own.
            headers = self._headers = ResponseHeaders(None, self._default_text)
        return headers

    @property
    def cookies(self) -> list[SetCookie]:
        """The cookies that the response sets. The list may be changed."""
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

        :param key: the name, a token.
        :param value: any text; `request.cookies` will return it unchanged.
        :param max_age: its lifetime in seconds; 0 or less deletes the cookie at once.
        :param expires: the same, sent as a date: seconds from now.
        :param path: "" for that of the request.
        :param domain: None for the host of the request alone.
        :param secure: True to send the cookie over https only.
        :param httponly: True to hide the cookie from scripts.
        :param samesite: "lax", "strict" or "none".
        :param partitioned: True to keep one cookie for each site that embeds this one (CHIPS); needs `secure`.
        :raises ValueError: browsers would refuse the cookie, or read it differently; see `SetCookie`.

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
        """Delete a cookie in the client. Path, domain and `partitioned` must be those with which it was set.

        :raises ValueError: as for `set_cookie`. A `__Host-` cookie must be deleted with `secure=True`.

        Example: `response.delete_cookie("session")`.
        """
        self.set_cookie(key, "", 0, None, path, domain, secure, httponly, samesite, partitioned)

    def raw_headers(self) -> RawHeaders:
        """Return the headers and cookies in a new list, as ASGI requires them. The caller may add to it."""
        headers = self._headers
        raw = [*self._default_headers] if headers is None else headers.encode()
        if self._cookies:
            for cookie in self._cookies:
                raw.append((b"set-cookie", str(cookie).encode("ascii")))
        return raw

    def messages(self, method: str, body: bytes) -> tuple[Message, Message]:
        """Return the two messages that answer a request.

        :param method: the method of the request.
        :param body: the body for GET.
        """
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
        """Return the headers, with a Content-Length if there must be one, and the bytes to send after them."""
        raw = self.raw_headers()
        bare = self.status_code in WITHOUT_CONTENT
        if bare:
            body = b""
        if self._headers is not None and "content-length" in self._headers:
            # A handler for HEAD alone may set the Content-Length that GET would have; otherwise it is replaced.
            if method == "HEAD" and not body and not bare:
                return raw, body
            raw = [header for header in raw if header[0] != b"content-length"]
        if not bare or self.status_code == _RESET_CONTENT:
            raw.append(content_length[len(body)])
        return raw, b"" if method == "HEAD" else body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response. This makes it an ASGI application. It receives nothing."""
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
        """Return a copy with another status and other headers.

        :param status_code: None to keep it.
        :param headers: they replace the response's own of the same names; Set-Cookie headers are added.
        """
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
