"""`timeout`: an answer in time, or 504."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from kui.asgi import Kui, StreamResponse, timeout
from kui.testing import AsyncTestClient
from tests.support.clocks import anyio_backend  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def app(log: list[str]) -> Kui:
    app = Kui()

    async def chunks(first: float, then: float) -> AsyncIterator[str]:
        try:
            await anyio.sleep(first)
            yield "a"
            await anyio.sleep(then)
            yield "b"
        finally:
            await anyio.sleep(0.1)
            log.append("closed")

    def slow(seconds: float):
        async def handler():
            try:
                await anyio.sleep(seconds)
            finally:
                log.append("left")
            return "done", 201, {"x-own": "1"}

        return handler

    def stream(first: float, then: float):
        async def handler():
            return StreamResponse(chunks(first, then))

        return handler

    get = app.router.http.get
    get("/in-time", name=None, middlewares=[timeout(2)])(slow(1))
    get("/late", name=None, middlewares=[timeout(2)])(slow(3))
    get("/own", name=None, middlewares=[timeout(2)])(own_timeout)
    get("/stream", name=None, middlewares=[timeout(2)])(stream(5, 5))
    get("/body/in-time", name=None, middlewares=[timeout(9, body=True)])(stream(1, 1))
    get("/body/small", name=None, middlewares=[timeout(9, body=True)])(slow(1))
    get("/body/before", name=None, middlewares=[timeout(9, body=True)])(stream(10, 1))
    get("/body/after", name=None, middlewares=[timeout(9, body=True)])(stream(1, 10))
    return app


async def own_timeout():
    with anyio.fail_after(1):
        await anyio.sleep_forever()


@pytest.fixture
async def client(app: Kui) -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(app) as client:
        yield client


async def test_an_answer_in_time_is_the_answer(client) -> None:
    response = await client.get("/in-time")
    assert (response.status_code, response.text, response.headers["x-own"]) == (201, "done", "1")


async def test_a_handler_that_takes_longer_is_cancelled_and_answered_with_504(client, log) -> None:
    began = anyio.current_time()
    response = await client.get("/late")
    assert response.status_code == 504
    assert anyio.current_time() - began == pytest.approx(2)
    assert log == ["left"]


async def test_an_exception_handler_may_answer_in_its_place(app) -> None:
    @app.exception_handler(504)
    async def late(error):
        return "come back later", 504

    async with AsyncTestClient(app) as client:
        assert (await client.get("/late")).text == "come back later"


async def test_a_timeout_of_the_handlers_own_is_an_error_like_any_other(app) -> None:
    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        assert (await client.get("/own")).status_code == 500


async def test_the_time_is_that_until_there_is_a_response(client, log) -> None:
    response = await client.get("/stream")
    assert response.text == "ab"


@pytest.mark.parametrize(("path", "text"), [("/body/in-time", "ab"), ("/body/small", "done")])
async def test_with_body_a_response_that_is_sent_in_time_is_sent(client, path, text) -> None:
    assert (await client.get(path)).text == text


async def test_with_body_a_response_that_has_not_begun_becomes_504(client, log) -> None:
    assert (await client.get("/body/before")).status_code == 504
    assert log == ["closed"]


async def test_with_body_a_response_that_has_begun_is_cut(client, log) -> None:
    with pytest.raises(TimeoutError):
        await client.get("/body/after")
    assert log == ["closed"]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_a_time_that_is_none_is_refused(seconds) -> None:
    with pytest.raises(ValueError, match="positive"):
        timeout(seconds)
