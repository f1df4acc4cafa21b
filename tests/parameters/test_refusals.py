"""The shape of a 422, and that nothing of what was sent is in it."""

from __future__ import annotations

import enum
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from pydantic import AfterValidator, AnyUrl, BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

from kui.asgi import Body, Query, RequestValidationError

from .conftest import Serve, faults

pytestmark = pytest.mark.anyio

SECRET = "s3cr3t-zzz"


class Kind(enum.Enum):
    A = "a"


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


def refuse(value: Any) -> Any:
    raise ValueError(f"{value} is wrong")


def refuse_in_its_own_words(value: Any) -> Any:
    raise PydanticCustomError("mine", "{value} is wrong", {"value": value})


class Validated(BaseModel):
    text: Annotated[str, AfterValidator(refuse)]
    custom: Annotated[str, AfterValidator(refuse_in_its_own_words)]
    asserted: str
    kind: Kind
    uuid: UUID
    day: date
    moment: datetime
    clock: time
    span: timedelta
    url: AnyUrl
    literal: Literal["a", "b"]
    short: str = Field(max_length=3)
    like: str = Field(pattern="^a+$")
    number: int
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    bytes_: bytes = Field(max_length=2)

    @field_validator("asserted")
    @classmethod
    def check(cls, value: str) -> str:
        assert not value, f"{value} is wrong"
        return value


async def test_pydantic_s_messages_hold_nothing_that_was_sent(serve: Serve) -> None:
    async def create(item: Annotated[Validated, Body(exclusive=True)]) -> Any: ...

    body: dict[str, Any] = dict.fromkeys(Validated.model_fields, SECRET)
    body["pet"] = {"kind": SECRET}
    async with serve(create) as client:
        response = await client.post("/", json=body)
    assert len(faults(response)) == len(Validated.model_fields)
    for piece in (SECRET, "s3cr3t", "zzz", "`s`"):
        assert piece not in response.text


class StructKind(enum.Enum):
    A = "a"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    number: Annotated[int, msgspec.Meta(ge=1)]


class Structs(msgspec.Struct):
    kind: StructKind = StructKind.A
    uuid: UUID | None = None
    day: date | None = None
    moment: datetime | None = None
    literal: Literal["a", "b"] = "a"
    short: Annotated[str, msgspec.Meta(max_length=3)] = ""
    like: Annotated[str, msgspec.Meta(pattern="^a+$")] = "a"
    number: int = 1
    inner: list[Inner] = []
    table: dict[str, int] = {}
    text: str = ""

    def __post_init__(self) -> None:
        if self.text:
            raise ValueError(f"{self.text} is wrong")


@pytest.mark.parametrize(
    "field", [one for one in Structs.__struct_fields__ if one not in ("inner", "table")]
)
async def test_msgspec_s_messages_hold_nothing_that_was_sent(serve: Serve, field: str) -> None:
    async def create(item: Annotated[Structs, Body(exclusive=True)]) -> Any: ...

    async with serve(create) as client:
        response = await client.post("/", json={field: SECRET})
    assert faults(response) == [("body", "" if field == "text" else f"/{field}")]
    assert "s3cr3t" not in response.text


@pytest.mark.parametrize(
    ("body", "detail", "pointer"),
    [
        ({"inner": [{"number": 1}, {"number": 0}]}, "Expected int >= 1", "/inner/1/number"),
        ({"inner": [{"number": "x"}]}, "Expected int, got str", "/inner/0/number"),
        ({"inner": [{}]}, "Field required", "/inner/0/number"),
        ({"inner": [{"number": 1, SECRET: 1}]}, "Extra inputs are not permitted", "/inner/0"),
        ({"table": {SECRET: "x"}}, "Expected int, got str", "/table"),
        ({"short": "long"}, "Expected str of length <= 3", "/short"),
        ([], "Expected object, got array", ""),
    ],
)
async def test_what_msgspec_says_of_types_is_passed_on(
    serve: Serve, body: Any, detail: str, pointer: str
) -> None:
    async def create(item: Annotated[Structs, Body(exclusive=True)]) -> Any: ...

    async with serve(create) as client:
        response = await client.post("/", json=body)
    assert response.json()["errors"] == [{"in": "body", "detail": detail, "pointer": pointer}]


async def test_the_answer_is_problem_details(serve: Serve) -> None:
    async def search(page: Annotated[int, Query(ge=1)]) -> Any: ...

    async with serve(search) as client:
        response = await client.get("/?page=0")
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == 422
    assert problem["title"] and problem["detail"]
    assert problem["errors"] == [
        {"in": "query", "detail": "Input should be greater than or equal to 1", "pointer": "/page"}
    ]


async def test_a_pointer_is_escaped_and_bounded(serve: Serve) -> None:
    async def create(table: Annotated[dict[str, dict[str, int]], Body(exclusive=True)]) -> Any: ...

    async with serve(create) as client:
        assert faults(await client.post("/", json={"a/b~": {"c": "x"}})) == [("body", "/a~1b~0/c")]
        response = await client.post("/", json={"a": {"x" * 10_000: "y"}})
        assert faults(response) == [("body", "/a")]
        response = await client.post("/", json={"a": {str(n): "y" for n in range(10_000)}})
        assert len(faults(response)) == 100


async def test_one_exception_handler_replaces_the_shape(serve: Serve) -> None:
    async def search(page: Annotated[int, Query()]) -> Any: ...

    async def not_valid(exc: RequestValidationError) -> Any:
        return {"wrong": [one["pointer"] for one in exc.errors]}, 400

    async with serve(search, exception_handlers={RequestValidationError: not_valid}) as client:
        response = await client.get("/?page=x")
    assert (response.status_code, response.json()) == (400, {"wrong": ["/page"]})
