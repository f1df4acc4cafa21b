"""The application as a whole: what it is made of, and in which order its parts see a request."""

from __future__ import annotations

import decimal
import re
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from kui.asgi import (
    FactoryClass,
    HTTPException,
    HttpRequest,
    JSONResponse,
    Kui,
    PlainTextResponse,
    allow_cors,
    convert_response,
    request,
    request_var,
    required_method,
)
from kui.testing import AsyncTestClient
from tests.support.scopes import http_scope

pytestmark = pytest.mark.anyio

Endpoint = Callable[[], Awaitable[Any]]


def marking(name: str, steps: list[str]) -> Callable[[Endpoint], Endpoint]:
    def middleware(endpoint: Endpoint) -> Endpoint:
        async def marked() -> Any:
            steps.append(name)
            try:
                return await endpoint()
            finally:
                steps.append(f"/{name}")

        return marked

    return middleware


async def test_middlewares_stand_in_the_order_of_their_lists() -> None:
    steps: list[str] = []
    app = Kui(http_middlewares=[marking("app 1", steps), marking("app 2", steps)])

    @app.router.http("/", middlewares=[marking("route 1", steps), marking("route 2", steps)])
    async def handler() -> str:
        steps.append("handler")
        return "ok"

    async with AsyncTestClient(app) as client:
        await client.get("/")
    names = ["app 1", "app 2", "route 1", "route 2"]
    assert steps == [*names, "handler", *(f"/{name}" for name in reversed(names))]


async def test_the_middlewares_of_the_app_see_what_is_not_found_and_not_allowed() -> None:
    seen: list[int] = []

    def watch(endpoint: Endpoint) -> Endpoint:
        async def watched() -> Any:
            try:
                return await endpoint()
            except HTTPException as exc:
                seen.append(exc.status_code)
                raise

        return watched

    app = Kui(http_middlewares=[watch])
    app.router.http.get("/")(lambda: "ok")
    async with AsyncTestClient(app) as client:
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.post("/")).status_code == 405
    assert seen == [404, 405]


async def test_a_middleware_gets_the_raw_value_and_may_answer_itself() -> None:
    def add(endpoint: Endpoint) -> Endpoint:
        async def added() -> Any:
            value = await endpoint()
            assert value == {"a": 1}
            response = convert_response(value)
            response.headers["x-added"] = "yes"
            return response

        return added

    def shortcut(endpoint: Endpoint) -> Endpoint:
        async def answer() -> Any:
            return "short", 202

        return answer

    app = Kui()
    app.router.http("/add", middlewares=[add])(lambda: {"a": 1})
    app.router.http("/short", middlewares=[shortcut])(lambda: "long")
    async with AsyncTestClient(app) as client:
        assert (await client.get("/add")).headers["x-added"] == "yes"
        assert (await client.get("/short")).text == "short"


async def test_a_plain_function_runs_in_a_thread_and_sees_the_request() -> None:
    app = Kui()

    @app.router.http("/{name}")
    def handler() -> dict[str, Any]:
        return {"name": request.path_params["name"], "thread": threading.get_ident()}

    @app.router.http("/")
    def awaitable() -> Awaitable[str]:
        async def later() -> str:
            return "awaited"

        return later()

    async with AsyncTestClient(app) as client:
        answer = (await client.get("/ann")).json()
        assert answer["name"] == "ann"
        assert answer["thread"] != threading.get_ident()
        assert (await client.get("/")).text == "awaited"


async def test_requests_at_once_see_each_their_own() -> None:
    app = Kui()
    both = anyio.Event()
    waiting: list[str] = []

    @app.router.http("/{name}")
    async def handler() -> str:
        waiting.append(request.path_params["name"])
        if len(waiting) == 2:
            both.set()
        await both.wait()
        return request.path_params["name"]

    async with AsyncTestClient(app) as client, anyio.create_task_group() as tasks:

        async def ask(name: str) -> None:
            assert (await client.get(f"/{name}")).text == name

        tasks.start_soon(ask, "a")
        tasks.start_soon(ask, "b")
    with pytest.raises(RuntimeError, match="no current request"):
        _ = request.url


async def test_an_app_may_have_a_request_class_of_its_own() -> None:
    class Request(HttpRequest):
        @property
        def shout(self) -> str:
            return self.method + "!"

    app = Kui(factory_class=FactoryClass(http=Request))
    app.router.http("/")(lambda: request.shout)
    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).text == "GET!"


async def test_a_request_class_may_make_something_else_of_the_body_and_its_json() -> None:
    class Request(HttpRequest):
        @property
        def body(self) -> Awaitable[bytes]:
            return self._shouted(super().body)

        @property
        def json(self) -> Awaitable[Any]:
            return self._listed(super().json)

        async def _shouted(self, body: Awaitable[bytes]) -> bytes:
            return (await body).upper()

        async def _listed(self, json: Awaitable[Any]) -> list[Any]:
            return [await json]

    async def handler() -> list[Any]:
        pieces = [chunk.decode() for _ in range(2) async for chunk in request.stream()]
        return [(await request.body).decode(), await request.json, await request.json, *pieces]

    async def read_first() -> list[Any]:
        await request.body
        return await handler()

    app = Kui(factory_class=FactoryClass(http=Request))
    app.router.http.post("/")(read_first)
    async with AsyncTestClient(app) as client:
        answer = await client.post("/", json="a")
        assert answer.json() == ['"A"', ["a"], ["a"], '"a"', '"a"']


async def test_the_json_encoder_of_the_app_encodes_what_json_has_not() -> None:
    class Money(decimal.Decimal):
        pass

    app = Kui(json_encoder={decimal.Decimal: str, set: sorted})
    app.router.http("/")(lambda: {"price": Money("1.50"), "tags": {"b", "a"}})
    app.router.http("/response")(lambda: JSONResponse([decimal.Decimal(2)]))
    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).json() == {"price": "1.50", "tags": ["a", "b"]}
        assert (await client.get("/response")).json() == ["2"]


async def test_a_response_may_be_sent_to_many() -> None:
    shared = PlainTextResponse("shared", headers={"x-shared": "1"})
    app = Kui(cors_config={})
    app.router.http("/")(lambda: shared)
    async with AsyncTestClient(app) as client:
        for origin in ("https://a.example", "https://b.example"):
            answer = await client.get("/", headers={"origin": origin})
            assert answer.text == "shared"
            assert answer.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-origin" not in shared.headers


@pytest.mark.parametrize("level", ["app", "config", "route"])
async def test_cors_headers_are_on_every_answer(level: str) -> None:
    cors = [allow_cors([re.compile("https://ok")])]
    app = Kui(
        http_middlewares=cors if level == "app" else [],
        cors_config={"allow_origins": [re.compile("https://ok")]} if level == "config" else None,
    )

    def raising(exc: Exception) -> Callable[[], Any]:
        async def handler() -> None:
            raise exc

        return handler

    middlewares = cors if level == "route" else []
    app.exception_handler(KeyError)(lambda exc: ("handled", 409))
    for path, exc in {
        "/broken": ValueError(),
        "/handled": KeyError(),
        "/refused": HTTPException(403),
    }.items():
        app.router.http.post(path, middlewares=middlewares)(raising(exc))
    headers = {"origin": "https://ok"}
    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        expected = {"/broken": 500, "/handled": 409, "/refused": 403}
        for path, status in expected.items():
            answer = await client.post(path, headers=headers)
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == "https://ok"
            assert "origin" in answer.headers["vary"].lower()
            refused = await client.get(path, headers=headers)
            assert refused.status_code == 405
            assert refused.headers["access-control-allow-origin"] == "https://ok"
            preflight = await client.options(
                path, headers={**headers, "access-control-request-method": "POST"}
            )
            assert preflight.status_code == 204
            assert preflight.headers["access-control-allow-origin"] == "https://ok"
            options = await client.options(path, headers=headers)
            assert "POST" in options.headers["allow"]
        if level != "route":
            missing = await client.get("/nowhere", headers=headers)
            assert missing.headers["access-control-allow-origin"] == "https://ok"


async def test_registrations_of_one_path_merge_by_method() -> None:
    app = Kui()
    app.router.http.get("/x")(lambda: "get")
    app.router.http.post("/x")(lambda: "post")
    app.router.http("/x", middlewares=[required_method("DELETE")])(lambda: "delete")
    async with AsyncTestClient(app) as client:
        assert (await client.get("/x")).text == "get"
        assert (await client.post("/x")).text == "post"
        assert (await client.delete("/x")).text == "delete"
        assert (await client.head("/x")).status_code == 200
        refused = await client.put("/x")
    assert refused.status_code == 405
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}
    with pytest.raises(ValueError, match="/x"):
        app.router.http.get("/x")(lambda: "again")


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        ([b"example.com"], 200),
        ([b"EXAMPLE.com:8000"], 200),
        ([b"www.example.com"], 200),
        ([b"evil.example"], 400),
        ([b"example.com", b"example.com"], 400),
        ([b"exa mple.com"], 400),
        ([], 400),
    ],
)
async def test_only_allowed_hosts_are_answered(hosts: list[bytes], status: int) -> None:
    app = Kui(allowed_hosts=["example.com", "*.example.com"])
    app.router.http("/")(lambda: "ok")
    assert await status_for(app, hosts) == status


@pytest.mark.parametrize(
    ("hosts", "status"), [([b"["], 400), ([b""], 400), ([], 200), ([b"a"], 200)]
)
async def test_a_host_that_is_none_is_refused(hosts: list[bytes], status: int) -> None:
    app = Kui()
    app.router.http("/")(lambda: "ok")
    assert await status_for(app, hosts) == status


async def status_for(app: Kui, hosts: list[bytes]) -> int:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(http_scope(headers=[(b"host", host) for host in hosts]), receive, send)
    status: int = sent[0]["status"]
    return status


async def test_an_unknown_scope_is_an_error() -> None:
    async def nothing(*args: object) -> Any: ...

    with pytest.raises(RuntimeError, match="fax"):
        await Kui()({"type": "fax"}, nothing, nothing)


async def test_state_is_kept_between_requests() -> None:
    app = Kui()
    app.state.count = 0

    @app.router.http("/")
    async def count() -> dict[str, int]:
        request.app.state.count += 1
        return {"count": app.state.count}

    async with AsyncTestClient(app) as client:
        await client.get("/")
        assert (await client.get("/")).json() == {"count": 2}
    with pytest.raises(AttributeError, match="nothing"):
        _ = app.state.nothing
    with pytest.raises(AttributeError, match="nothing"):
        del app.state.nothing
    assert "count" in app.state and "nothing" not in app.state


async def test_callbacks_take_the_app_and_run_around_its_life() -> None:
    steps: list[str] = []
    app = Kui(on_startup=[lambda app: steps.append("first")])

    @app.on_startup
    async def second(app: Kui) -> None:
        steps.append("second")

    @app.on_shutdown
    def last(app: Kui) -> None:
        steps.append("last")

    @app.on_shutdown
    async def before(app: Kui) -> None:
        steps.append("before")

    async with AsyncTestClient(app):
        steps.append("serving")
    assert steps == ["first", "second", "serving", "before", "last"]


async def test_a_request_that_is_over_can_neither_be_read_nor_answered() -> None:
    app = Kui()
    seen: list[HttpRequest] = []

    @app.router.http.post("/")
    async def keep() -> str:
        seen.append(request_var.get())
        return "done"

    async with AsyncTestClient(app) as client:
        assert (await client.post("/", content=b"body")).text == "done"
    (over,) = seen
    for read in (lambda: over.body, lambda: over.json, over.data, lambda: anext(over.stream())):
        with pytest.raises(RuntimeError, match="this request is over"):
            await read()
    for message in ({"type": "http.response.start", "status": 200}, {"type": "http.response.body"}):
        with pytest.raises(RuntimeError, match="this request is over"):
            await over.exchange.send(message)


async def test_what_was_read_of_a_request_can_be_used_when_it_is_over() -> None:
    app = Kui()
    seen: list[HttpRequest] = []

    @app.router.http.post("/")
    async def keep() -> bytes:
        seen.append(request_var.get())
        return await request_var.get().body

    async with AsyncTestClient(app) as client:
        assert (await client.post("/", json=[1])).text == "[1]"
    (over,) = seen
    assert await over.body == b"[1]"
    assert await over.json == [1]


async def test_work_may_outlive_its_request() -> None:
    app = Kui()
    done = anyio.Event()
    seen: list[object] = []

    async def service() -> None:
        try:
            seen.append(request.url)
        except RuntimeError:
            seen.append("no request")
        done.set()

    @app.router.http("/")
    async def start() -> str:
        request.app.task_group.start_soon(service)
        return "started"

    async with AsyncTestClient(app) as client:
        await client.get("/")
        await done.wait()
    assert seen == ["no request"]
    with pytest.raises(RuntimeError, match="lifespan"):
        app.task_group.start_soon(service)
