"""Responses with content in memory (text, HTML and JSON), and redirects.

An application may derive its own from `SmallResponse`. `encode.py` encodes objects that JSON does not know;
`kui/http/headers.py` encodes a Location.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Iterable, Mapping
from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import Any, ClassVar, Generic, TypeVar

from baize.datastructures import URL

from kui.habits import JSON_PARAMETERS, refuse
from kui.http.headers import ResponseHeaders, charset_of, content_type, encode_location
from kui.http.text import encode_text

from .base import STATUSES, HttpResponse, bad_status
from .encode import to_json, to_json_with

__all__ = [
    "HTMLResponse",
    "JSONResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "SmallResponse",
]

Content = TypeVar("Content")


class SmallResponse(HttpResponse, abc.ABC, Generic[Content]):
    """A response whose content is rendered to bytes; the base for an application's own classes.

    A `render` that is a `def` is called by the constructor, so that the traceback of its errors shows the handler; set
    the attributes that it needs before `super().__init__`. A `render` that is an `async def` is awaited each time the
    response is sent.

    :param content: what `render` takes.
    :param status_code: as for HttpResponse; so is `headers`. A Content-Type among the headers is preferred to
        `media_type` and `charset`.
    :param media_type: replaces that of the class.
    :param charset: replaces that of the class.
    :raises ValueError: the media type or the charset is malformed.
    :raises Exception: what `render` raises.

    Example::

        class CSVResponse(SmallResponse[list[list[str]]]):
            media_type = "text/csv"

            def render(self, content: list[list[str]]) -> bytes:
                return "\\r\\n".join(map(",".join, content)).encode(self.charset)
    """

    __slots__ = ("__dict__", "content")

    media_type: str = ""
    charset: str = "utf-8"
    _late: ClassVar[bool] = False

    def __init__(
        self,
        content: Content,
        status_code: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        media_type: str | None = None,
        charset: str | None = None,
    ) -> None:
        if media_type is not None or charset is not None:
            headers = self._described(headers, media_type, charset)
        # As HttpResponse.__init__ does, without the call, because each plain response is made here.
        self.status_code = status_code if status_code in STATUSES else bad_status(status_code)
        self._headers = None if headers is None else self._own(headers)
        self._cookies = None
        self.content = content
        if self._late:
            self.body = None
        else:
            body = self.render(content)
            self.body = body if type(body) is bytes else _checked(body, self)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._late = iscoroutinefunction(cls.render)
        cls.buffered = cls.buffered and not cls._late
        described = content_type(cls.media_type, cls.charset) if cls.media_type else ""
        cls._default_text = {"content-type": described} if described else {}
        cls._default_headers = tuple(ResponseHeaders(cls._default_text).encode())

    @abc.abstractmethod
    def render(self, content: Content) -> bytes | Awaitable[bytes]:
        """Return the bytes of the body. A subclass writes it as `def` or as `async def`."""

    def _described(
        self,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
        media_type: str | None,
        charset: str | None,
    ) -> ResponseHeaders:
        """Return the headers, with a Content-Type of `media_type` and `charset` unless they have one."""
        described = ResponseHeaders(headers)
        if media_type:
            self.media_type = media_type
            charset = charset or charset_of(media_type)
        if charset:
            self.charset = charset
        if self.media_type:
            described.setdefault("content-type", content_type(self.media_type, self.charset))
        return described

    async def _produce(self) -> bytes:
        body = self.render(self.content)
        if isawaitable(body):
            body = await body
        return body if type(body) is bytes else _checked(body, self)


def _checked(body: object, response: SmallResponse[Any]) -> bytes:
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    name = type(response).__qualname__
    if isawaitable(body):
        if iscoroutine(body):
            body.close()
        raise TypeError(f"{name}.render returns an awaitable; write it as async def")
    raise TypeError(f"{name}.render has to return bytes, not {type(body).__qualname__}")


class PlainTextResponse(SmallResponse[str | bytes]):
    """Plain text, from `str` or `bytes`. Parameters are those of SmallResponse.

    Text is encoded in `charset`, or in the charset that `media_type` names. A lone surrogate becomes U+FFFD.

    :raises TypeError: the content is neither `str` nor `bytes`.
    :raises LookupError: the charset is unknown.
    :raises UnicodeEncodeError: the charset lacks a character of the text.

    Example: `PlainTextResponse("no such item", 404)`.
    """

    __slots__ = ()

    media_type = "text/plain"

    def render(self, content: str | bytes) -> bytes:
        """Return the content, encoded."""
        if isinstance(content, str):
            return encode_text(content, self.charset)
        if isinstance(content, (bytes, bytearray, memoryview)):
            return bytes(content)
        raise TypeError(
            f"{type(self).__qualname__} takes str or bytes, not {type(content).__qualname__}"
        )


class HTMLResponse(PlainTextResponse):
    """HTML, from `str` or `bytes`. Parameters and errors are those of PlainTextResponse.

    Example: `HTMLResponse("<h1>Hello, world!</h1>")`.
    """

    __slots__ = ()

    media_type = "text/html"


class JSONResponse(SmallResponse[Any]):
    """A Python object as JSON (RFC 8259): compact, in UTF-8. A lone surrogate becomes U+FFFD.

    Besides the types of JSON it encodes dataclasses, pydantic models, datetime, date, time and timedelta (by ISO 8601),
    UUID, Decimal and paths (as text), Enum (its value), set and frozenset. Other objects are given to `default`, and
    if that raises TypeError, to the application's `json_encoder`. The keys of a dict may be of these types, too, if
    they become text or a number.

    :param content: the object.
    :param status_code: as for HttpResponse; so is `headers`.
    :param options: those of `json.dumps`.
    :raises TypeError: the content, or a part of it, cannot be encoded.
    :raises ValueError: the content holds NaN or an infinity (unless `allow_nan=True`), or contains itself.

    Example: `JSONResponse({"address": ip_address("::1")}, default=str)`.
    """

    __slots__ = ("_options",)

    media_type = "application/json"

    def __init__(
        self,
        content: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        **options: Any,
    ) -> None:
        if options:
            refuse(options, JSON_PARAMETERS)
        self._options = options
        SmallResponse.__init__(self, content, status_code, headers)

    def render(self, content: Any) -> bytes:
        """Return the content as JSON."""
        if self._options:
            return to_json_with(content, self._options)
        return to_json(content)


class RedirectResponse(HttpResponse):
    """A redirect. With the default status 307 the client repeats its request, with method and body, at `url`.

    :param url: text or a URL. It is percent-encoded where necessary, but not twice; a backslash too, which browsers
        read as a slash.
    :param status_code: as for HttpResponse; so is `headers`.
    :raises TypeError: `url` is neither a str nor a URL.

    Example: `RedirectResponse(request.url_for("item", {"id": 7}), 303)`.
    """

    __slots__ = ()

    def __init__(
        self,
        url: str | URL,
        status_code: int = 307,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        if not isinstance(url, (str, URL)):
            raise TypeError(f"a redirect goes to a str or a URL, not to {url!r}")
        super().__init__(status_code, headers)
        self.headers["location"] = encode_location(str(url))
