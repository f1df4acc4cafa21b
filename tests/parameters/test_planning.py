"""What a declaration means, and what its author is told if it cannot work."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest
from pydantic import BaseModel, BeforeValidator, Field, Json, RootModel

from kui.asgi import (
    Body,
    Cookie,
    Depends,
    Header,
    HttpRoute,
    HttpView,
    Kui,
    Path,
    Query,
    Routes,
    Security,
    SocketRoute,
    UploadFile,
    task_group,
)
from kui.parameters import NO_DEFAULT, Plan
from kui.testing import AsyncTestClient

if TYPE_CHECKING:
    from nowhere import Unknown


class Model(BaseModel):
    a: int


class Struct(msgspec.Struct):
    a: int


async def session() -> AsyncIterator[str]:
    yield "session"


async def sent(session: Annotated[str, Depends(session)]) -> AsyncIterator[str]:
    yield "sent"


async def shared() -> AsyncIterator[str]:
    yield "shared"


async def of_request(a: Annotated[int, Query()]) -> int:
    return a


async def reads(a: Annotated[int, Body()]) -> int:
    return a


def plan_of(handler: Any, path: str = "/") -> Plan:
    app = Kui(routes=HttpRoute(path, handler))
    (route,) = app.router
    return app.router.plans(route)[None]


def test_a_plan_tells_all_that_is_declared() -> None:
    async def user(token: Annotated[str, Header(alias="X-Token")]) -> str:
        return token

    async def show(
        id: int,
        user: Annotated[str, Security(user, scopes=["read"])],
        session: Annotated[str, Depends(session)],
        page: Annotated[int, Query(ge=1, description="which page", examples=[2])] = 1,
        item: Annotated[Model | None, Body(exclusive=True)] = None,
    ) -> Model: ...

    plan = plan_of(show, "/{id:int}/{other}")
    assert plan.path == ("id", "other")
    assert [(one.source, one.alias, one.required, one.default) for one in plan.parameters] == [
        ("path", "id", True, NO_DEFAULT),
        ("query", "page", False, 1),
        ("body", "", False, None),
        ("header", "x-token", True, NO_DEFAULT),
    ]
    page = plan.of("query")[0]
    assert (page.annotation, page.marker.description, page.marker.examples) == (
        int,
        "which page",
        (2,),
    )
    assert plan.body[0].exclusive
    assert [one.declared for one in plan.dependencies] == [user, globals()["session"]]
    assert plan.security[0].marker.scopes == ("read",)  # type: ignore[attr-defined]
    assert plan.security[0].parameters[0].owner is user
    assert plan.returns is Model


def test_a_handler_that_declares_nothing_has_a_plan_for_the_description() -> None:
    async def show(name: str = "world") -> str:
        return name

    assert plan_of(show).parameters == ()
    assert plan_of(show).returns is str
    assert [one.name for one in plan_of(show, "/{name}").parameters] == ["name"]


def test_each_method_of_a_view_has_a_plan() -> None:
    class Item(HttpView):
        async def get(self, id: int) -> str:
            return "a"

        @staticmethod
        async def put(id: int, a: Annotated[int, Query()]) -> str:
            return "a"

        async def delete(self) -> str:
            return "a"

    app = Kui(routes=HttpRoute("/{id:int}", Item))
    (route,) = app.router
    plans = app.router.plans(route)
    assert {name: [one.name for one in plan.parameters] for name, plan in plans.items()} == {
        "GET": ["id"],
        "PUT": ["id", "a"],
        "DELETE": [],
    }


def test_routes_are_planned_where_they_join_a_router() -> None:
    routes = Routes()

    @routes.http.get("/items")
    async def items(shop: str) -> str:
        return shop

    app = Kui(routes="/{shop}" // routes)  # the path is complete here, and not before
    (route,) = app.router
    assert app.router.plans(route)[None].path == ("shop",)


def mark_as_default(a: int = Query()) -> None: ...  # type: ignore[assignment]
def marker_class(a: Annotated[int, Query]) -> None: ...
def two_markers(a: Annotated[int, Query(), Header()]) -> None: ...
def marker_inside(a: Annotated[int, Query()] | None) -> None: ...
def default_in_type(a: Annotated[int, Field(default=1), Query()]) -> None: ...
def model_not_exclusive(a: Annotated[Model, Query()]) -> None: ...
def list_of_models(a: Annotated[list[Model], Header()]) -> None: ...
def mapping(a: Annotated[dict[str, int] | None, Query()] = None) -> None: ...
def file_of_query(a: Annotated[UploadFile, Query()]) -> None: ...
def file_as_body(a: Annotated[UploadFile, Body(exclusive=True)]) -> None: ...
def files_as_body(a: Annotated[list[UploadFile], Body(exclusive=True)]) -> None: ...
def number_as_query(a: Annotated[int | None, Query(exclusive=True)] = None) -> None: ...
def list_as_headers(a: Annotated[list[Model], Header(exclusive=True)]) -> None: ...
def struct_not_exclusive(a: Annotated[Struct, Body()]) -> None: ...
def not_in_path(a: Annotated[int, Path()]) -> None: ...
def default_of_dependency(a: Annotated[str, Depends(session)] = "a") -> None: ...
def unknown_type(a: Annotated[partial, Query()]) -> None: ...
def two_media_types(
    a: Annotated[bytes, Body(media_type="a/b")], b: Annotated[bytes, Body(media_type="a/c")]
) -> None: ...
def model_of_png(a: Annotated[Model, Body(exclusive=True, media_type="image/png")]) -> None: ...
def two_streams(
    a: Annotated[AsyncIterable[bytes], Body()], b: Annotated[AsyncIterable[bytes], Body()]
) -> None: ...
def file_beside_stream(
    a: Annotated[AsyncIterable[bytes], Body()], b: Annotated[UploadFile, Body()]
) -> None: ...
def stream_and_more(
    a: Annotated[AsyncIterable[bytes], Body(exclusive=True)], b: Annotated[int, Body()]
) -> None: ...
def stream_of_int(a: Annotated[AsyncIterable[int], Body()]) -> None: ...
def stream_of_anything(a: Annotated[AsyncIterable, Body()]) -> None: ...  # type: ignore[type-arg]
def shorter(a: Annotated[str, Depends(sent, until="sent")]) -> None: ...
def two_ends(
    a: Annotated[str, Depends(session)], b: Annotated[str, Depends(session, until="sent")]
) -> None: ...
def app_of_request(a: Annotated[int, Depends(of_request, scope="app")]) -> None: ...
def app_group(a: Annotated[Any, Depends(task_group, scope="app")]) -> None: ...
async def threaded(a: Annotated[str, Depends(session, thread=True)]) -> None: ...


@contextmanager
def decorated() -> Iterator[str]:
    yield "never entered"


@asynccontextmanager
async def decorated_async() -> AsyncIterator[str]:
    yield "never entered"


async def managed(a: Annotated[str, Depends(decorated)]) -> None: ...
async def managed_async(a: Annotated[str, Depends(decorated_async)]) -> None: ...
def body_for_security(a: Annotated[int, Security(reads)]) -> None: ...
def returns_nothing_known() -> Model | partial: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (mark_as_default, r"'a' is no default: write a: Annotated\[..., Query"),
        (marker_class, r"is a class: write Query\(\)"),
        (two_markers, r"has several markers, Query\(\) and Header\(\): leave one"),
        (marker_inside, r"is inside of its type: write Annotated\[...\] around the whole"),
        (default_in_type, "is in its type: write it behind ="),
        (model_not_exclusive, r"is a model: write Query\(exclusive=True\)"),
        (list_of_models, r"is a model: write Header\(exclusive=True\)"),
        (mapping, r"is a mapping: write Query\(exclusive=True\)"),
        (file_of_query, r"is a file, which only a form has: write Body\(\)"),
        (file_as_body, r"is a file, which is a field of a form: write Body\(\)"),
        (files_as_body, r"is a file, which is a field of a form: write Body\(\)"),
        (number_as_query, "is a whole source, and its type is no model: leave exclusive=True"),
        (list_as_headers, "is a whole source, and its type is no model: leave exclusive=True"),
        (struct_not_exclusive, r"is a model: write Body\(exclusive=True\)"),
        (not_in_path, r"which has no parameters: write {a} in the path"),
        (default_of_dependency, "is given by a dependency: leave its default"),
        (unknown_type, "'a' cannot be validated: Unable to generate pydantic-core schema"),
        (two_media_types, "wants another media_type"),
        (model_of_png, "cannot be read of image/png: declare it as bytes"),
        (two_streams, "is a second stream of one body"),
        (file_beside_stream, "what is beside one is a field that precedes it"),
        (stream_and_more, "is the whole body, and there is another parameter"),
        (stream_of_int, "is a stream of something else than bytes or Part"),
        (stream_of_anything, "is a stream of something else than bytes or Part"),
        (
            shorter,
            "is left when the answer is sent, but needs .*session, which is left when the handler",
        ),
        (two_ends, "is used twice in one graph, with different options"),
        (app_of_request, "its parameter 'a' cannot come from one"),
        (app_group, "is app.task_group: use that"),
        (threaded, "is async: leave thread=True"),
        (managed, "makes a context manager, which nothing enters"),
        (managed_async, "makes a context manager, which nothing enters"),
        (body_for_security, "it cannot declare a part of the body"),
        (returns_nothing_known, "returns what cannot be written"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_cannot_work_is_told_when_the_route_joins_a_router(handler: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as raised:
        Kui(routes=HttpRoute("/", handler))
    assert "\n" not in str(raised.value)
    assert "test_planning.py, line " in str(raised.value)


@pytest.mark.parametrize("marker", ["Query", "Header", "Cookie", "Body", "Depends"])
def test_an_unmarked_parameter_is_told_which_markers_there_are(marker: str) -> None:
    async def search(q: str) -> None: ...

    with pytest.raises(TypeError, match=marker):
        Kui(routes=HttpRoute("/{id}", search))


def test_a_value_that_a_converter_never_gives_is_refused() -> None:
    async def show(id: dict[str, int]) -> None: ...

    with pytest.raises(
        TypeError, match="'id' cannot be validated: it is a mapping, and the path gives"
    ):
        Kui(routes=HttpRoute("/{id:int}", show))


@pytest.mark.anyio
async def test_a_type_may_be_made_of_a_text_in_a_way_of_its_own() -> None:
    class Name(RootModel[str]):
        pass

    async def search(
        id: Name,
        where: Annotated[Json[dict[str, int]] | None, Query()],
        name: Annotated[Name, Query()],
        pair: Annotated[dict[str, str], BeforeValidator(lambda text: {"a": text}), Query()],
    ) -> Any:
        return {"id": id.root, "where": where, "name": name.root, "pair": pair}

    async with AsyncTestClient(Kui(routes=HttpRoute("/{id}", search))) as client:
        response = await client.get("/b", params={"where": '{"a": 1}', "name": "c", "pair": "d"})
    assert response.json() == {"id": "b", "where": {"a": 1}, "name": "c", "pair": {"a": "d"}}


def test_a_cycle_is_drawn() -> None:
    async def first(a: Any) -> None: ...
    async def second(a: Annotated[Any, Depends(first)]) -> None: ...
    async def third(a: Annotated[Any, Depends(second)]) -> None: ...

    first.__annotations__["a"] = Annotated[Any, Depends(third)]

    async def show(a: Annotated[Any, Depends(third)]) -> None: ...

    with pytest.raises(TypeError, match=r"third -> .*second -> .*first -> .*third: take one away"):
        Kui(routes=HttpRoute("/", show))


def test_a_body_on_a_websocket_is_refused() -> None:
    async def chat(a: Annotated[int, Body()]) -> None: ...

    with pytest.raises(TypeError, match="a WebSocket has no body, so 'a' cannot be of it"):
        Kui(routes=SocketRoute("/", chat))


def test_a_source_that_is_whole_has_no_alias_and_no_constraints() -> None:
    with pytest.raises(TypeError, match=r"Query\(exclusive=True\) is a whole source"):
        Query(exclusive=True, ge=1)
    with pytest.raises(TypeError, match=r"Cookie\(exclusive=True\)"):
        Cookie(exclusive=True, alias="a")


@pytest.mark.parametrize(
    "options", [{"until": "never"}, {"scope": "session"}, {"scope": "app", "until": "sent"}]
)
def test_options_that_a_dependency_cannot_have_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match=r"Depends\("):
        Depends(session, **options)
    with pytest.raises(TypeError, match="takes a function"):
        Depends("session")  # type: ignore[arg-type]


def test_a_security_generator_lasts_as_long_as_what_it_is_entered_before() -> None:
    async def guard() -> AsyncIterator[str]:
        yield "ann"

    async def show(
        a: Annotated[str, Security(guard)], b: Annotated[str, Depends(session, until="sent")]
    ) -> None: ...

    with pytest.raises(TypeError, match='declare it with until="sent" too'):
        Kui(routes=HttpRoute("/", show))


def test_what_lasts_until_the_answer_is_sent_cannot_read_the_body() -> None:
    async def reading(a: Annotated[int, Body()]) -> AsyncIterator[int]:
        yield a

    async def show(a: Annotated[int, Depends(reading, until="sent")]) -> None: ...

    with pytest.raises(
        TypeError, match="entered before the body is read: declare that in the handler"
    ):
        Kui(routes=HttpRoute("/", show))


@pytest.mark.anyio
async def test_a_forward_reference_is_found_when_the_app_starts() -> None:
    app = Kui()

    @app.router.http.get("/")
    async def show(later: Annotated[Later, Query(exclusive=True)]) -> Any:
        return [later.a]

    globals()["Later"] = Model
    try:
        async with AsyncTestClient(app) as client:
            assert (await client.get("/?a=1")).json() == [1]
            assert (await client.get("/?a=x")).status_code == 422
    finally:
        del globals()["Later"]


@pytest.mark.anyio
async def test_one_that_is_never_defined_is_told_with_file_and_line() -> None:
    app = Kui()

    @app.router.http.get("/")
    async def show(a: Annotated[Unknown, Query()]) -> None: ...

    message = r"test_planning.py, line \d+\) has an annotation that names 'Unknown'"
    with pytest.raises(TypeError, match=message):
        async with AsyncTestClient(app):
            pass


@pytest.mark.anyio
async def test_what_a_dependency_returns_may_be_known_to_the_type_checker_only() -> None:
    def dependency() -> Unknown:
        return "a"

    async def show(a: Annotated[str, Depends(dependency)]) -> str:
        return a

    async with AsyncTestClient(Kui(routes=HttpRoute("/", show))) as client:
        assert (await client.get("/")).text == "a"


if TYPE_CHECKING:
    Later = Model
