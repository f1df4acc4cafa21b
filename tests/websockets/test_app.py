"""WebSockets of an application: routes, middlewares, exceptions, what lasts as long as they do."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from kui.asgi import (
    FactoryClass,
    HTTPException,
    Kui,
    SocketView,
    WebSocket,
    http_connection,
    websocket,
)
from kui.testing import AsyncTestClient, WebSocketClosed, WebSocketDenied

pytestmark = pytest.mark.anyio


@pytest.fixture
def app() -> Kui:
    return Kui()


async def test_a_handler_finds_its_path_parameters_and_headers(app: Kui) -> None:
    @app.router.websocket("/rooms/{room:int}")
    async def room() -> None:
        await websocket.accept()
        await websocket.send_json(
            [
                websocket.path_params["room"],
                websocket.query_params["name"],
                http_connection.headers["x-user"],
                websocket.url.scheme,
            ]
        )

    async with AsyncTestClient(app) as client:
        async with client.websocket("/rooms/7?name=ann", headers={"X-User": "1"}) as ws:
            assert await ws.receive_json() == [7, "ann", "1", "ws"]
            with pytest.raises(WebSocketClosed):
                await ws.receive()
            assert ws.close_code == 1000


async def test_a_path_without_a_route_is_refused_with_404(app: Kui) -> None:
    async with AsyncTestClient(app) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/nowhere"):
                pass
    assert denied.value.response.status_code == 404


async def test_middlewares_stand_around_the_handler_in_their_order() -> None:
    calls: list[str] = []

    def noting(name: str) -> Callable[[Any], Any]:
        def middleware(endpoint: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
            async def around() -> Any:
                calls.append(name)
                try:
                    return await endpoint()
                finally:
                    calls.append(f"{name} after")

            return around

        return middleware

    app = Kui(socket_middlewares=[noting("app"), noting("app 2")])

    @app.router.websocket("/", middlewares=[noting("route"), noting("route 2")])
    class View(SocketView):
        async def on_disconnect(self, close_code: int) -> None:
            calls.append("handler")

    async with AsyncTestClient(app) as client:
        async with client.websocket("/"):
            pass
        names = ["app", "app 2", "route", "route 2"]
        assert calls == [*names, "handler", *(f"{name} after" for name in reversed(names))]
        calls.clear()
        with pytest.raises(WebSocketDenied):
            async with client.websocket("/nowhere"):
                pass
        assert calls == ["app", "app 2", "app 2 after", "app after"]


async def test_a_middleware_may_refuse(app: Kui) -> None:
    def closed(endpoint: Any) -> Any:
        async def around() -> Any:
            raise HTTPException(503, headers={"Retry-After": "9"}, content={"closed": True})

        return around

    @app.router.websocket("/", middlewares=[closed])
    async def handler() -> None:
        await websocket.accept()

    async with AsyncTestClient(app) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/"):
                pass
    response = denied.value.response
    assert (response.status_code, response.headers["retry-after"]) == (503, "9")
    assert response.json() == {"closed": True}


async def test_the_exception_handlers_of_the_app_answer_before_accept(app: Kui) -> None:
    @app.exception_handler(LookupError)
    async def missing(exc: LookupError) -> tuple[str, int]:
        return f"no {exc}", 404

    @app.router.websocket("/")
    async def handler() -> None:
        raise LookupError("room")

    async with AsyncTestClient(app) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/"):
                pass
    assert (denied.value.response.status_code, denied.value.response.text) == (404, "no room")


async def test_an_exception_without_a_handler_is_raised_once_and_not_logged(
    app: Kui, caplog: pytest.LogCaptureFixture
) -> None:
    @app.router.websocket("/{when}")
    async def handler() -> None:
        if websocket.path_params["when"] == "after":
            await websocket.accept()
        raise LookupError("oops")

    async with AsyncTestClient(app) as client:
        with pytest.raises(LookupError):
            async with client.websocket("/after") as ws:
                await ws.receive()
        assert ws.close_code == 1011
        with pytest.raises((LookupError, WebSocketDenied)):
            async with client.websocket("/before"):
                pass
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_context_managers_and_background_tasks_come_after_the_connection(app: Kui) -> None:
    calls: list[str] = []

    async def later(what: str) -> None:
        calls.append(f"{what} {websocket.connection_state.value}")

    @app.router.websocket("/")
    async def handler() -> None:
        websocket.background_tasks.append(later, "task")
        websocket.exit_stack.push_async_callback(later, "left")
        await websocket.accept()
        calls.append(await websocket.receive_text())

    async with AsyncTestClient(app) as client, client.websocket("/") as ws:
        await ws.send("hello")
    assert calls == ["hello", "left closed", "task closed"]


async def test_a_context_manager_is_told_of_what_the_handler_raises(app: Kui) -> None:
    told: list[object] = []

    class Manager:
        async def __aenter__(self) -> None:
            pass

        async def __aexit__(self, kind: object, error: object, trace: object) -> None:
            told.append(error)

    error = LookupError("oops")

    @app.router.websocket("/")
    async def handler() -> None:
        await websocket.exit_stack.enter_async_context(Manager())
        await websocket.accept()
        raise error

    async with AsyncTestClient(app) as client:
        with pytest.raises(LookupError):
            async with client.websocket("/") as ws:
                await ws.receive()
    assert told == [error]


async def test_the_class_of_websockets_may_be_ones_own() -> None:
    class Mine(WebSocket):
        async def shout(self, text: str) -> None:
            await self.send_text(text.upper())

    app = Kui(factory_class=FactoryClass(websocket=Mine))

    @app.router.websocket("/")
    async def handler() -> None:
        await websocket.accept()
        await websocket.shout("hello")

    async with AsyncTestClient(app) as client, client.websocket("/") as ws:
        assert await ws.receive() == "HELLO"


async def test_an_app_that_stops_closes_its_websockets(app: Kui) -> None:
    ended: list[int | None] = []

    @app.router.websocket("/{how}")
    async def handler() -> None:
        await websocket.accept()
        if websocket.path_params["how"] == "receive":
            async for _ in websocket.iter_text():
                pass
        else:
            try:
                while True:
                    await websocket.send_text("tick")
                    await anyio.sleep(0.1)
            finally:
                ended.append(websocket.close_code)
        ended.append(websocket.close_code)

    async with AsyncTestClient(app) as client:
        async with client.websocket("/receive") as receiving, client.websocket("/send") as sending:
            app.exit_signal.set()
            with pytest.raises(WebSocketClosed):
                await receiving.receive()
            with pytest.raises(WebSocketClosed):
                while True:
                    await sending.receive()
            assert (receiving.close_code, sending.close_code) == (1001, 1001)
    assert ended == [1001, 1001]


async def test_handlers_of_the_json_encoder_are_used_for_messages() -> None:
    app = Kui(json_encoder={complex: str})

    @app.router.websocket("/")
    async def handler() -> None:
        await websocket.accept()
        await websocket.send_json({"z": 1 + 2j})

    async with AsyncTestClient(app) as client, client.websocket("/") as ws:
        assert await ws.receive_json() == {"z": "(1+2j)"}


@pytest.mark.parametrize("both_keys", [True, False])
@pytest.mark.parametrize("raises", [True, False])
async def test_a_handler_that_only_sends_ends_when_its_client_leaves(
    app: Kui, both_keys: bool, raises: bool
) -> None:
    from kui.testing import ASGITransport

    ended = anyio.Event()

    @app.router.websocket("/")
    async def handler() -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text("tick")
                await anyio.sleep(0.1)
        finally:
            ended.set()

    transport = ASGITransport(app, both_keys=both_keys, raise_after_leaving=raises)
    async with AsyncTestClient(app, transport=transport) as client:
        async with client.websocket("/") as ws:
            await ws.receive()
            client.disconnect()
            with anyio.fail_after(1):
                await ended.wait()


class NoRoutes(Kui):
    """An app that fails where it looks for the route, which nothing around a handler sees."""

    failure: Exception = LookupError("the routes are gone")

    def _socket_endpoint(self, socket: WebSocket) -> Any:
        raise self.failure


async def test_what_is_raised_where_the_route_is_looked_up_is_answered_with_500() -> None:
    app = NoRoutes()
    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/"):
                pass
    assert denied.value.response.status_code == 500


async def test_what_is_raised_where_the_route_is_looked_up_has_its_exception_handler() -> None:
    app = NoRoutes()

    @app.exception_handler(LookupError)
    async def answer(error: LookupError) -> Any:
        return f"{websocket.url.path}: {error}", 421

    async with AsyncTestClient(app) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/there"):
                pass
    assert denied.value.response.status_code == 421
    assert denied.value.response.text == "/there: the routes are gone"
