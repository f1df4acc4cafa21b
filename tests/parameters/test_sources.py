"""Parameters of the path, the query, headers and cookies: what a handler gets of them, and what is refused."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

import msgspec
import pytest
from baize.datastructures import Headers, QueryParams
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict

from kui.asgi import Cookie, Depends, Header, HttpRoute, Kui, Path, Query, request

from .conftest import Serve, faults

pytestmark = pytest.mark.anyio


async def test_a_bare_parameter_is_one_of_the_path(serve: Serve) -> None:
    async def item(id: int, name: str) -> Any:
        return [id, name]

    async with serve(item, "/{name}/{id:int}") as client:
        assert (await client.get("/ann/7")).json() == [7, "ann"]


async def test_a_text_of_the_path_is_converted_to_the_declared_type(serve: Serve) -> None:
    async def item(id: int) -> Any:
        return id + 1, 200

    async with serve(item, "/{id}", response_converters={int: to_text}) as client:
        assert (await client.get("/7")).text == "8"
        assert faults(await client.get("/x")) == [("path", "/id")]


async def test_a_whole_query_may_be_converted_to_any_type(serve: Serve) -> None:
    async def count(names: Annotated[int, BeforeValidator(len), Query(exclusive=True)]) -> Any:
        return {"names": names}

    async with serve(count) as client:
        assert (await client.get("/?a=1&b=2")).json() == {"names": 2}


def to_text(value: int, status: int = 200, headers: Any = None) -> Any:
    from kui.asgi import PlainTextResponse

    return PlainTextResponse(str(value), status, headers)


async def test_the_path_s_own_converters_need_no_second_look(serve: Serve) -> None:
    async def item(a: UUID, b: date, c: Decimal, d: str) -> Any:
        return [type(one).__name__ for one in (a, b, c, d)]

    async with serve(item, "/{a:uuid}/{b:date}/{c:decimal}/{d:any}") as client:
        path = "/12345678-1234-5678-1234-567812345678/2026-11-30/1.5/x/y"
        assert (await client.get(path)).json() == ["UUID", "date", "Decimal", "str"]


async def test_a_parameter_of_the_path_may_have_an_alias_and_constraints(serve: Serve) -> None:
    async def item(item_id: Annotated[int, Path(alias="id", ge=10)]) -> Any:
        return [item_id]

    async with serve(item, "/{id:int}") as client:
        assert (await client.get("/10")).json() == [10]
        assert faults(await client.get("/9")) == [("path", "/id")]


async def test_a_bare_parameter_that_is_not_in_a_route_s_path_keeps_its_default() -> None:
    from kui.asgi import Kui
    from kui.testing import AsyncTestClient

    app = Kui()

    @app.router.http("/hello", name="hello")
    @app.router.http.get("/hello/{name}", name="hello-with-name")
    async def hello(name: str = "world") -> str:
        return name

    async with AsyncTestClient(app) as client:
        assert (await client.get("/hello")).text == "world"
        assert (await client.get("/hello/ann")).text == "ann"


async def test_of_a_query_a_list_has_all_values_and_another_type_the_last(serve: Serve) -> None:
    async def search(
        q: Annotated[str, Query()],
        tag: Annotated[list[str], Query()] = [],  # noqa: B006 - never changed
        page: Annotated[int, Query(ge=1)] = 1,
        ids: Annotated[set[int] | None, Query()] = None,
    ) -> Any:
        return [q, tag, page, sorted(ids) if ids else None]

    async with serve(search) as client:
        assert (await client.get("/?q=a&q=b")).json() == ["b", [], 1, None]
        response = await client.get("/?q=a&tag=x&tag=y&page=3&ids=2&ids=1&ids=2&more=1")
        assert response.json() == ["a", ["x", "y"], 3, [1, 2]]


async def test_all_faults_are_told_at_once(serve: Serve) -> None:
    async def search(
        id: int,
        q: Annotated[str, Query(min_length=2)],
        page: Annotated[int, Query(ge=1)],
        x_count: Annotated[int, Header()],
        theme: Annotated[Literal["dark", "light"], Cookie()],
    ) -> Any: ...

    async with serve(search, "/{id}") as client:
        response = await client.get("/x?q=a", headers={"x-count": "many", "cookie": "theme=pink"})
    assert faults(response) == [
        ("path", "/id"),
        ("query", "/q"),
        ("query", "/page"),
        ("header", "/x-count"),
        ("cookie", "/theme"),
    ]


async def test_a_header_has_hyphens_for_underscores(serve: Serve) -> None:
    async def show(
        x_request_id: Annotated[str, Header()],
        size: Annotated[int, Header(alias="Content_Size")] = 0,
        accept_language: Annotated[list[str], Header()] = [],  # noqa: B006 - never changed
    ) -> Any:
        return [x_request_id, size, accept_language]

    async with serve(show) as client:
        headers = [
            ("X-Request-Id", "a"),
            ("content_size", "5"),
            ("accept-language", "de"),
            ("accept-language", "en"),
        ]
        assert (await client.get("/", headers=headers)).json() == ["a", 5, ["de", "en"]]
        assert faults(await client.get("/")) == [("header", "/x-request-id")]


async def test_types_are_those_of_pydantic(serve: Serve) -> None:
    class Colour(enum.Enum):
        RED = "red"

    async def show(
        colour: Annotated[Colour, Query()],
        day: Annotated[date, Query()],
        flag: Annotated[bool, Query()],
        either: Annotated[int | str, Query()],
        amount: Annotated[Annotated[Decimal, Field(ge=0)], Query(decimal_places=2)],
    ) -> Any:
        return [colour.name, day.year, flag, either, str(amount)]

    async with serve(show) as client:
        query = "colour=red&day=2026-11-30&flag=yes&either=x&amount=1.50"
        assert (await client.get(f"/?{query}")).json() == ["RED", 2026, True, "x", "1.50"]
        response = await client.get("/?colour=blue&day=no&flag=2&either=1&amount=-1.555")
        assert [pointer for _, pointer in faults(response)] == [
            "/colour",
            "/day",
            "/flag",
            "/amount",
        ]


class Filters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    q: str
    tag: list[str] = []
    size: int = Field(10, alias="pageSize", le=100)


@dataclass
class Page:
    page: int = 1
    sort: tuple[str, ...] = ()


class Window(TypedDict):
    start: int
    end: NotRequired[int]


class Structured(msgspec.Struct):
    q: str
    tag: list[str] = []
    page_size: int = msgspec.field(name="pageSize", default=10)


@pytest.mark.parametrize("model", [Filters, Structured])
async def test_a_whole_query_may_be_a_model(serve: Serve, model: Any) -> None:
    async def search(filters: Annotated[model, Query(exclusive=True)]) -> Any:
        return [filters.q, filters.tag, getattr(filters, "size", None) or filters.page_size]

    async with serve(search) as client:
        response = await client.get("/?q=a&tag=x&tag=y&pageSize=5")
        assert response.json() == ["a", ["x", "y"], 5]
        assert faults(await client.get("/?tag=x&pageSize=5")) == [("query", "/q")]
        assert faults(await client.get("/?q=x&pageSize=many")) == [("query", "/pageSize")]


async def test_several_models_and_single_values_share_a_query(serve: Serve) -> None:
    async def paging(page: Annotated[Page, Query(exclusive=True)]) -> Page:
        return page

    async def search(
        filters: Annotated[Filters, Query(exclusive=True)],
        page: Annotated[Page, Depends(paging)],
        window: Annotated[Window, Query(exclusive=True)],
        debug: Annotated[bool, Query()] = False,
    ) -> Any:
        return [filters.q, page.page, list(page.sort), window, debug]

    async with serve(search) as client:
        response = await client.get("/?q=a&page=2&sort=x&sort=y&start=5&debug=1")
        assert response.json() == ["a", 2, ["x", "y"], {"start": 5}, True]
        # A name that is none of theirs is refused by the one that forbids it.
        response = await client.get("/?q=a&start=x&other=1&page=no")
        assert sorted(faults(response)) == [
            ("query", "/other"),
            ("query", "/page"),
            ("query", "/start"),
        ]


async def test_models_of_headers_and_cookies_ignore_what_else_there_is(serve: Serve) -> None:
    class Tracing(BaseModel):
        model_config = ConfigDict(extra="forbid")
        x_trace_id: str
        accept: list[str] = []

    class Session(BaseModel):
        model_config = ConfigDict(extra="forbid")
        session: str

    async def show(
        tracing: Annotated[Tracing, Header(exclusive=True)],
        session: Annotated[Session, Cookie(exclusive=True)],
    ) -> Any:
        return [tracing.x_trace_id, tracing.accept, session.session]

    async with serve(show) as client:
        headers = [("x-trace-id", "t"), ("accept", "a/b"), ("cookie", "session=s; other=1")]
        assert (await client.get("/", headers=headers)).json() == ["t", ["a/b"], "s"]
        assert faults(await client.get("/")) == [("header", "/x_trace_id"), ("cookie", "/session")]


async def test_a_model_may_be_absent(serve: Serve) -> None:
    async def search(filters: Annotated[Filters | None, Query(exclusive=True)] = None) -> Any:
        return [filters is None]

    async with serve(search) as client:
        assert (await client.get("/")).json() == [True]
        assert (await client.get("/?q=a")).json() == [False]
        assert faults(await client.get("/?tag=a")) == [("query", "/q")]


async def test_a_mapping_takes_all_names(serve: Serve) -> None:
    async def search(
        last: Annotated[dict[str, str], Query(exclusive=True)],
        every: Annotated[dict[str, list[str]], Query(exclusive=True)],
    ) -> Any:
        return [last, every]

    async with serve(search) as client:
        response = await client.get("/?a=1&a=2&b=3")
        assert response.json() == [{"a": "2", "b": "3"}, {"a": ["1", "2"], "b": ["3"]}]


async def test_a_union_of_models_is_the_query_s_and_not_the_body_s(serve: Serve) -> None:
    class ById(BaseModel):
        id: int

    class ByName(BaseModel):
        name: str

    async def find(by: Annotated[ById | ByName, Query(exclusive=True)]) -> Any:
        return type(by).__name__

    async with serve(find) as client:
        assert (await client.get("/?id=1")).text == "ById"
        assert (await client.get("/?name=1")).text == "ByName"
        assert (await client.get("/")).status_code == 422


async def test_postponed_annotations_are_found_where_the_function_is_registered(
    serve: Serve,
) -> None:
    class Local(BaseModel):
        a: int

    async def show(local: Annotated[Local, Query(exclusive=True)]) -> Any:
        return [local.a]

    async with serve(show) as client:
        assert (await client.get("/?a=1")).json() == [1]


async def test_request_asks_for_the_query_as_a_model(serve: Serve) -> None:
    from kui.asgi import request

    async def search() -> Any:
        filters = request.query_as(Filters)
        return [filters.q, filters.tag]

    async with serve(search) as client:
        assert (await client.get("/?q=a&tag=x")).json() == ["a", ["x"]]
        assert faults(await client.get("/")) == [("query", "/q")]


def set_both() -> None:
    request.query_params = QueryParams([("q", "ä&"), ("q", "2")])
    request.headers = Headers({"X-Token": "set"})


def replace_lines() -> None:
    request.scope["query_string"] = b"q=2"
    lines = [(name, b"set" if name == b"x-token" else value) for name, value in request["headers"]]
    request.scope["headers"] = lines


@pytest.mark.parametrize("change", [set_both, replace_lines])
@pytest.mark.parametrize("is_read_before", [False, True])
async def test_what_a_middleware_has_put_in_place_of_what_was_sent_counts(
    serve: Serve, change: Any, is_read_before: bool
) -> None:
    def changing(endpoint: Any) -> Any:
        async def changed() -> Any:
            if is_read_before and change is set_both:
                assert request.headers["x-token"] == "sent" and request.query_params["q"] == "1"
            change()
            return await endpoint()

        return changed

    async def told(q: Annotated[str, Query()], x_token: Annotated[str, Header()]) -> Any:
        return [q, x_token, request.query_params["q"], request.headers["x-token"]]

    async with serve(told, middlewares=[changing]) as client:
        response = await client.get("/?q=1", headers={"x-token": "sent"})
        assert response.json() == ["2", "set", "2", "set"]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([(b"x-token", b"a"), (b"x-token", b"b")], "a, b"),
        ([(b"X-Token", b"a")], "a"),
        ([(b"other", b"a")], None),
        ([], None),
    ],
)
async def test_a_header_is_found_however_it_was_sent(lines: Any, found: Any) -> None:
    async def told(x_token: Annotated[str | None, Header()] = None) -> Any:
        return [x_token]

    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": lines}
    await Kui(routes=HttpRoute("/", told))(scope, receive, send)
    assert json.loads(sent[1]["body"]) == [found]
