"""`request.route` and `scope["route"]`: the route that answers, for metrics and traces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kui.asgi import (
    Files,
    HTTPException,
    HttpRequest,
    Kui,
    Mount,
    Router,
    Routes,
    http_connection,
    middleware,
    request,
    request_response,
    websocket,
)
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio


def path() -> str:
    return "-" if http_connection.route is None else http_connection.route.path


async def tell() -> str:
    return path()


async def test_it_is_known_to_the_handler_and_to_the_middlewares_around_it() -> None:
    seen: list[str] = []

    def note(endpoint: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def noted() -> Any:
            seen.append(path())
            return await endpoint()

        return noted

    routes = Routes(namespace="shop")
    routes.http.get("/items/{id:int}", name="item")(tell)
    app = Kui(routes="/shop" // routes, http_middlewares=[note])
    async with AsyncTestClient(app) as client:
        assert (await client.get("/shop/items/7")).text == "/shop/items/{id:int}"
        assert (await client.head("/shop/items/7")).status_code == 200
        assert (await client.get("/shop")).status_code == 404
        assert (await client.post("/shop/items/7")).status_code == 405
        assert (await client.options("/shop/items/7")).status_code == 204
    assert seen == ["/shop/items/{id:int}"] * 2 + ["-"] * 3


async def test_it_has_its_name_and_is_known_to_an_exception_handler() -> None:
    app = Kui()

    @app.get("/{id}", name="one")
    async def fail() -> None:
        raise HTTPException(409)

    @app.exception_handler(409)
    async def conflict(error: HTTPException[Any]) -> Any:
        assert request.route is not None
        return {"route": request.route.full_name}, 409

    async with AsyncTestClient(app) as client:
        assert (await client.get("/x")).json() == {"route": "one"}


async def test_a_websocket_has_one_too() -> None:
    app = Kui()

    @app.websocket("/rooms/{room}")
    async def chat() -> None:
        await websocket.accept()
        await websocket.send_text(path())

    async with AsyncTestClient(app) as client, client.websocket("/rooms/blue") as ws:
        assert await ws.receive() == "/rooms/{room}"


async def test_within_a_mounted_app_it_is_that_app_s(tmp_path: Any) -> None:
    inner = Kui()
    inner.get("/items/{id}")(tell)

    @inner.exception_handler(404)
    async def missing(error: Exception) -> Any:
        return path(), 404

    app = Kui(routes=[Mount("/api", inner), Mount("/static", Files(tmp_path))])
    app.get("/")(tell)
    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).text == "/"
        assert (await client.get("/api/items/7")).text == "/items/{id}"
        assert (await client.get("/api/nothing")).text == "-"


async def test_a_router_without_an_app_tells_it() -> None:
    @request_response
    async def show(request: HttpRequest) -> str:
        return path()

    async with AsyncTestClient(Router(("/{name}", show))) as client:
        assert (await client.get("/x")).text == "/{name}"


@pytest.mark.parametrize("fails", [False, True])
async def test_a_middleware_around_the_app_finds_it_in_its_scope_afterwards(fails: bool) -> None:
    seen: list[Any] = []

    def measured(app: Any) -> Any:
        async def measure(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            finally:
                if scope["type"] == "http":
                    seen.append(scope.get("route"))

        return measure

    @middleware
    async def passes_on(request: Any, next_call: Callable[[Any], Awaitable[Any]]) -> Any:
        return await next_call(request)

    app = Kui(asgi_middlewares=[measured, passes_on])

    @app.get("/{id}")
    async def show() -> str:
        if fails:
            raise RuntimeError("a fault")
        return "shown"

    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        await client.get("/7")
        await client.get("/7/8")
    route, missing = seen
    assert (route.path, missing) == ("/{id}", None)
