"""A parameter that looks as if it were of the query, and is never read, is told when the app starts."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import pytest

from kui.asgi import Kui, Path, Query
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio


async def warnings_of(caplog: pytest.LogCaptureFixture, app: Kui) -> list[str]:
    with caplog.at_level(logging.WARNING, "kui"):
        async with AsyncTestClient(app):
            return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("kind", [int, str | None, Annotated[float, "a remark"]])
async def test_one_that_no_path_names_is_told(caplog: pytest.LogCaptureFixture, kind: Any) -> None:
    app = Kui()

    @app.get("/")
    @app.get("/all")
    async def page(number: kind = 1) -> str:
        return str(number)

    (warning,) = await warnings_of(caplog, app)
    assert "page: 'number' always has its default" in warning and "Query()" in warning


async def test_others_are_not(caplog: pytest.LogCaptureFixture) -> None:
    app = Kui()

    @app.get("/")
    @app.get("/{number:int}")
    async def page(number: int = 1, caught=app, tool: Kui = app) -> str:  # type: ignore[no-untyped-def]
        return str(number)

    @app.get("/marked")
    async def marked(a: Annotated[int, Query()] = 1, b: Annotated[int, Path()] = 1) -> str:
        return ""

    assert await warnings_of(caplog, app) == []
