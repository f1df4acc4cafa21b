"""Responses with content that fits into memory: text, HTML, JSON, and redirects.

Applications derive their own kinds from `SmallResponse`. Objects that JSON does not know are encoded
in `encode.py`; a Location is encoded in `kui/http/headers.py`.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Iterable, Mapping
from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import Any, ClassVar, Generic, TypeVar

from baize.datastructures import URL

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
    """A response whose content is rendered to bytes; the base for an application's own kinds.

    Parameters: `content`, which `render` understands; `status_code` and `headers`, as for
    HttpResponse; `media_type` and `charset`, in place of the class's own. A Content-Type among the
    headers comes before both. Raises ValueError for no media type or charset, and what `render`
    raises.

    A `render` written as `def` is called by the constructor, so that its errors show the handler
    (what it needs must be set before `super().__init__`); one written as `async def` is awaited
    each time the response is sent.

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
        # What HttpResponse.__init__ does, without the call: every plain answer comes this way.
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
        """Return the bytes of the body; written as `def` or as `async def`."""

    def _described(
        self,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
        media_type: str | None,
        charset: str | None,
    ) -> ResponseHeaders:
        """Return the headers, with the Content-Type of these two unless they have one."""
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
    """Plain text, from `str` or `bytes`.

    Parameters: those of SmallResponse; text is encoded in `charset`, or in the one that
    `media_type` names. Raises TypeError for other content, LookupError for an unknown charset,
    UnicodeEncodeError for text that a charset lacks; a lone surrogate becomes U+FFFD.

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
    """HTML, from `str` or `bytes`; like PlainTextResponse in all else.

    Example: `HTMLResponse("<h1>Hello, world!</h1>")`.
    """

    __slots__ = ()

    media_type = "text/html"


class JSONResponse(SmallResponse[Any]):
    """A Python object as JSON (RFC 8259): compact, in UTF-8, NaN refused, a lone surrogate U+FFFD.

    Parameters: `content`; `status_code` and `headers`, as for HttpResponse; `options`, all those
    of `json.dumps`. What `json` cannot encode is given to `default` first, then, where that raises
    TypeError, to the `json_encoder` of the application. These need neither: dataclasses, pydantic
    models, datetime, date, time and timedelta (as ISO 8601 has them), UUID, Decimal and paths (as
    text), Enum (its value), set and frozenset.

    Raises, from the constructor, TypeError for what is not JSON and ValueError for NaN (unless
    `allow_nan=True`) and for what contains itself.

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
        self._options = options
        SmallResponse.__init__(self, content, status_code, headers)

    def render(self, content: Any) -> bytes:
        """Return the content as JSON."""
        if self._options:
            return to_json_with(content, self._options)
        return to_json(content)


class RedirectResponse(HttpResponse):
    """A redirect; 307 lets the client repeat its request, method and body, at `url`.

    Parameters: `url`, text or a URL, percent-encoded where necessary (a backslash too, which
    browsers read as a slash) and not encoded twice; `status_code` and `headers`, as for
    HttpResponse. Raises TypeError for another kind of `url`.

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
