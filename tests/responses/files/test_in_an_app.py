"""Files that an application answers with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kui.asgi import FileResponse, HTTPException, Kui, request
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio

Descriptors = Callable[[Path], int]


@pytest.fixture
def app(path: Path) -> Kui:
    app = Kui()

    @app.router.http("/response")
    async def response() -> FileResponse:
        return FileResponse(path, chunk_size=100)

    @app.router.http("/path")
    async def path_and_more() -> tuple[Path, int, dict[str, str]]:
        return path, 203, {"Cache-Control": "no-cache"}

    @app.router.http("/missing")
    async def missing() -> FileResponse:
        return FileResponse(path.with_name("missing"))

    return app


async def test_a_handler_may_return_a_response_or_a_path(app: Kui, content: bytes) -> None:
    async with AsyncTestClient(app) as client:
        assert (await client.get("/response")).content == content
        answer = await client.get("/path")
        assert (answer.status_code, answer.content) == (203, content)
        assert answer.headers["cache-control"] == "no-cache"


async def test_parts_are_for_clients_that_ask(app: Kui, content: bytes) -> None:
    async with AsyncTestClient(app) as client:
        answer = await client.get("/response", headers={"Range": "bytes=-4"})
        assert (answer.status_code, answer.content) == (206, content[-4:])


async def test_a_missing_file_is_answered_as_the_app_answers_404(app: Kui) -> None:
    @app.exception_handler(404)
    async def not_found(error: HTTPException[str]) -> tuple[str, int]:
        return type(error.__cause__).__name__, 404

    async with AsyncTestClient(app) as client:
        answer = await client.get("/missing")
        assert (answer.status_code, answer.text) == (404, "FileNotFoundError")


async def test_background_tasks_run_when_the_file_has_been_sent(
    app: Kui, path: Path, descriptors: Descriptors
) -> None:
    seen: list[int] = []

    @app.router.http("/then")
    async def then() -> FileResponse:
        request.background_tasks.append(lambda: seen.append(descriptors(path)))
        return FileResponse(path, chunk_size=100)

    async with AsyncTestClient(app) as client:
        await client.get("/then")
    assert seen == [0]


async def test_a_client_that_leaves_half_way_leaves_nothing_open(
    app: Kui, path: Path, descriptors: Descriptors
) -> None:
    os.truncate(path, 10 << 20)
    async with AsyncTestClient(app) as client:
        async with client.stream("GET", "/path") as answer:
            async for _ in answer.aiter_raw():
                break
            assert descriptors(path) == 1
    assert descriptors(path) == 0


async def test_an_unread_body_does_not_hold_the_file_up(
    app: Kui, path: Path, content: bytes
) -> None:
    @app.router.http("/upload")
    async def upload() -> FileResponse:
        return FileResponse(path, chunk_size=100)

    async with AsyncTestClient(app) as client:
        answer = await client.post("/upload", content=bytes(1 << 20))
        assert answer.content == content
