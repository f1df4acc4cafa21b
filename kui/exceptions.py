"""Make responses of exceptions, by the exception handlers of an application."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from baize.typing import Scope

from .argument_checks import expect, function_of
from .concurrency import ClientDisconnect, call, is_async, strays_fail
from .concurrency.loops import note_other_loop
from .http.exceptions import AnyHTTPException, HTTPException, abort
from .http.headers import ResponseHeaders
from .http.problems import description
from .http.urls import request_name
from .responses.base import HttpResponse
from .responses.content import PlainTextResponse
from .responses.convert import ResponseConverter
from .responses.errors import error_response

__all__ = [
    "BARE_500",
    "ClientDisconnect",
    "ExceptionTable",
    "HTTPException",
    "abort",
    "check_key",
    "note",
]

logger = logging.getLogger("kui.error")

ExceptionHandler: TypeAlias = Callable[[Any], Any]
Answering: TypeAlias = tuple[ExceptionHandler, Callable[[Any], Awaitable[Any]]]
"""A handler, and an async function that calls it."""


_OF_CONTENT: Final = frozenset(
    (
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-type",
        "etag",
        "last-modified",
    )
)


BARE_500: Final = PlainTextResponse(description(500), 500)
"""The response to an exception without a handler if `error_response` itself has failed."""


def unwrap_group(exc: Exception) -> Exception:
    """Return the only exception in a group, also in nested groups; `exc` itself if it is no group or holds several."""
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    found: BaseException = exc
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    if isinstance(found, Exception) and not isinstance(found, ExceptionGroup):
        return found
    return exc


def note(exc: Exception, scope: Scope) -> None:
    """Add the request's method and path as a note (PEP 678) to an exception that the server will log."""
    note_other_loop(unwrap_group(exc))
    text = f"raised for {request_name(scope)}"
    if text not in getattr(exc, "__notes__", ()):  # a mounted app has added it already
        exc.add_note(text)


def check_key(key: object) -> None:
    """Check that `key` can have a handler.

    :raises TypeError: it is neither a status nor a subclass of Exception, or it is ClientDisconnect.
    :raises ValueError: it is a status outside of 200 to 599.
    """
    if isinstance(key, int) and not isinstance(key, bool):
        if not 200 <= key <= 599:
            raise ValueError(f"an exception handler is for a status from 200 to 599, not {key}")
    elif not (isinstance(key, type) and issubclass(key, Exception)):
        raise TypeError(
            f"register a handler for a status code or a subclass of Exception, not {key!r}"
        )
    elif issubclass(key, ClientDisconnect):
        raise TypeError("ClientDisconnect has no handler: its client has left, and gets no answer")


class ExceptionTable:
    """Finds the handler of an exception, by status code or by class.

    The exact status of an HTTPException is looked up first, then the exact class, then its bases. A handler for
    `Exception` (or 500, which means the same) comes last: its response replaces the plain 500, and the exception is
    still raised to the server. It never gets an HTTPException or a ClientDisconnect.

    `error_response(exc)`, a `def` that returns anything convertible, makes the response to an HTTPException without a
    handler whose content is a sentence or None, and the plain 500.
    """

    def __init__(
        self,
        converter: ResponseConverter,
        handlers: Mapping[int | type[BaseException], ExceptionHandler] | None = None,
        error_response: Callable[[HTTPException[Any]], Any] = error_response,
    ) -> None:
        self._convert = converter.convert
        self._error_response = function_of("the exception", "error_response", error_response)
        self._by_status: dict[int, Answering] = {}
        self._by_class: dict[type[BaseException], Answering] = {}
        self._last: Answering | None = None
        advice = "a mapping from status codes and classes to functions"
        for key, handler in (expect("exception_handlers", handlers, Mapping, advice) or {}).items():
            self.register(key, handler)

    def register(self, key: int | type[BaseException], handler: ExceptionHandler) -> None:
        """Register `handler(exc)` for a status code or a class of exceptions.

        :param key: a status from 200 to 599, or a subclass of Exception.
        :param handler: an `async def`, or a `def` (which runs in a worker thread), that returns anything convertible.
        :raises TypeError: the key or the handler is none of these.
        :raises ValueError: the status is outside of 200 to 599.
        """
        check_key(key)
        function_of("the exception", "an exception handler", handler)
        waits = handler if is_async(handler) else partial(call, handler)
        found = handler, waits
        if key is HTTPException:  # also for libraries that raise baize's HTTPException
            key = AnyHTTPException
        if key == 500 or key is Exception:
            self._last = found
        elif isinstance(key, int):
            self._by_status[key] = found
        else:
            self._by_class[key] = found

    async def answer(self, exc: Exception) -> tuple[HttpResponse, Exception | None]:
        """Return the response to `exc`, and the exception to raise after it was sent; None if `exc` is handled.

        An HTTPException that a handler raises becomes the response. Any other exception of a handler counts as
        unhandled: the handler for `Exception` answers it, or a plain 500.
        """
        raised = exc
        try:
            with strays_fail:
                response = await self._handle(unwrap_group(exc))
            if response is not None:
                return response, None
        except Exception as second:
            raised = second
        found = unwrap_group(raised)
        if self._last is not None and not isinstance(found, AnyHTTPException | ClientDisconnect):
            last, answer_last = self._last
            try:
                with strays_fail:
                    return self._convert(await answer_last(found), last), raised
            except AnyHTTPException as answer:
                return self._plainly(answer), raised
            except Exception as second:
                raised = second
        return self._bare_500(), raised

    async def _handle(self, exc: Exception, but: Answering | None = None) -> HttpResponse | None:
        """Return the response of the handler for `exc`; None if there is no handler, or it is `but`."""
        found = self._find(exc)
        if found is None or found is but:
            return self._plainly(exc) if isinstance(exc, AnyHTTPException) else None
        handler, call = found
        response: HttpResponse | None
        try:
            response = self._convert(await call(exc), handler)
        except AnyHTTPException as answer:
            if but is not None:
                raise
            response = await self._handle(answer, found)
        return None if response is None else _with_headers_of(exc, response)

    def _plainly(self, exc: AnyHTTPException[Any]) -> HttpResponse:
        """Return the response to an HTTPException that has no handler.

        :raises ValueError: baize's own exception has arguments that Kui's refuses; so may TypeError.
        :raises Exception: what `error_response` raises.
        """
        if not isinstance(exc, HTTPException):  # baize's own, which has not checked its arguments
            exc = HTTPException(exc.status_code, exc.headers, exc.content)
        described = "content-type" in map(str.lower, exc.headers or ())
        if described or not (exc.content is None or isinstance(exc.content, str)):
            content = description(exc.status_code) if exc.content is None else exc.content
            return self._convert((content, exc.status_code, exc.headers))
        return _with_headers_of(exc, self._convert(self._error_response(exc), self._error_response))

    def _bare_500(self) -> HttpResponse:
        try:
            return self._plainly(HTTPException(500))
        except Exception:
            logger.exception("error_response failed")
            return BARE_500

    def _find(self, exc: Exception) -> Answering | None:
        if isinstance(exc, AnyHTTPException):
            handler = self._by_status.get(exc.status_code)
            if handler is not None:
                return handler
        if self._by_class:
            for base in type(exc).__mro__:
                handler = self._by_class.get(base)
                if handler is not None:
                    return handler
        return None


def _with_headers_of(exc: Exception, response: HttpResponse) -> HttpResponse:
    """Return the response of a handler with those headers of an HTTPException that the handler has not set.

    A status may require them: Allow, WWW-Authenticate, Retry-After (RFC 9110, 15.5.2 and 15.5.6). Headers that describe
    the exception's own content are left out.
    """
    if not isinstance(exc, AnyHTTPException) or not exc.headers:
        return response
    own = response.headers
    missing = ResponseHeaders(exc.headers)
    for name in exc.headers:
        if name in own or name.lower() in _OF_CONTENT:
            missing.pop(name, None)
    return response.amended(None, missing) if missing else response
