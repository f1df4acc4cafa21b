"""The data of a stream's events is written by its declared type, and a test is told what does not fit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from kui.asgi import Event, JSONLinesResponse, Kui, ServerSentEvent
from kui.testing import AsyncTestClient

from .conftest import Serve

pytestmark = pytest.mark.anyio


class Public(BaseModel):
    name: str


class User(Public):
    password: str


class Publics(BaseModel):
    users: list[Public]


class PublicStruct(msgspec.Struct):
    name: str


class UserStruct(PublicStruct):
    password: str


user: Any = User(name="ada", password="secret")
app = Kui()


@app.get("/events")
async def events() -> AsyncIterator[Event[Public]]:
    yield {"id": 7, "event": "user", "data": user}
    yield {"comment": "quiet"}  # type: ignore[typeddict-item]  # an event without data


@app.get("/models")
async def models() -> AsyncIterator[Public]:
    yield user


@app.get("/plain")
def plain() -> Iterator[Event[Public]]:
    yield {"data": user}


@app.get("/structs")
async def structs() -> AsyncIterator[Event[PublicStruct]]:
    yield {"data": UserStruct("ada", "secret")}


@app.get("/several")
async def several() -> AsyncIterator[Event[Public] | Event[Publics]]:
    yield {"data": user}
    yield {"data": Publics(users=[user])}


@app.get("/untyped")
async def untyped() -> AsyncIterator[ServerSentEvent]:
    yield {"data": "text"}


@app.get("/wrong")
async def wrong() -> AsyncIterator[Event[Public]]:
    yield {"data": {"title": "no name"}}  # type: ignore[typeddict-item]  # what is tested


@pytest.mark.parametrize("path", ["/events", "/models", "/plain", "/several", "/structs"])
async def test_an_undeclared_field_never_leaves(path: str) -> None:
    async with AsyncTestClient(app) as client:
        text = (await client.get(path)).text
        assert 'data: {"name":"ada"}\n' in text
        assert "secret" not in text


async def test_a_stream_that_is_returned_with_a_status_has_the_declared_fields_only(
    serve: Serve,
) -> None:
    async def refuse() -> Any:
        return models(), 404, {"x-a": "b"}

    refuse.__annotations__["return"] = AsyncIterator[Public]
    async with serve(refuse) as client:
        response = await client.get("/")
    assert (response.status_code, response.headers["x-a"]) == (404, "b")
    assert response.text == 'data: {"name":"ada"}\n\n'


async def test_what_is_no_stream_is_not_sent_for_one(serve: Serve) -> None:
    async def one() -> AsyncIterator[Public]:
        return user  # type: ignore[no-any-return]  # what is tested

    async def with_status() -> AsyncIterator[Public]:
        return user, 404  # type: ignore[return-value]  # what is tested

    for handler in one, with_status:
        async with serve(handler) as client:
            with pytest.raises(TypeError, match="is declared to return a stream"):
                await client.get("/")


async def test_a_stream_is_not_sent_for_a_model(serve: Serve) -> None:
    async def one() -> Public:
        return events()  # type: ignore[return-value]  # what is tested

    async def with_status() -> tuple[Public, int]:
        return events(), 404  # type: ignore[return-value]  # what is tested

    for handler in one, with_status:
        async with serve(handler) as client:
            with pytest.raises(TypeError, match="is declared to return no stream"):
                await client.get("/")


async def test_json_lines_have_the_declared_fields_only(serve: Serve) -> None:
    async def rows() -> JSONLinesResponse[Public]:
        return JSONLinesResponse([user, user])

    async def with_status() -> Any:
        return JSONLinesResponse([user, user]), 200

    with_status.__annotations__["return"] = JSONLinesResponse[Public]
    for handler in rows, with_status:
        async with serve(handler) as client:
            assert (await client.get("/")).text == '{"name":"ada"}\n' * 2


async def test_what_is_no_json_lines_is_not_sent_for_them(serve: Serve) -> None:
    async def rows() -> JSONLinesResponse[Public]:
        return [user]  # type: ignore[return-value]  # what is tested

    async with serve(rows) as client:
        with pytest.raises(TypeError, match="is declared to return JSON lines"):
            await client.get("/")


async def test_the_other_fields_of_an_event_stay() -> None:
    async with AsyncTestClient(app) as client, client.events("/events") as stream:
        event = await stream.receive()
        assert (event.id, event.event, event.json()) == ("7", "user", {"name": "ada"})


async def test_an_event_without_a_type_is_as_before() -> None:
    async with AsyncTestClient(app) as client:
        assert (await client.get("/untyped")).text == "data: text\n\n"


async def test_a_test_is_told_of_data_that_does_not_fit() -> None:
    with pytest.raises(Exception, match="name"):
        async with AsyncTestClient(app) as client:
            await client.get("/wrong")
