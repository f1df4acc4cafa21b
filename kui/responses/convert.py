"""Make a response of a handler's return value, by the type of the value, or by its bases.

A table maps types to converters. A value of a type that is not in it raises an error that says what to return instead.
Each application has a converter of its own; `convert_response` uses that of the current application.
"""

from __future__ import annotations

import pathlib
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from inspect import isawaitable, iscoroutine, isroutine
from types import AsyncGeneratorType, GeneratorType
from typing import Any, TypeVar

from baize.datastructures import URL

from kui.argument_checks import expect, function_of
from kui.http.headers import header_mapping

from .base import HttpResponse
from .content import JSONResponse, PlainTextResponse, RedirectResponse
from .context import current_app, current_handler
from .encode import is_model

__all__ = ["MakeResponse", "ResponseConverter", "convert_response", "is_answer"]

MakeResponse = Callable[..., HttpResponse]
C = TypeVar("C", bound=Callable[..., Any])

_ADVICE = "return a str, bytes, dict, list, a generator, a path, a URL or a response"


def _to_itself(
    response: HttpResponse, status: int | None = None, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    if status is None and headers is None:
        return response
    return response.amended(status, headers)


def _to_events(
    generator: Generator[Any] | AsyncGenerator[Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    from .events import SendEventResponse

    return SendEventResponse(generator, status, headers)


def _to_file(
    path: pathlib.PurePath, status: int = 200, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    from .file import FileResponse

    return FileResponse(str(path), headers, status_code=status)


_BUILT_IN: dict[type, MakeResponse] = {
    HttpResponse: _to_itself,
    str: PlainTextResponse,
    bytes: PlainTextResponse,
    dict: JSONResponse,
    list: JSONResponse,
    tuple: JSONResponse,
    GeneratorType: _to_events,
    AsyncGeneratorType: _to_events,
    pathlib.PurePath: _to_file,
    URL: RedirectResponse,
}


class ResponseConverter:
    """Makes responses of values, by functions that are found by the type of the value.

    :param converters: a mapping from types to functions `(value, status=..., headers=None)` that return a response.
        They are preferred to the built-in ones.
    :raises TypeError: as for `register`.

    Example::

        converter = ResponseConverter()

        @converter.register(Error)
        def error_json(error, status=400, headers=None):
            return JSONResponse(asdict(error), status, headers)
    """

    __slots__ = ("_found", "_table")

    def __init__(self, converters: Mapping[type, MakeResponse] | None = None) -> None:
        self._table: dict[type, MakeResponse] = _BUILT_IN.copy()
        self._found: dict[type, MakeResponse] = {}
        advice = "a mapping from types to functions"
        given = expect("response_converters", converters, Mapping, advice)
        for kind, converter in (given or {}).items():
            self.register(kind)(converter)

    def register(self, kind: type) -> Callable[[C], C]:
        """Decorate a function that makes responses of values of a type and of its subclasses.

        The function is called with the value, and with status and headers only if the handler has returned them. It is
        returned unchanged.

        :raises TypeError: `kind` is no type, or the decorated object is no function.
        """
        if not isinstance(kind, type):
            raise TypeError(f"a converter is registered for a type, not for {kind!r}")

        def add(converter: C) -> C:
            function_of("a value", "a converter", converter)
            self._table[kind] = _checking(converter)
            self._found.clear()
            return converter

        return add

    def convert(self, value: Any, handler: object = None) -> HttpResponse:
        """Return a response made of `value`. A response is returned unchanged.

        A tuple of two or three items whose second is an int from 100 to 599 means value, status and headers. The
        headers are a mapping, a sequence of pairs, or None. Any other tuple is a value, unless it is longer than that,
        or has these in another order.

        :param handler: a function, or its name, for error messages; by default the handler of the current request.
        :raises TypeError: no converter is registered for the type, which may be that of None; or the third item of a
            tuple is no headers, or has a fourth behind it; or a tuple has status and headers in another order.
        :raises ValueError: HTTP does not allow a header.
        :raises Exception: what the converter raises.
        """
        kind = type(value)
        if kind is tuple and is_answer(value, handler):
            value, *rest = value
            if len(rest) == 2:
                rest[1] = _headers(rest[1], handler)
            kind = type(value)
            converter = self._found.get(kind) or self._find(value, kind, handler)
            return converter(value, *rest)
        if kind is tuple:
            check_order(value, handler)
        converter = self._found.get(kind) or self._find(value, kind, handler)
        return converter(value)

    def _find(self, value: Any, kind: type, handler: object) -> MakeResponse:
        converter = self._lookup(kind)
        if converter is None:
            raise TypeError(_explain(value, kind, handler))
        # Classes that are created at run time must not fill the memory.
        if len(self._found) >= 1024:
            self._found.clear()
        self._found[kind] = converter
        return converter

    def _lookup(self, kind: type) -> MakeResponse | None:
        for base in kind.__mro__:
            converter = self._table.get(base)
            if converter is not None:
                return converter
            if "__dataclass_fields__" in base.__dict__ or is_model(base):
                return JSONResponse
        return None


def is_answer(value: tuple[Any, ...], handler: object = None) -> bool:
    """True if a tuple means value, status and perhaps headers.

    :raises TypeError: it begins with all three, and has more items.
    """
    # The third item is not checked: if a tuple with a status became JSON, a refusal would be sent as a 200.
    if len(value) < 2 or not _is_status(value[1]):
        return False
    if len(value) > 3 and isinstance(value[2], Mapping):
        raise TypeError(
            f"{_who(handler)} returned a tuple of {len(value)} that begins with value, status, headers;"
            " write value, status, headers alone, or return a list, which is JSON"
        )
    return len(value) <= 3


def check_order(value: tuple[Any, ...], handler: object = None) -> None:
    """Check a tuple that `is_answer` says is a value: without its headers, a refusal might be cached.

    :raises TypeError: it seems to be value, status and headers in another order.
    """
    if len(value) in (2, 3) and (isinstance(value[1], Mapping) or _is_status(value[0])):
        raise TypeError(
            f"{_who(handler)} returned a tuple that is not value, status, headers in this order;"
            " write them so, or return a list, which is JSON"
        )


def _is_status(value: Any) -> bool:
    return isinstance(value, int) and 100 <= value <= 599


def _headers(headers: Any, handler: object) -> Mapping[str, str] | None:
    try:
        return header_mapping(headers)
    except TypeError as error:
        raise TypeError(
            f"{_who(handler)} returned a tuple with a status, whose third is no headers: {error};"
            " write value, status, headers, or return a list, which is JSON"
        ) from None


def _checking(converter: Callable[..., Any]) -> MakeResponse:
    def convert(value: Any, *rest: Any) -> HttpResponse:
        response = converter(value, *rest)
        if isinstance(response, HttpResponse):
            return response
        if iscoroutine(response):
            response.close()
        raise TypeError(
            f"the converter {_name(converter)} has to return a response, not"
            f" {type(response).__qualname__}"
        )

    return convert


def _name(function: object) -> str:
    if isinstance(function, str):
        return function
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _who(handler: object) -> str:
    return current_handler() if handler is None else f"the handler {_name(handler)}"


def _explain(value: Any, kind: type, handler: object) -> str:
    who = _who(handler)
    if value is None:
        return f'{who} returned None; return "" for an empty body, or HttpResponse(204) for none'
    if isinstance(value, type):
        return f"{who} returned the class {value.__qualname__}; return an instance of it"
    if isawaitable(value):
        if iscoroutine(value):
            value.close()
        return f"{who} returned an awaitable ({kind.__qualname__}); put await before it"
    if isinstance(value, BaseException):
        return f"{who} returned an exception, {value!r}; raise it"
    if isroutine(value):
        return f"{who} returned the function {_name(value)}; call it"
    if callable(value):
        return (
            f"{who} returned an object of type {kind.__module__}.{kind.__qualname__}, which can be called but is no"
            " response of Kui; return one of kui.asgi, or mount an ASGI app with Mount"
        )
    return (
        f"{who} returned an object of type {kind.__qualname__}, which has no converter; {_ADVICE},"
        " or register a converter for it"
    )


_default = ResponseConverter()


def convert_response(value: Any) -> HttpResponse:
    """Return a response made of a handler's return value. Raises what `ResponseConverter.convert` raises.

    It uses the converters of the current request's application, or the built-in ones if there is no request.

    Example: a middleware that adds a header to each response::

        response = convert_response(await endpoint())
        response.headers["X-Powered-By"] = "Kui"
    """
    if isinstance(value, HttpResponse):
        return value
    app = current_app()
    converter = _default if app is None else app.response_converter
    return converter.convert(value)
