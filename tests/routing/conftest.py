"""Asking a router as the application does, without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
from baize.exceptions import HTTPException
from baize.routing import CONVERTOR_TYPES, Convertor

from kui.current import request_var
from kui.responses.base import HttpResponse
from kui.routing import RouteTable

Ask: TypeAlias = Callable[..., Awaitable[Any]]


@pytest.fixture
def ask() -> Ask:
    """`await ask(router, "GET", "/path", header=value)`: the raw value, or what stands for it.

    404 for no route, `(405, allow)` for a method that is not allowed, `("OPTIONS", allow)` for an
    answer that OPTIONS got by itself. In a header's name `_` stands for `-`.
    """

    async def asking(router: RouteTable, method: str, path: str, **headers: str) -> Any:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        found = router.http_routes.search(path, method, raw)
        if found is None:
            return 404
        endpoint, params, _ = found
        request: Any = SimpleNamespace(method=method, path_params=params, headers=headers)
        token = request_var.set(request)
        try:
            value = await endpoint()
        except HTTPException as exc:
            assert exc.headers is not None
            return exc.status_code, exc.headers["Allow"]
        finally:
            request_var.reset(token)
        if isinstance(value, HttpResponse):
            assert value.status_code == 204
            return "OPTIONS", value.headers["allow"]
        return value

    return asking


class Own(Convertor[str]):
    """A placeholder of an app, for any text that its regular expression matches."""

    def __init__(self, regex: str) -> None:
        self.regex = regex

    def to_python(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


@pytest.fixture
def own(request: pytest.FixtureRequest) -> Iterator[None]:
    """The placeholder `{x:own}`, which accepts what `REGEX["own"]` of the test's module says."""
    CONVERTOR_TYPES["own"] = Own(request.module.REGEX["own"])
    yield
    del CONVERTOR_TYPES["own"]
