"""What a handler may return, and what it is told when it may not."""

from __future__ import annotations

import pathlib
from collections import OrderedDict, namedtuple
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pydantic
import pytest
from baize.datastructures import URL

from kui.connections import HTTPConnection
from kui.current import request_var, websocket_var
from kui.responses import (
    FileResponse,
    HttpResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    ResponseConverter,
    convert_response,
)

convert = ResponseConverter().convert


class Colour(StrEnum):
    RED = "red"


class Words(str):
    pass


class Table(dict[str, Any]):
    pass


Point = namedtuple("Point", "x y")


@dataclass
class Error:
    code: int = 0
    title: str = ""


class Grave(Error):
    pass


class Model(pydantic.BaseModel):
    a: int


@pytest.mark.parametrize(
    ("value", "kind", "body"),
    [
        ("text", PlainTextResponse, b"text"),
        (Words("text"), PlainTextResponse, b"text"),
        (Colour.RED, PlainTextResponse, b"red"),
        (b"bytes", PlainTextResponse, b"bytes"),
        ({"a": 1}, JSONResponse, b'{"a":1}'),
        (Table(a=1), JSONResponse, b'{"a":1}'),
        (OrderedDict(a=1), JSONResponse, b'{"a":1}'),
        ([1, 2], JSONResponse, b"[1,2]"),
        ((), JSONResponse, b"[]"),
        ((1, 2, 3), JSONResponse, b"[1,2,3]"),
        (Point(1, 404), JSONResponse, b"[1,404]"),
        (Error(1, "a"), JSONResponse, b'{"code":1,"title":"a"}'),
        (Grave(2, "b"), JSONResponse, b'{"code":2,"title":"b"}'),
        (Model(a=1), JSONResponse, b'{"a":1}'),
    ],
)
def test_a_value_becomes_a_response_by_its_type(
    value: Any, kind: type[HttpResponse], body: bytes
) -> None:
    response = convert(value)
    assert type(response) is kind
    assert (response.status_code, response.body) == (200, body)


def test_a_url_becomes_a_redirect() -> None:
    response = convert(URL("/items/7"))
    assert isinstance(response, RedirectResponse)
    assert (response.status_code, response.headers["location"]) == (307, "/items/7")


def test_a_path_becomes_a_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")
    response = convert((path, 404, {"X-A": "b"}))
    assert isinstance(response, FileResponse)
    assert (response.status_code, response.headers["x-a"]) == (404, "b")
    assert isinstance(convert(pathlib.PurePath(path)), FileResponse)


def test_a_generator_becomes_an_event_stream() -> None:
    from kui.responses.events import SendEventResponse

    def events() -> Iterator[str]:
        yield "a"

    async def async_events() -> AsyncIterator[str]:
        yield "a"

    for generator in (events(), async_events()):
        response = convert((generator, 201))
        assert isinstance(response, SendEventResponse)
        assert response.status_code == 201


def test_a_response_stands_for_itself() -> None:
    response = PlainTextResponse("ok")
    assert convert(response) is response


def test_a_response_with_a_status_is_amended_and_left_as_it_was() -> None:
    response = PlainTextResponse("ok")
    amended = convert((response, 404, {"X-A": "b"}))
    assert (amended.status_code, amended.headers["x-a"], amended.body) == (404, "b", b"ok")
    assert (response.status_code, "x-a" in response.headers) == (200, False)


@pytest.mark.parametrize(
    ("value", "status", "headers"),
    [
        (("a", 404), 404, {}),
        (("a", HTTPStatus.NOT_FOUND), 404, {}),
        (("a", 200), 200, {}),
        (("a", 599), 599, {}),
        (("a", 201, None), 201, {}),
        (("a", 201, {}), 201, {}),
        (("", 301, {"location": ""}), 301, {"location": ""}),
        (("a", 404, [("X-A", "b")]), 404, {"x-a": "b"}),
        (("a", 404, (["X-A", "b"],)), 404, {"x-a": "b"}),
        (("a", 404, []), 404, {}),
        (({"a": 1}, 404, MappingProxyType({"X-A": "b"})), 404, {"x-a": "b"}),
        (([], 200, HttpResponse(headers={"X-A": "b"}).headers), 200, {"x-a": "b"}),
        (((1, 404), 200), 200, {}),
        ((Error(), 404), 404, {}),
    ],
)
def test_a_plain_tuple_may_be_value_status_and_headers(
    value: tuple[Any, ...], status: int, headers: dict[str, str]
) -> None:
    response = convert(value)
    assert response.status_code == status
    sent = dict(response.headers)
    sent.pop("content-type")
    assert sent == headers


def test_the_value_of_such_a_tuple_is_not_taken_apart_again() -> None:
    assert convert(((1, 404), 200)).body == b"[1,404]"


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ((1,), b"[1]"),
        ((1, 99), b"[1,99]"),
        ((1, 600), b"[1,600]"),
        ((1, True), b"[1,true]"),
        ((1, 200.0), b"[1,200.0]"),
        ((1, "200"), b'[1,"200"]'),
        ((1, 200, None, None), b"[1,200,null,null]"),
        ([1, 200], b"[1,200]"),
        (Point("a", 200), b'["a",200]'),
    ],
)
def test_every_other_tuple_is_json(value: Any, body: bytes) -> None:
    response = convert(value)
    assert (response.status_code, response.body) == (200, body)


@pytest.mark.parametrize(
    "headers",
    ["no", b"no", 403, ["ab"], [("a", "b", "c")], ["a", "b"], {"a"}, {"a": 1}, [(1, "a")]],
)
def test_a_tuple_with_a_status_is_never_json(headers: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^the handler show returned .*write value, status, headers"
    ):
        convert(("text", 404, headers), "show")
    with pytest.raises(ValueError, match="header"):
        convert(("text", 404, [("a", "b\r\nc: d")]), "show")


@pytest.mark.parametrize("headers", [{}, {"X-A": "b"}, PlainTextResponse("").headers])
def test_an_answer_with_more_items_is_never_json(headers: Any) -> None:
    for more in ((None,), ({}, "extra")):
        with pytest.raises(
            TypeError, match=r"^the handler show returned a tuple of [45] that begins with"
        ):
            convert(("no", 403, headers, *more), "show")


@pytest.mark.parametrize(
    "answer",
    [
        ({"ok": True}, {"cache-control": "no-store"}),
        ("no", {"www-authenticate": "Basic"}, 401),
        (401, "no"),
        (401, "no", {"www-authenticate": "Basic"}),
    ],
)
def test_an_answer_in_another_order_is_never_json(answer: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^the handler show returned a tuple that is not value, sta"
    ):
        convert(answer, "show")


def test_pairs_of_headers_keep_each_cookie() -> None:
    cookies = [("Set-Cookie", "a=1"), ("set-cookie", "b=2")]
    for value in "text", PlainTextResponse("text", headers={"set-cookie": "c=3"}):
        response = convert((value, 201, cookies))
        assert response.headers.getlist("set-cookie")[-2:] == ["a=1", "b=2"]


def error_json(
    error: Error, status: int = 400, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    return JSONResponse({"error": asdict(error)}, status, headers)


def test_a_converter_by_argument_gives_its_own_status() -> None:
    convert = ResponseConverter({Error: error_json}).convert
    assert convert(Error()).status_code == 400
    assert convert((Error(), 404, {"X-A": "b"})).headers["x-a"] == "b"


def test_a_converter_by_decorator_is_returned_unchanged() -> None:
    converter = ResponseConverter()
    assert converter.register(Error)(error_json) is error_json
    assert converter.convert((Error(1), 404)).body == b'{"error":{"code":1,"title":""}}'


def test_a_converter_is_given_only_what_the_handler_gave() -> None:
    seen: list[tuple[Any, ...]] = []
    converter = ResponseConverter()

    @converter.register(int)
    def number(*arguments: Any) -> HttpResponse:
        seen.append(arguments)
        return HttpResponse()

    for value in (7, (7, 404), (7, 404, None), (7, 404, {"a": "b"})):
        converter.convert(value)
    assert seen == [(7,), (7, 404), (7, 404, None), (7, 404, {"a": "b"})]


def test_the_nearest_base_decides() -> None:
    converter = ResponseConverter({object: lambda _: HttpResponse(418), Error: error_json})
    assert converter.convert(Grave()).status_code == 400
    assert converter.convert(object()).status_code == 418
    assert converter.convert(7).status_code == 418
    assert converter.convert(Model(a=1)).status_code == 200
    assert converter.convert({}).status_code == 200


def test_a_later_registration_counts_for_types_that_were_seen_before() -> None:
    converter = ResponseConverter()
    for status in 200, 418:
        assert [converter.convert(value).status_code for value in ({}, Table())] == [status, status]
        converter.register(dict)(lambda _: HttpResponse(418))


def test_one_converter_for_three_types_as_in_the_reference() -> None:
    converter = ResponseConverter()

    @converter.register(tuple)
    @converter.register(list)
    @converter.register(dict)
    def more_json(
        body: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        return JSONResponse({"data": body}, status, headers)

    assert converter.convert(({"a": 1}, 404)).body == b'{"data":{"a":1}}'
    assert converter.convert([]).body == b'{"data":[]}'
    assert converter.convert(Point(1, 2)).body == b'{"data":[1,2]}'


def test_none_may_be_given_a_meaning() -> None:
    converter = ResponseConverter({type(None): lambda _: HttpResponse(204)})
    assert converter.convert(None).status_code == 204


def test_one_application_does_not_change_another() -> None:
    ResponseConverter({str: lambda _: HttpResponse(418)})
    assert ResponseConverter().convert("a").status_code == 200


class Foreign:
    """Like a response of another framework."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


async def get_user() -> None:
    """A handler that returns nothing."""


def test_none_is_an_error_that_names_the_handler_and_says_what_to_return() -> None:
    with pytest.raises(TypeError, match=r'handler get_user returned None; return "" for an empty'):
        convert(None, get_user)
    with pytest.raises(TypeError, match="the handler show returned None"):
        convert((None, 204), "show")
    with pytest.raises(TypeError, match="the handler returned None"):
        convert(None)


async def value_later() -> str:
    return "a"


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (7, "type int, which has no converter; return a str, bytes, dict"),
        (True, "type bool"),
        ({1, 2}, "type set"),
        (Error, "the class Error; return an instance of it"),
        (PlainTextResponse, "the class PlainTextResponse; return an instance of it"),
        (get_user, "the function get_user; call it"),
        (Foreign(), r"test_convert\.Foreign, which can be called but is no response of Kui"),
        (ValueError("a"), r"an exception, ValueError\('a'\); raise it"),
    ],
)
def test_what_has_no_converter_is_an_error_with_advice(value: Any, advice: str) -> None:
    with pytest.raises(TypeError, match=f"^the handler h returned .*{advice}"):
        convert(value, "h")


def test_a_coroutine_is_closed_and_an_error() -> None:
    with pytest.raises(TypeError, match=r"returned an awaitable .*; put await before it"):
        convert(value_later(), "h")


def test_a_converter_that_returns_no_response_is_named() -> None:
    def to_text(value: Any) -> Any:
        return "text"

    async def to_text_later(value: Any) -> Any:
        return "text"

    converter = ResponseConverter({int: to_text, float: to_text_later})
    with pytest.raises(TypeError, match=r"to_text has to return a response, not str"):
        converter.convert(7)
    with pytest.raises(TypeError, match=r"to_text_later has to return a response, not coroutine"):
        converter.convert(7.0)


@pytest.mark.parametrize("kind", ["str", 7, None, list[int]])
def test_a_converter_is_registered_for_a_type(kind: Any) -> None:
    with pytest.raises(TypeError, match="registered for a type"):
        ResponseConverter().register(kind)


def test_a_converter_is_a_function() -> None:
    with pytest.raises(TypeError, match="is a function of a value"):
        ResponseConverter({int: "text"})  # type: ignore[dict-item]


def test_types_that_are_made_on_the_run_do_not_pile_up() -> None:
    converter = ResponseConverter()
    for _ in range(3000):
        converter.convert(type("Once", (dict,), {})())
    assert len(converter._found) <= 1024


@pytest.mark.parametrize("variable", [request_var, websocket_var])
def test_active_conversion_uses_the_converters_of_the_current_application(variable: Any) -> None:
    app = SimpleNamespace(response_converter=ResponseConverter({int: lambda _: HttpResponse(418)}))
    token = variable.set(HTTPConnection({"type": "http", "app": app}))
    try:
        assert convert_response(7).status_code == 418
    finally:
        variable.reset(token)


def test_active_conversion_works_outside_of_a_request() -> None:
    assert convert_response(({"key": "value"}, 201)).body == b'{"key":"value"}'
    with pytest.raises(TypeError, match="returned None"):
        convert_response(None)
