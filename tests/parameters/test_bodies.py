"""Declared parts of a body: JSON and forms by the content type, files, streams; what is refused, and how."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest
from pydantic import MISSING, BaseModel, ConfigDict, FiniteFloat
from typing_extensions import TypedDict

from kui.asgi import Body, Depends, Part, UploadFile, request

from .conftest import Serve, faults

pytestmark = pytest.mark.anyio


class Model(BaseModel):
    name: str
    price: float
    tags: list[str] = []


@dataclass
class Plain:
    name: str
    price: float
    tags: list[str] | None = None


class Typed(TypedDict):
    name: str
    price: float


class Structured(msgspec.Struct):
    name: str
    price: float
    tags: list[str] = []


MODELS = [Model, Plain, Typed, Structured]


def told(item: Any) -> Any:
    return [item["name"], item["price"]] if isinstance(item, dict) else [item.name, item.price]


@pytest.mark.parametrize("model", MODELS)
async def test_the_whole_body_is_a_model_of_json_or_of_a_form(serve: Serve, model: Any) -> None:
    async def create(item: Annotated[model, Body(exclusive=True)]) -> Any:
        return told(item)

    async with serve(create) as client:
        item = {"name": "a", "price": 1.5}
        assert (await client.post("/", json=item)).json() == ["a", 1.5]
        assert (await client.post("/", data=item)).json() == ["a", 1.5]
        parts = {name: (None, str(value)) for name, value in item.items()}
        assert (await client.post("/", files=parts)).json() == ["a", 1.5]
        assert faults(await client.post("/", json={"name": "a"})) == [("body", "/price")]
        assert faults(await client.post("/", data={"name": "a", "price": "x"})) == [
            ("body", "/price")
        ]
        assert faults(await client.post("/", json=[1]))[0] == ("body", "")


@pytest.mark.parametrize("model", MODELS)
async def test_broken_json_is_400_and_another_content_type_415(serve: Serve, model: Any) -> None:
    async def create(item: Annotated[model, Body(exclusive=True)]) -> Any: ...

    async with serve(create) as client:
        json = {"content-type": "application/json"}
        numbers = (b'{"name": "a", "price": %s}' % number for number in (b"NaN", b"-Infinity"))
        for broken in (b"{", b"\xff", b"[" * 100_000, *numbers):
            response = await client.post("/", content=broken, headers=json)
            assert response.status_code == 400, broken
        response = await client.post("/", content=b"a", headers={"content-type": "text/plain"})
        assert response.status_code == 415
        assert "application/json" in response.headers["accept"]
        assert (await client.post("/", content=b"{}")).status_code == 415


class Finite(BaseModel):
    name: str
    price: FiniteFloat


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 400 + b".0"])
async def test_a_number_too_large_is_refused_by_a_struct_and_where_a_finite_one_is_declared(
    serve: Serve, number: bytes
) -> None:
    async def create(item: Annotated[Structured, Body(exclusive=True)]) -> Any: ...

    async def create_finite(item: Annotated[Finite, Body(exclusive=True)]) -> Any: ...

    body = b'{"name": "a", "price": %b}' % number
    json = {"content-type": "application/json"}
    async with serve(create) as client:
        response = await client.post("/", content=body, headers=json)
        assert (response.status_code, "infinite number" in response.text) == (400, True)
    async with serve(create_finite) as client:
        response = await client.post("/", content=body, headers=json)
        assert faults(response) == [("body", "/price")]


@pytest.mark.parametrize("model", [Model, Plain, Typed])
async def test_pydantic_takes_a_number_too_large_for_an_infinity(serve: Serve, model: Any) -> None:
    async def create(item: Annotated[model, Body(exclusive=True)]) -> Any:
        return str(told(item)[1])

    async with serve(create) as client:
        for number in ("1e999", '"inf"'):
            body = f'{{"name": "a", "price": {number}}}'
            json = {"content-type": "application/json"}
            assert (await client.post("/", content=body, headers=json)).text == "inf"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("charset", ["utf-16", "utf-8-sig", "latin-1"])
async def test_json_may_be_in_another_charset(serve: Serve, model: Any, charset: str) -> None:
    async def create(item: Annotated[model, Body(exclusive=True)]) -> Any:
        return told(item)

    async with serve(create) as client:
        body = '{"name": "é", "price": 1}'.encode(charset)
        kind = "application/json" + ("; charset=latin-1" if charset == "latin-1" else "")
        response = await client.post("/", content=body, headers={"content-type": kind})
        assert response.json() == ["é", 1]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["name", "price"])
async def test_a_lone_surrogate_is_no_text(serve: Serve, model: Any, name: str) -> None:
    async def create(item: Annotated[model, Body(exclusive=True)]) -> Any: ...

    async with serve(create) as client:
        body = b'{"name": "a", "price": 1, "%b": "\\ud800"}' % name.encode()
        json = {"content-type": "application/json"}
        assert (await client.post("/", content=body, headers=json)).status_code == 400


async def test_single_fields_are_those_of_an_object_or_a_form(serve: Serve) -> None:
    async def create(
        name: Annotated[str, Body(min_length=1)],
        price: Annotated[float, Body(gt=0)] = 1,
        tags: Annotated[list[str], Body()] = [],  # noqa: B006 - never changed
        owner: Annotated[Model | None, Body()] = None,
    ) -> Any:
        return [name, price, tags, owner.name if owner else None]

    async with serve(create) as client:
        assert (await client.post("/", json={"name": "a"})).json() == ["a", 1, [], None]
        body = {"name": "a", "tags": ["x", "y"], "owner": {"name": "o", "price": 1}}
        assert (await client.post("/", json=body)).json() == ["a", 1, ["x", "y"], "o"]
        response = await client.post("/", data={"name": "a", "price": "2", "tags": ["x", "y"]})
        assert response.json() == ["a", 2, ["x", "y"], None]
        response = await client.post("/", json={"name": "", "price": -1, "owner": {"name": 1}})
        assert faults(response) == [
            ("body", "/name"),
            ("body", "/price"),
            ("body", "/owner/name"),
            ("body", "/owner/price"),
        ]


class Filed(BaseModel):
    photo: UploadFile | None = None


async def test_a_file_that_was_not_chosen_is_absent(serve: Serve) -> None:
    async def create(
        photo: Annotated[UploadFile | None, Body()] = None,
        more: Annotated[list[UploadFile], Body()] = [],  # noqa: B006 - never changed
        raw: Annotated[bytes, Body()] = b"none",
        whole: Annotated[Filed | None, Body(exclusive=True)] = None,
    ) -> Any:
        return [photo and photo.filename, len(more), raw.decode(), whole and whole.photo]

    async def needs(photo: Annotated[UploadFile, Body()]) -> Any: ...

    async def whole(whole: Annotated[Filed, Body(exclusive=True)]) -> Any:
        return "absent" if whole.photo is None else "sent"

    def part(name: str, filename: str = "", content: str = "") -> str:
        return f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n{content}\r\n'

    form = {"content-type": "multipart/form-data; boundary=x"}
    none = "".join(map(part, ("photo", "more", "raw"))) + "--x--"
    async with serve(create) as client:
        assert (await client.post("/", content=none, headers=form)).json() == [
            None,
            0,
            "none",
            None,
        ]
    async with serve(needs) as client:
        assert faults(await client.post("/", content=none, headers=form)) == [("body", "/photo")]
    async with serve(whole) as client:
        assert (await client.post("/", content=none, headers=form)).text == "absent"
        for file in (part("photo", "empty.txt"), part("photo", content="without a name")):
            assert (await client.post("/", content=f"{file}--x--", headers=form)).text == "sent"


async def test_a_body_is_shared_by_a_handler_and_its_dependencies(serve: Serve) -> None:
    async def owner(owner: Annotated[str, Body()]) -> str:
        return owner

    async def create(
        owner: Annotated[str, Depends(owner)],
        whole: Annotated[dict[str, Any], Body(exclusive=True)],
        name: Annotated[str, Body()],
    ) -> Any:
        return [owner, name, whole]

    async with serve(create) as client:
        body = {"owner": "o", "name": "n"}
        assert (await client.post("/", json=body)).json() == ["o", "n", body]


async def test_an_absent_body_takes_the_defaults(serve: Serve) -> None:
    async def create(
        item: Annotated[Model | None, Body(exclusive=True)] = None,
        name: Annotated[str, Body()] = "-",
    ) -> Any:
        return [item is None, name]

    async def needed(item: Annotated[Model, Body(exclusive=True)]) -> Any: ...

    async with serve(create) as client:
        assert (await client.post("/")).json() == [True, "-"]
    async with serve(needed) as client:
        assert faults(await client.post("/")) == [("body", "")]


async def test_null_is_told_from_absent(serve: Serve) -> None:
    class Patch(BaseModel):
        nick: str | MISSING | None = MISSING  # type: ignore[valid-type]

    class PatchStruct(msgspec.Struct):
        nick: str | msgspec.UnsetType | None = msgspec.UNSET

    async def patch(
        one: Annotated[Patch, Body(exclusive=True)],
        other: Annotated[PatchStruct, Body(exclusive=True)],
        nick: Annotated[str | None, Body()] = "absent",
    ) -> Any:
        return [repr(one.nick), repr(other.nick), nick]

    async with serve(patch) as client:
        assert (await client.patch("/", json={})).json() == ["MISSING", "UNSET", "absent"]
        assert (await client.patch("/", json={"nick": None})).json() == ["None", "None", None]
        assert (await client.patch("/", json={"nick": "a"})).json() == ["'a'", "'a'", "a"]


async def test_a_media_type_that_is_wanted_is_the_only_one(serve: Serve) -> None:
    async def create(
        item: Annotated[Model, Body(exclusive=True, media_type="application/vnd.api+json")],
    ) -> Any:
        return told(item)

    async with serve(create) as client:
        body = b'{"name": "a", "price": 1}'
        for kind, status in [("application/vnd.api+json", 200), ("application/json", 415)]:
            response = await client.post("/", content=body, headers={"content-type": kind})
            assert response.status_code == status


async def test_files_of_a_form(serve: Serve) -> None:
    async def upload(
        title: Annotated[str, Body()],
        photo: Annotated[UploadFile, Body()],
        more: Annotated[list[UploadFile], Body()] = [],  # noqa: B006 - never changed
        note: Annotated[bytes, Body()] = b"",
    ) -> Any:
        return [
            title,
            photo.filename,
            len(await photo.aread()),
            [one.filename for one in more],
            note.decode(),
        ]

    async with serve(upload) as client:
        files = [
            ("photo", ("p.jpg", b"x" * 10)),
            ("more", ("a", b"")),
            ("more", ("b", b"")),
            ("note", ("n.txt", b"hello")),
        ]
        response = await client.post("/", data={"title": "t"}, files=files)
        assert response.json() == ["t", "p.jpg", 10, ["a", "b"], "hello"]
        response = await client.post(
            "/", data={"title": "t", "photo": "text"}, files=[("x", ("x", b""))]
        )
        assert faults(response) == [("body", "/photo")]
        assert (await client.post("/", json={"title": "t"})).status_code == 415


async def test_a_model_may_hold_files(serve: Serve) -> None:
    class Upload(BaseModel):
        title: str
        photos: list[UploadFile]

    async def upload(form: Annotated[Upload, Body(exclusive=True)]) -> Any:
        return [form.title, [one.filename for one in form.photos]]

    async with serve(upload) as client:
        files = [("photos", ("a", b"")), ("photos", ("b", b""))]
        response = await client.post("/", data={"title": "t"}, files=files)
        assert response.json() == ["t", ["a", "b"]]


async def test_a_body_as_it_was_sent(serve: Serve) -> None:
    async def whole(data: Annotated[bytes, Body(exclusive=True)]) -> Any:
        return data

    async def stream(data: Annotated[AsyncIterable[bytes], Body(exclusive=True)]) -> Any:
        return b"".join([chunk async for chunk in data])

    async def image(data: Annotated[bytes, Body(exclusive=True, media_type="image/png")]) -> Any:
        return data

    async def perhaps(
        data: Annotated[AsyncIterable[bytes] | None, Body(exclusive=True)] = None,
    ) -> Any:
        return b"none" if data is None else b"".join([chunk async for chunk in data])

    for handler in (whole, stream, perhaps):
        async with serve(handler) as client:
            assert (await client.post("/", content=b"abc")).content == b"abc"
    async with serve(perhaps) as client:
        assert (await client.post("/")).content == b"none"
    async with serve(image) as client:
        assert (await client.post("/", content=b"abc")).status_code == 415
        headers = {"content-type": "image/png"}
        assert (await client.post("/", content=b"abc", headers=headers)).content == b"abc"


def form(*parts: tuple[str, str | None, str]) -> dict[str, Any]:
    lines = []
    for name, filename, content in parts:
        file = "" if filename is None else f'; filename="{filename}"'
        lines.append(
            f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{content}\r\n'
        )
    body = "".join(lines) + "--b--\r\n"
    return {
        "content": body.encode(),
        "headers": {"content-type": "multipart/form-data; boundary=b"},
    }


async def test_the_parts_of_a_form_arrive_behind_the_fields(serve: Serve) -> None:
    async def upload(
        title: Annotated[str, Body()],
        files: Annotated[AsyncIterable[Part], Body()],
        size: Annotated[int, Body()] = 0,
    ) -> Any:
        return [title, size, [(part.name, await part.text()) async for part in files]]

    async with serve(upload) as client:
        response = await client.post(
            "/", **form(("title", None, "t"), ("a", "a", "1"), ("b", "b", "2"))
        )
        assert response.json() == ["t", 0, [["a", "1"], ["b", "2"]]]
        assert (await client.post("/", **form(("title", None, "t")))).json() == ["t", 0, []]
        # A field that is required must be there when the files begin, and no field comes behind them.
        assert faults(await client.post("/", **form(("a", "a", "1"), ("title", None, "t")))) == [
            ("body", "/title")
        ]
        response = await client.post(
            "/", **form(("title", None, "t"), ("a", "a", "1"), ("size", None, "2"))
        )
        assert faults(response) == [("body", "/size")]
        response = await client.post(
            "/", **form(("title", None, "t"), ("size", None, "x"), ("a", "a", "1"))
        )
        assert faults(response) == [("body", "/size")]


async def test_one_file_may_be_read_as_it_arrives(serve: Serve) -> None:
    async def upload(
        title: Annotated[str, Body()], photo: Annotated[AsyncIterable[bytes], Body()]
    ) -> Any:
        return [title, b"".join([chunk async for chunk in photo]).decode()]

    async with serve(upload) as client:
        assert (
            await client.post("/", **form(("title", None, "t"), ("photo", "p", "123")))
        ).json() == ["t", "123"]
        assert faults(await client.post("/", **form(("title", None, "t")))) == [("body", "/photo")]
        response = await client.post(
            "/", **form(("title", None, "t"), ("photo", "p", "1"), ("title", None, "u"))
        )
        assert faults(response) == [("body", "/title")]


async def test_a_request_asks_for_its_body_as_a_model(serve: Serve) -> None:
    async def json() -> Any:
        return [told(one) for one in await request.json_as(list[Model])]

    async def urlencoded() -> Any:
        return told(await request.form_as(Structured))

    async with serve(json) as client:
        assert (await client.post("/", json=[{"name": "a", "price": 1}])).json() == [["a", 1]]
        assert faults(await client.post("/", json=[{"name": "a"}])) == [("body", "/0/price")]
        assert (await client.post("/", content=b"")).status_code == 415
    async with serve(urlencoded) as client:
        assert (await client.post("/", data={"name": "a", "price": "1"})).json() == ["a", 1]
        assert faults(await client.post("/", data={"name": "a"})) == [("body", "/price")]


async def test_a_strict_model_takes_json_s_own_forms(serve: Serve) -> None:
    from datetime import date

    class Strict(BaseModel):
        model_config = ConfigDict(strict=True)
        day: date

    async def create(item: Annotated[Strict, Body(exclusive=True)]) -> Any:
        return str(item.day)

    async with serve(create) as client:
        assert (await client.post("/", json={"day": "2026-11-30"})).text == "2026-11-30"
        assert faults(await client.post("/", json={"day": 5})) == [("body", "/day")]
