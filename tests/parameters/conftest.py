"""An app of one route and a client of it, in one call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from kui.asgi import HttpRoute, Kui
from kui.testing import AsyncTestClient

Serve = Callable[..., AbstractAsyncContextManager[AsyncTestClient]]


@pytest.fixture
def serve() -> Serve:
    """`async with serve(handler, "/path", app_option=...) as client`: the handler answers all methods there."""

    @asynccontextmanager
    async def client_of(
        handler: Any, path: str = "/", **options: Any
    ) -> AsyncIterator[AsyncTestClient]:
        middlewares = options.pop("middlewares", ())
        app = Kui(routes=HttpRoute(path, handler, middlewares=middlewares), **options)
        async with AsyncTestClient(app) as client:
            yield client

    return client_of


def faults(response: Any) -> list[tuple[str, str]]:
    """Where the faults of a 422 are, and that it is one."""
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return [(one["in"], one["pointer"]) for one in response.json()["errors"]]
