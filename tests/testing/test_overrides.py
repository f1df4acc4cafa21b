"""`app.overrides`: a state entry or a handler is replaced for the length of a block, and no longer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from kui.asgi import HttpRoute, HttpView, Kui, SocketRoute, request, websocket
from kui.testing import AsyncTestClient, TestClient

pytestmark = pytest.mark.anyio


async def connect(app: Kui) -> None:
    app.state.db = "real"


async def get_user() -> str:
    return f"{request.app.state.db} user {request.path_params['id']}"


async def chat() -> None:
    await websocket.accept()
    await websocket.send_text("real")
    await websocket.close()


def shouts(endpoint: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    async def shout() -> str:
        return str(await endpoint()).upper()

    return shout


class Orders(HttpView):
    @staticmethod
    async def get() -> str:
        return "orders"


@pytest.fixture
def app() -> Kui:
    return Kui(
        on_startup=[connect],
        routes=[
            HttpRoute("/users/{id:int}", get_user, name="user", methods=["GET"]),
            HttpRoute("/me", get_user, middlewares=[shouts]),
            HttpRoute("/orders", Orders),
            SocketRoute("/chat", chat),
        ],
    )


@pytest.fixture
async def client(app: Kui, anyio_backend: str) -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(app) as client:
        yield client


async def text(client: AsyncTestClient, path: str) -> str:
    return (await client.get(path)).text


async def test_a_state_entry_is_replaced(app: Kui, client: AsyncTestClient) -> None:
    with app.overrides(state={"db": "fake"}):
        assert await text(client, "/users/7") == "fake user 7"
    assert await text(client, "/users/7") == "real user 7"


async def test_the_replacement_stays_whatever_the_start_up_sets(app: Kui) -> None:
    with app.overrides(state={"db": "fake"}):
        async with AsyncTestClient(app) as client:
            assert await text(client, "/users/7") == "fake user 7"
    assert app.state.db == "real"


async def test_the_rest_of_the_state_is_as_it_was(app: Kui, client: AsyncTestClient) -> None:
    app.state.kept = 1
    with app.overrides(state={"db": "fake", "new": 1}):
        assert (app.state.kept, app.state.new) == (1, 1)
        app.state.written = 2
        del app.state.kept
        assert "new" in app.state
        assert "kept" not in app.state
        with pytest.raises(AttributeError):
            _ = app.state.kept
        with pytest.raises(AttributeError):
            del app.state.kept
        assert "fake" in repr(app.state)
    assert app.state.written == 2
    assert "new" not in app.state
    assert "kept" not in app.state


async def test_a_handler_is_replaced_on_all_of_its_routes(
    app: Kui, client: AsyncTestClient
) -> None:
    async def fake() -> str:
        return f"fake {request.path_params.get('id')}"

    with app.overrides(handlers={get_user: fake}):
        assert await text(client, "/users/7") == "fake 7"
        assert await text(client, "/me") == "FAKE NONE", "its middlewares stay"
        assert (await client.post("/users/7")).status_code == 405, "its methods stay"
        assert app.router.url_for("user", {"id": 7}) == "/users/7", "its name stays"
    assert await text(client, "/users/7") == "real user 7"


async def test_a_handler_in_a_thread_and_a_view_may_be_replaced_too(
    app: Kui, client: AsyncTestClient
) -> None:
    def fake() -> str:
        return f"fake {request.method}"

    with app.overrides(handlers={Orders: fake}):
        assert await text(client, "/orders") == "fake GET"
    assert await text(client, "/orders") == "orders"


async def test_a_websocket_handler_is_replaced(app: Kui, client: AsyncTestClient) -> None:
    async def fake() -> None:
        await websocket.accept()
        await websocket.send_text("fake")
        await websocket.close()

    async def first() -> str:
        async with client.websocket("/chat") as ws:
            return await ws.receive_text()

    with app.overrides(handlers={chat: fake}):
        assert await first() == "fake"
    assert await first() == "real"


async def test_a_function_of_the_start_up_is_replaced(app: Kui) -> None:
    async def fake(app: Kui) -> None:
        app.state.db = "fake"

    async with AsyncTestClient(app) as client:
        assert await text(client, "/users/7") == "real user 7"
    with app.overrides(handlers={connect: fake}):
        async with AsyncTestClient(app) as client:
            assert await text(client, "/users/7") == "fake user 7"
    async with AsyncTestClient(app) as client:
        assert await text(client, "/users/7") == "real user 7"


async def test_blocks_may_be_nested(app: Kui, client: AsyncTestClient) -> None:
    async def one() -> str:
        return "one"

    async def two() -> str:
        return "two"

    with app.overrides(state={"db": 1}, handlers={get_user: one}):
        with app.overrides(state={"db": 2}, handlers={get_user: two}):
            assert (app.state.db, await text(client, "/users/7")) == (2, "two")
        assert (app.state.db, await text(client, "/users/7")) == (1, "one")
    assert (app.state.db, await text(client, "/users/7")) == ("real", "real user 7")


async def test_what_cannot_be_replaced_is_an_error_and_leaves_no_trace(
    app: Kui, client: AsyncTestClient
) -> None:
    async def fake() -> str:
        return "fake"

    with pytest.raises(LookupError, match="no route has the handler"):
        with app.overrides(handlers={get_user: fake, text: fake}):
            pytest.fail("the block is not entered")
    with pytest.raises(TypeError, match="not callable"):
        with app.overrides(handlers={get_user: 7}):  # type: ignore[dict-item]  # the mistake
            pytest.fail("the block is not entered")
    assert await text(client, "/users/7") == "real user 7"


async def test_a_test_that_fails_gives_everything_back(app: Kui, client: AsyncTestClient) -> None:
    with pytest.raises(ZeroDivisionError):
        with app.overrides(state={"db": "fake"}):
            raise ZeroDivisionError
    assert await text(client, "/users/7") == "real user 7"


def test_in_a_test_that_is_not_async(app: Kui) -> None:
    with app.overrides(state={"db": "fake"}), TestClient(app) as client:
        assert client.get("/users/7").text == "fake user 7"
