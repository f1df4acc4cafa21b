"""Whatever a handler can declare is described, and as it is read."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from datetime import date
from typing import Annotated, Any

import pytest
from openapi_spec_validator import validate
from pydantic import BaseModel

from kui.asgi import Body, Kui, Part, Query, UploadFile
from kui.openapi import OpenAPI


class Filters(BaseModel):
    size: int
    colour: str = ""


class Paging(BaseModel):
    size: int
    page: int


class Tree(BaseModel):
    name: str = ""
    parent: Tree | None = None


def operation_of(handler: Callable[..., Any]) -> dict[str, Any]:
    """The description of a POST of this handler, in a description that is valid."""
    app = Kui()
    app.post("/")(handler)
    document = OpenAPI(title="x").document(app)
    validate(document)
    return document["paths"]["/"]["post"]  # type: ignore[no-any-return]  # an object


def parameters_of(handler: Callable[..., Any]) -> dict[str, Any]:
    return {one["name"]: one for one in operation_of(handler)["parameters"]}


@pytest.mark.parametrize("default", [float("inf"), 10**5000], ids=["infinity", "long"])
def test_a_default_that_json_does_not_have_is_left_out(default: Any) -> None:
    async def find(most: Annotated[float, Query()] = default) -> str:
        return ""

    assert parameters_of(find)["most"]["schema"] == {"type": "number"}


def test_examples_are_written_as_json_has_them() -> None:
    days = [date(2026, 11, 30), object()]

    async def find(day: Annotated[date, Query(examples=days)]) -> str:
        return ""

    assert parameters_of(find)["day"]["examples"] == {"example 1": {"value": "2026-11-30"}}


def test_a_model_of_a_source_that_may_be_absent_is_described_by_its_fields() -> None:
    async def find(filters: Annotated[Filters | None, Query(exclusive=True)] = None) -> str:
        return ""

    found = parameters_of(find)
    assert set(found) == {"size", "colour"}
    assert not any("required" in one for one in found.values())


def test_of_several_models_of_a_source_the_fields_of_all_are_described() -> None:
    async def find(given: Annotated[Filters | Paging, Query(exclusive=True)]) -> str:
        return ""

    found = parameters_of(find)
    assert set(found) == {"size", "colour", "page"}
    assert {name for name, one in found.items() if one.get("required")} == {"size"}


def test_a_model_of_a_source_that_refers_to_itself_is_a_component() -> None:
    async def find(tree: Annotated[Tree, Query(exclusive=True)]) -> str:
        return ""

    assert set(parameters_of(find)) == {"name", "parent"}


async def _part(file: Annotated[AsyncIterable[bytes], Body()]) -> str:
    return ""


async def _parts(file: Annotated[AsyncIterator[Part], Body()]) -> str:
    return ""


async def _files(file: Annotated[tuple[UploadFile, UploadFile], Body()]) -> str:
    return ""


async def _form(file: Annotated[dict[str, UploadFile], Body(exclusive=True)]) -> str:
    return ""


@pytest.mark.parametrize("handler", [_part, _parts, _files, _form])
def test_files_are_described_as_a_multipart_form(handler: Any) -> None:
    assert set(operation_of(handler)["requestBody"]["content"]) == {"multipart/form-data"}


async def _bytes(body: Annotated[bytes | None, Body(exclusive=True)] = None) -> str:
    return ""


async def _chunks(body: Annotated[AsyncIterator[bytes] | None, Body(exclusive=True)]) -> str:
    return ""


@pytest.mark.parametrize("handler", [_bytes, _chunks])
def test_a_body_of_bytes_is_described_as_such(handler: Any) -> None:
    content = operation_of(handler)["requestBody"]["content"]
    assert content == {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
    }


def test_what_an_awaitable_gives_is_described() -> None:
    def find() -> Awaitable[Filters]:
        raise NotImplementedError

    content = operation_of(find)["responses"]["200"]["content"]
    assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/Filters"}}}
