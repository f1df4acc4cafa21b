"""What is returned is written by the declared type: a field that is not declared never leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from kui.asgi import HttpResponse, HttpRoute, JSONResponse, Kui
from kui.testing import AsyncTestClient

from .conftest import Serve

pytestmark = pytest.mark.anyio


class Public(BaseModel):
    name: str


class User(Public):
    password: str


class Row(BaseModel):
    name: str
    password: str


@dataclass
class PublicData:
    name: str


@dataclass
class UserData(PublicData):
    password: str


class Mapped:
    """An object as of a database: its attributes are not in its `__dict__`."""

    name = "ann"
    password = "secret"


class PublicTyped(TypedDict):
    name: str


class PublicStruct(msgspec.Struct):
    name: str


class UserStruct(PublicStruct):
    password: str


class OtherStruct(msgspec.Struct):
    name: str
    password: str


class Team(msgspec.Struct):
    lead: PublicStruct
    members: list[PublicStruct] = []
    by_name: dict[str, PublicStruct | None] = {}


KINDS: list[tuple[Any, Any]] = [
    (Public, User(name="ann", password="secret")),
    (Public, Row(name="ann", password="secret")),
    (Public, {"name": "ann", "password": "secret"}),
    (Public, Mapped()),
    (PublicData, UserData("ann", "secret")),
    (PublicTyped, {"name": "ann", "password": "secret"}),
    (PublicStruct, UserStruct("ann", "secret")),
    (PublicStruct, OtherStruct("ann", "secret")),
    (PublicStruct, {"name": "ann", "password": "secret"}),
]
ids = [f"{kind.__name__}-{type(value).__name__}" for kind, value in KINDS]


async def in_production(handler: Any) -> list[Any]:
    """The messages of a response that is not made for a test."""
    sent: list[Any] = []
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [],
        "query_string": b"",
        "http_version": "1.1",
        "root_path": "",
    }

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await Kui(routes=HttpRoute("/", handler))(scope, receive, send)
    return sent


class Ranked(NamedTuple):
    user: Public
    after: Ranked | None = None


class RankedStruct(NamedTuple):
    user: PublicStruct


async def test_a_named_tuple_holds_models(serve: Serve) -> None:
    user = User(name="ann", password="secret")

    async def ranking() -> list[Ranked]:
        return [Ranked(user, Ranked(user))]

    async def ranking_of_structs() -> list[RankedStruct]:
        return [RankedStruct(UserStruct("ann", "secret"))]

    async with serve(ranking) as client:
        assert (await client.get("/")).json() == [[{"name": "ann"}, [{"name": "ann"}, None]]]
    async with serve(ranking_of_structs) as client:
        assert (await client.get("/")).json() == [[{"name": "ann"}]]


@pytest.mark.parametrize(("kind", "value"), KINDS, ids=ids)
async def test_a_field_that_is_not_declared_never_leaves(
    serve: Serve, kind: Any, value: Any
) -> None:
    async def one() -> kind:
        return value

    async def many() -> list[kind]:
        return [value]

    async def named() -> dict[str, kind]:
        return {"a": value}

    async def perhaps() -> kind | None:
        return value, 201

    for handler, shape in [(one, "%s"), (many, "[%s]"), (named, '{"a":%s}'), (perhaps, "%s")]:
        async with serve(handler) as client:
            response = await client.get("/")
        assert response.text == shape % '{"name":"ann"}', response.text
        assert response.headers["content-type"] == "application/json"


async def test_what_an_awaitable_gives_has_its_declared_fields_only(serve: Serve) -> None:
    async def found() -> Any:
        return User(name="ann", password="secret")

    def awaitable() -> Awaitable[Public]:
        return found()

    def coroutine() -> Coroutine[Any, Any, Public]:
        return found()

    for handler in awaitable, coroutine:
        async with serve(handler) as client:
            assert (await client.get("/")).json() == {"name": "ann"}


async def test_a_struct_inside_of_a_struct_has_its_declared_fields_only(serve: Serve) -> None:
    user = UserStruct("ann", "secret")

    async def team() -> Team:
        return Team(user, [user, PublicStruct("bob")], {"a": user, "b": None})

    async with serve(team) as client:
        assert (await client.get("/")).json() == {
            "lead": {"name": "ann"},
            "members": [{"name": "ann"}, {"name": "bob"}],
            "by_name": {"a": {"name": "ann"}, "b": None},
        }


async def test_status_and_headers_come_beside_the_model(serve: Serve) -> None:
    async def create() -> tuple[Public, int, dict[str, str]]:
        return User(name="ann", password="secret"), 201, {"x-a": "b"}

    async with serve(create) as client:
        response = await client.post("/")
    assert (response.status_code, response.headers["x-a"]) == (201, "b")
    assert response.json() == {"name": "ann"}


async def test_a_refusal_with_a_fourth_item_is_no_200(serve: Serve) -> None:
    async def declared() -> tuple[Public, int, dict[str, str]]:
        return User(name="ann", password="secret"), 403, {}, "more"  # type: ignore[return-value]

    async def plain() -> Any:
        return "no", 403, {}, "more"

    for handler in declared, plain:
        async with serve(handler) as client:
            with pytest.raises(TypeError, match="value, status, headers alone"):
                await client.get("/")


async def test_a_response_is_itself(serve: Serve) -> None:
    async def show() -> Public | HttpResponse:
        return JSONResponse({"a": 1}, 202)

    async with serve(show) as client:
        response = await client.get("/")
    assert (response.status_code, response.json()) == (202, {"a": 1})


async def test_aliases_are_what_is_written(serve: Serve) -> None:
    class Aliased(BaseModel):
        page_size: int = Field(alias="pageSize")

    async def show() -> Aliased:
        return Aliased(pageSize=1)

    async with serve(show) as client:
        assert (await client.get("/")).json() == {"pageSize": 1}


@pytest.mark.parametrize("value", [5, {"other": 1}, None])
@pytest.mark.parametrize("kind", [Public, PublicData, PublicStruct])
async def test_what_is_none_of_the_declared_type_is_a_500(
    serve: Serve, kind: Any, value: Any
) -> None:
    async def show() -> kind:
        return value

    with pytest.raises(Exception, match=r"name|type|return|Input|valid|Expected|attribute"):
        async with serve(show) as client:
            await client.get("/")


async def test_production_does_not_validate_and_a_test_does(serve: Serve) -> None:
    class Positive(BaseModel):
        number: int = Field(gt=0)

    async def show() -> Positive:
        return Positive.model_construct(number=-1)

    with pytest.raises(Exception, match="greater than 0"):
        async with serve(show) as client:
            await client.get("/")

    assert (await in_production(show))[1]["body"] == b'{"number":-1}'


@pytest.mark.parametrize("testing", [False, True])
@pytest.mark.parametrize("kind", [Public, PublicData, PublicTyped, PublicStruct, list[Public]])
async def test_a_forgotten_return_is_no_null(serve: Serve, kind: Any, testing: bool) -> None:
    async def forgets() -> kind:
        pass

    with pytest.raises(TypeError, match=r"the handler .*forgets returned None"):
        if testing:
            async with serve(forgets) as client:
                await client.get("/")
        else:
            await in_production(forgets)


@pytest.mark.parametrize("kind", [Public, PublicData, PublicStruct])
async def test_what_may_be_none_is_null(kind: Any) -> None:
    async def show() -> kind | None:
        return None

    assert (await in_production(show))[1]["body"] == b"null"


async def test_an_annotation_without_a_model_changes_nothing() -> None:
    async def text() -> str:
        return "a"

    async def table() -> dict[str, Any]:
        return {"a": 1}

    async def anything() -> Any:
        return ["a"]

    app = Kui(routes=[HttpRoute(f"/{one.__name__}", one) for one in (text, table, anything)])
    for one in (text, table, anything):
        assert app.router.http_routes.search(f"/{one.__name__}", "GET")[0] is one  # type: ignore[index]
    async with AsyncTestClient(app) as client:
        assert (await client.get("/table")).json() == {"a": 1}


async def test_a_handler_without_declarations_is_the_function_that_it_is() -> None:
    async def plain() -> str:
        return "a"

    app = Kui(routes=HttpRoute("/", plain))
    found = app.router.http_routes.search("/", "GET")
    assert found is not None and found[0] is plain
