"""CORS in an application: on a route, around all of them, and on every answer there can be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from kui.asgi import (
    HTTPException,
    HttpRoute,
    Kui,
    PlainTextResponse,
    allow_cors,
    request,
    required_method,
)
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio

ORIGIN = {"Origin": "https://example.com"}
PREFLIGHT = {**ORIGIN, "Access-Control-Request-Method": "POST"}
SHARED = PlainTextResponse("shared", headers={"Vary": "Accept"})


async def plain() -> str:
    return "plain"


async def shared() -> PlainTextResponse:
    return SHARED


async def refused() -> None:
    raise HTTPException(403, headers={"Vary": "Cookie"})


async def handled() -> None:
    raise KeyError("handled")


async def broken() -> None:
    raise RuntimeError("broken")


async def converted() -> tuple[str, int]:
    return "made", 201


async def nothing() -> None:
    """A mistake: it returns nothing."""


async def own_options() -> str:
    return f"own {request.method}"


HANDLERS = (plain, shared, refused, handled, broken, converted, nothing, own_options)
STATUSES = {"refused": 403, "handled": 422, "broken": 500, "nothing": 500, "converted": 201}


def on_the_routes(**config: Any) -> Kui:
    cors = allow_cors(**config)
    return Kui(
        routes=[HttpRoute(f"/{handler.__name__}", handler) @ cors for handler in HANDLERS],
        exception_handlers={KeyError: _unprocessable},
    )


def around_the_handlers(**config: Any) -> Kui:
    return Kui(
        routes=[HttpRoute(f"/{handler.__name__}", handler) for handler in HANDLERS],
        http_middlewares=[allow_cors(**config)],
        exception_handlers={KeyError: _unprocessable},
    )


def around_everything(**config: Any) -> Kui:
    return Kui(
        routes=[HttpRoute(f"/{handler.__name__}", handler) for handler in HANDLERS],
        cors_config=config,
        exception_handlers={KeyError: _unprocessable},
    )


async def _unprocessable(exc: KeyError) -> tuple[str, int]:
    return "unprocessable", 422


Level = Callable[..., Kui]
at_every_level = pytest.mark.parametrize(
    "level", [on_the_routes, around_the_handlers, around_everything]
)


def client_of(app: Kui) -> AsyncTestClient:
    return AsyncTestClient(app, raise_app_exceptions=False)


@at_every_level
@pytest.mark.parametrize("handler", [handler.__name__ for handler in HANDLERS])
async def test_every_answer_has_the_headers(level: Level, handler: str) -> None:
    async with client_of(level(expose_headers=["X-A"])) as client:
        response = await client.get(f"/{handler}", headers=ORIGIN)
    assert response.status_code == STATUSES.get(handler, 200)
    assert response.headers["access-control-allow-origin"] == "https://example.com"
    assert response.headers["access-control-expose-headers"] == "X-A"
    assert "Origin" in response.headers["vary"]


@at_every_level
async def test_vary_joins_that_of_the_answer(level: Level) -> None:
    async with client_of(level()) as client:
        for headers in ORIGIN, {}:
            assert (await client.get("/shared", headers=headers)).headers[
                "vary"
            ] == "Accept, Origin"
            assert (await client.get("/refused", headers=headers)).headers["vary"] == (
                "Cookie, Accept, Origin"
            )
            assert (await client.get("/plain", headers=headers)).headers["vary"] == "Origin"


@at_every_level
async def test_a_response_that_is_shared_between_requests_is_not_changed(level: Level) -> None:
    async with client_of(level()) as client:
        await client.get("/shared", headers=ORIGIN)
        response = await client.get("/shared")
    assert "access-control-allow-origin" not in response.headers
    assert dict(SHARED.headers) == {"content-type": "text/plain; charset=utf-8", "vary": "Accept"}


@at_every_level
async def test_a_preflight_is_answered_without_the_handler(level: Level) -> None:
    async with client_of(level()) as client:
        response = await client.options("/broken", headers=PREFLIGHT)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == "https://example.com"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "content-length" not in response.headers


@at_every_level
async def test_an_options_that_is_no_preflight_is_the_handlers(level: Level) -> None:
    async with client_of(level()) as client:
        response = await client.options("/own_options", headers=ORIGIN)
    assert response.text == "own OPTIONS"
    assert response.headers["access-control-allow-origin"] == "https://example.com"


@at_every_level
async def test_an_origin_that_is_not_allowed_gets_its_answer_without_permission(
    level: Level,
) -> None:
    async with client_of(level(allow_origins=[re.compile("https://other")])) as client:
        response = await client.get("/plain", headers=ORIGIN)
        preflight = await client.options("/plain", headers=PREFLIGHT)
    assert (response.text, response.headers["vary"]) == ("plain", "Origin")
    for answer in response, preflight:
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("level", [around_the_handlers, around_everything])
async def test_the_application_has_them_on_404_too(level: Level) -> None:
    async with client_of(level()) as client:
        response = await client.get("/missing", headers=ORIGIN)
        preflight = await client.options("/missing", headers=PREFLIGHT)
    assert response.status_code == 404
    assert response.headers["access-control-allow-origin"] == "https://example.com"
    assert preflight.status_code == 204


@at_every_level
async def test_a_405_has_them_and_a_preflight_passes_the_check_of_the_method(level: Level) -> None:
    app = level()
    middlewares = [allow_cors()] if level is on_the_routes else []
    app.router.http.post("/checked", middlewares=middlewares)(plain)
    app.router.http("/required", middlewares=[*middlewares, required_method("POST")])(shared)
    async with client_of(app) as client:
        for path in "/checked", "/required":
            response = await client.get(path, headers=ORIGIN)
            assert response.status_code == 405
            assert response.headers["access-control-allow-origin"] == "https://example.com"
            preflight = await client.options(path, headers=PREFLIGHT)
            assert preflight.status_code == 204
            assert "POST" in preflight.headers["access-control-allow-methods"]


async def test_what_a_route_says_replaces_what_the_application_says() -> None:
    app = Kui(cors_config={"expose_headers": ["X-App"]})
    app.router.http("/", middlewares=[allow_cors(expose_headers=["X-Route"])])(plain)
    async with client_of(app) as client:
        response = await client.get("/", headers=ORIGIN)
    assert response.headers.get_list("access-control-allow-origin") == ["https://example.com"]
    assert response.headers["access-control-expose-headers"] == "X-Route"
    assert response.headers["vary"] == "Origin"


def test_credentials_for_every_origin_are_refused_when_the_application_is_made() -> None:
    with pytest.raises(ValueError, match="needs allow_origins"):
        Kui(cors_config={"allow_credentials": True})


async def test_an_application_without_cors_says_nothing() -> None:
    app = Kui()
    app.router.http("/")(plain)
    async with client_of(app) as client:
        response = await client.get("/", headers=ORIGIN)
    assert not {"vary", "access-control-allow-origin"} & set(response.headers)


async def test_a_preflight_goes_by_the_method_that_it_asks_for() -> None:
    app = Kui()
    app.router.http.get("/x/me", middlewares=[allow_cors(allow_methods=["GET"])])(plain)
    app.router.http.delete("/x/{id}", middlewares=[allow_cors(allow_methods=["DELETE"])])(plain)
    async with AsyncTestClient(app) as client:
        for method in ("GET", "DELETE"):
            asked = {**ORIGIN, "Access-Control-Request-Method": method}
            response = await client.options("/x/me", headers=asked)
            assert response.status_code == 204
            assert response.headers["access-control-allow-methods"] == method
        assert (await client.delete("/x/me")).status_code == 200
