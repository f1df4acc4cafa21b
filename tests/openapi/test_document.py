"""The description says what the handlers declare, and is valid by the specification's own schema."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pytest
from openapi_spec_validator import validate

from kui.asgi import (
    Body,
    HttpRoute,
    Kui,
    Part,
    Query,
    RedirectResponse,
    Routes,
    UploadFile,
)
from kui.openapi import OpenAPI, Responses
from kui.testing import AsyncTestClient, check_description

from .shop import app


def described(openapi: Any = "3.1") -> dict[str, Any]:
    made = OpenAPI(title="Shop", version="1.2", openapi=openapi).document(app)
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]  # an object


@pytest.fixture
def paths() -> dict[str, Any]:
    return described()["paths"]  # type: ignore[no-any-return]  # an object


@pytest.mark.parametrize("version", ["3.1", "3.2"])
def test_it_is_valid(version: str) -> None:
    document = described(version)
    assert document["openapi"].startswith(version)
    validate(document)


def test_a_component_is_named_as_its_class_and_is_there_once() -> None:
    schemas = described()["components"]["schemas"]
    assert {"Note", "NotThere", "Size", "Upload", "Count", "Problem"} <= set(schemas)


def test_a_model_is_split_only_where_reading_it_differs_from_writing_it() -> None:
    schemas = described()["components"]["schemas"]
    split = {name for name in schemas if name.endswith(("-Input", "-Output"))}
    assert split == {
        "Item-Input",
        "Item-Output",
    }  # a Decimal may come as a number, and leaves as text
    assert schemas["Item-Input"] != schemas["Item-Output"]


def test_an_operation_has_its_parameters_and_its_answers(paths: dict[str, Any]) -> None:
    read = paths["/items/{id}"]["get"]
    assert (read["operationId"], read["summary"]) == ("read_item", "Read an item.")
    assert read["description"] == "It has a price."
    assert [(one["name"], one["in"], one.get("required")) for one in read["parameters"]] == [
        ("id", "path", True),
        ("x-trace", "header", None),
    ]
    assert set(read["responses"]) == {"200", "404", "422"}
    missing = read["responses"]["404"]["content"]["application/json"]["schema"]
    assert missing == {"$ref": "#/components/schemas/NotThere"}


def test_a_model_of_a_source_is_described_by_its_fields(paths: dict[str, Any]) -> None:
    parameters = {one["name"]: one for one in paths["/items"]["get"]["parameters"]}
    assert set(parameters) == {"page", "tag", "theme"}
    assert parameters["page"]["schema"]["maximum"] == 1000
    assert parameters["theme"]["in"] == "cookie"
    assert parameters["theme"]["schema"]["default"] == "light"


def test_a_body_has_the_media_types_that_are_accepted(paths: dict[str, Any]) -> None:
    assert set(paths["/items"]["post"]["requestBody"]["content"]) == {
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    }
    photos = paths["/photos"]["post"]["requestBody"]["content"]
    assert list(photos) == ["multipart/form-data"]
    schema = photos["multipart/form-data"]["schema"]
    assert schema["properties"]["photo"] == {"type": "string", "format": "binary"}
    assert set(paths["/items"]["post"]["responses"]) >= {"201", "400", "413", "415", "422"}


def test_security_is_all_of_what_is_declared_and_any_of_the_alternatives() -> None:
    document = described()
    assert document["paths"]["/me"]["get"]["security"] == [{"oauth2": ["orders"]}, {"basic": []}]
    keyed = document["paths"]["/keyed"]["get"]["security"]
    assert [set(one) for one in keyed] == [{"key_x_key", "oauth2"}, {"key_x_key", "basic"}]
    schemes = document["components"]["securitySchemes"]
    assert schemes["basic"] == {"type": "http", "scheme": "basic"}
    assert schemes["key_x_key"] == {"type": "apiKey", "in": "header", "name": "x-key"}
    assert schemes["oauth2"]["flows"]["password"]["tokenUrl"] == "/token"
    answers = document["paths"]["/me"]["get"]["responses"]
    assert set(answers) >= {"200", "401", "403"}


def test_each_method_of_a_view_is_an_operation(paths: dict[str, Any]) -> None:
    assert set(paths["/count"]) == {"get", "delete"}
    assert paths["/count"]["delete"]["summary"] == "Forget all."


def test_what_is_hidden_deprecated_or_tagged(paths: dict[str, Any]) -> None:
    assert "/hidden" not in paths
    assert not [path for path in paths if path.startswith("/docs")]
    assert paths["/old"]["get"]["deprecated"] is True
    assert paths["/token"]["post"]["tags"] == ["login"]


def test_a_stream_is_described_by_its_items_since_3_2() -> None:
    assert described("3.1")["paths"]["/ticks"]["get"]["responses"]["200"]["content"] == {
        "text/event-stream": {"schema": {"type": "string"}}
    }
    content = described("3.2")["paths"]["/ticks"]["get"]["responses"]["200"]["content"]
    data = content["text/event-stream"]["itemSchema"]["properties"]["data"]
    assert data == {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": "#/components/schemas/Count"},
    }


def test_json_lines_are_described_by_their_items_since_3_2() -> None:
    content = described("3.1")["paths"]["/rows"]["get"]["responses"]["200"]["content"]
    assert content == {"application/jsonl": {"schema": {"type": "string"}}}
    content = described("3.2")["paths"]["/rows"]["get"]["responses"]["200"]["content"]
    assert content == {"application/jsonl": {"itemSchema": {"$ref": "#/components/schemas/Count"}}}


@pytest.mark.anyio
async def test_json_lines_are_one_text_a_line() -> None:
    async with AsyncTestClient(app) as client:
        answer = await client.get("/rows")
        assert answer.headers["content-type"] == "application/jsonl"
        assert answer.text == '{"count":0}\n{"count":1}\n{"count":2}\n'


def test_what_a_middleware_answers_by_itself_is_described() -> None:
    def gate(endpoint: Any) -> Annotated[Any, Responses({402: "Pay first."})]:
        return endpoint

    async def show() -> str:
        return ""

    made = OpenAPI(title="x").document(
        Kui(routes=[HttpRoute("/", show, methods=["GET"], middlewares=[gate])])
    )
    answers = made["paths"]["/"]["get"]["responses"]
    assert answers["402"]["description"] == "Pay first."
    assert set(answers) == {"200", "402"}


def test_groups_are_tags_and_ids_stay_unique() -> None:
    async def show() -> str:
        return ""

    cups = Routes(HttpRoute("/{id}", show, methods=["GET"]), namespace="cups")
    pots = Routes(HttpRoute("/{id}", show, methods=["GET", "POST"]), namespace="pots")
    made = OpenAPI(title="x").document(Kui(routes=["/cups" // cups, "/pots" // pots]))
    assert made["paths"]["/cups/{id}"]["get"]["tags"] == ["cups"]
    identifiers = [
        operation["operationId"] for path in made["paths"].values() for operation in path.values()
    ]
    assert identifiers == ["cups_show", "pots_show_get", "pots_show_post"]


def test_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3\.1"):
        OpenAPI(title="x", openapi="2.0")  # type: ignore[arg-type]  # what is tested


@pytest.mark.anyio
async def test_it_is_served_with_a_strict_policy_and_made_once() -> None:
    async with AsyncTestClient(app) as client:
        first = await client.get("/docs/openapi.json")
        assert first.json()["info"]["title"] == "Shop"
        assert first.headers["content-type"] == "application/json"
        page = await client.get("/docs")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        size = len(page.content)
        for name in ("page.css", "page.js"):
            answer = await client.get(f"/docs/{name}")
            assert answer.status_code == 200
            size += len(answer.content)
        assert size < 50_000
        assert (await client.get("/docs/__init__.py")).status_code == 404
        assert (await client.get("/docs/page.html")).status_code == 404


@pytest.mark.anyio
async def test_a_mounted_app_is_described_below_its_prefix() -> None:
    from kui.asgi import Mount

    async with AsyncTestClient(Kui(routes=[Mount("/shop", app)])) as client:
        document = (await client.get("/shop/docs/openapi.json")).json()
        assert document["servers"] == [{"url": "/shop"}]
        assert 'data-base="/shop/docs/"' in (await client.get("/shop/docs")).text


@pytest.mark.anyio
async def test_another_page_is_redirected_to() -> None:
    openapi = OpenAPI(title="x", page="https://docs.example/scalar.html")
    async with AsyncTestClient(Kui(openapi=openapi)) as client:
        answer = await client.get("/docs")
        assert answer.headers["location"] == (
            "https://docs.example/scalar.html?url=/docs/openapi.json"
        )


def test_the_command_writes_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kui", "openapi", "tests.openapi.shop:app"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["info"] == {
        "title": "Shop",
        "version": "1.2",
        "description": "Tea, and how much of it.",
    }


def test_an_app_without_a_description_is_told_what_to_write() -> None:
    command = [sys.executable, "-m", "kui", "openapi", "examples.layout:app"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 1
    assert "Kui(openapi=OpenAPI(title=" in done.stderr


def test_a_struct_is_a_component() -> None:
    assert described()["components"]["schemas"]["Size"]["required"] == ["width"]


def test_a_description_is_compared_with_a_file(tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    assert app.openapi is not None
    document = app.openapi.document(app)
    file.write_text(json.dumps(document))
    check_description(app, file)
    document["paths"]["/me"]["get"]["deprecated"] = True
    file.write_text(json.dumps(document, indent=2))
    with pytest.raises(AssertionError, match=r'-\s+"deprecated": true'):
        check_description(app, file)
    with pytest.raises(TypeError, match=r"Kui\(openapi="):
        check_description(Kui(), file)


def document_of(*handlers: Any) -> dict[str, Any]:
    routes = [HttpRoute(f"/{one.__name__}", one, methods=["POST"]) for one in handlers]
    document = json.loads(json.dumps(OpenAPI(title="x").document(Kui(routes=routes))))
    validate(document)
    return {path[1:]: item["post"] for path, item in document["paths"].items()}


def test_a_field_of_a_body_has_its_words_and_a_whole_body_too() -> None:
    async def fields(
        size: Annotated[int, Body(ge=1, description="in cm", deprecated=True, examples=[3])],
        day: Annotated[date, Body(examples=[date(2026, 12, 1), object()])],
        photos: Annotated[list[UploadFile], Body(description="up to ten")],
    ) -> None: ...
    async def raw(
        body: Annotated[bytes, Body(exclusive=True, description="a picture")],
    ) -> None: ...
    async def stream(
        body: Annotated[AsyncIterable[bytes], Body(exclusive=True, media_type="image/png")],
    ) -> None: ...
    async def parts(
        body: Annotated[AsyncIterable[Part], Body(exclusive=True, description="files")],
    ) -> None: ...
    async def after(
        title: Annotated[str, Body()], body: Annotated[AsyncIterable[Part], Body()]
    ) -> None: ...

    file = {"type": "string", "format": "binary"}
    found = {
        name: one["requestBody"]
        for name, one in document_of(fields, raw, stream, parts, after).items()
    }
    (form,) = found["fields"]["content"].values()
    assert form["schema"]["properties"] == {
        "size": {
            "type": "integer",
            "minimum": 1,
            "description": "in cm",
            "deprecated": True,
            "examples": [3],
        },
        "day": {"type": "string", "format": "date", "examples": ["2026-12-01"]},
        "photos": {"type": "array", "items": file, "description": "up to ten"},
    }
    assert found["raw"] == {
        "content": {"application/octet-stream": {"schema": file}},
        "required": True,
        "description": "a picture",
    }
    assert found["stream"]["content"] == {"image/png": {"schema": file}}
    assert found["parts"]["description"] == "files"
    schema = found["parts"]["content"]["multipart/form-data"]["schema"]
    assert schema == {"type": "object", "additionalProperties": file}
    schema = found["after"]["content"]["multipart/form-data"]["schema"]
    assert schema["properties"]["body"] == {"type": "array", "items": file}


def test_a_redirect_is_no_success() -> None:
    async def always() -> RedirectResponse: ...
    async def perhaps() -> dict[str, int] | RedirectResponse: ...
    async def said() -> Annotated[RedirectResponse, Responses({303: "See the new one."})]: ...

    responses = {name: one["responses"] for name, one in document_of(always, perhaps, said).items()}
    assert responses["always"] == {"3XX": {"description": "Redirection"}}
    assert set(responses["perhaps"]) == {"200", "3XX"}
    assert list(responses["perhaps"]["200"]["content"]) == ["application/json"]
    assert responses["said"]["303"]["description"] == "See the new one."
    assert "200" not in responses["said"] and "3XX" not in responses["said"]


def test_what_a_parameter_s_marker_says_is_described() -> None:
    async def search(
        q: Annotated[str, Query(description="a word", deprecated=True, examples=["tea", "milk"])],
        other: Annotated[Any, Query()] = object(),  # noqa: B008 - any object
    ) -> None: ...

    q, other = document_of(search)["search"]["parameters"]
    assert q == {
        "name": "q",
        "in": "query",
        "required": True,
        "description": "a word",
        "deprecated": True,
        "examples": {"example 1": {"value": "tea"}, "example 2": {"value": "milk"}},
        "schema": {"type": "string"},
    }
    assert other == {"name": "other", "in": "query", "schema": {}}  # its default is not JSON
