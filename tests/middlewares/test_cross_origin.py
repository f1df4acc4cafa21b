"""`cross_origin_protection`: requests that a page of another origin may have sent are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kui.asgi import HttpRoute, Kui, allow_cors, cross_origin_protection
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio

HOST = "https://example.com"
PARTNER = "https://partner.example"
PARTNERS = [re.compile(re.escape(PARTNER))]


async def change() -> str:
    return "changed"


def app_with(*middlewares: Any, **more: Any) -> Kui:
    return Kui(routes=[HttpRoute("/", change, middlewares=middlewares)], **more)


async def status(app: Kui, method: str = "POST", **headers: str) -> int:
    """The status of a request with these headers, in whose names `_` is written for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with AsyncTestClient(app, base_url=HOST) as client:
        return (await client.request(method, "/", headers=named)).status_code


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "same-origin, cross-site", "x"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
async def test_what_the_browser_says_comes_from_elsewhere_is_refused(
    method: str, site: str
) -> None:
    app = app_with(cross_origin_protection())
    assert await status(app, method, sec_fetch_site=site) == 403
    # The Origin does not make up for it: a page of another scheme has the same host.
    assert await status(app, method, sec_fetch_site=site, origin=HOST) == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_what_the_browser_says_is_the_users_own_passes(site: str) -> None:
    assert await status(app_with(cross_origin_protection()), sec_fetch_site=site) == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (HOST, 200),
        ("http://example.com:80", 200),
        ("https://EXAMPLE.com:443", 200),
        ("https://www.example.com", 403),
        ("https://example.com:8443", 403),
        ("https://example.com.evil.com", 403),
        ("null", 403),
        ("", 403),
        ("example.com", 403),
    ],
)
async def test_without_that_the_origin_must_be_the_host(origin: str, expected: int) -> None:
    assert await status(app_with(cross_origin_protection()), origin=origin) == expected


async def test_a_client_that_is_no_browser_passes() -> None:
    assert await status(app_with(cross_origin_protection())) == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_safe_methods_pass(method: str) -> None:
    app = app_with(cross_origin_protection())
    assert await status(app, method, sec_fetch_site="cross-site", origin="null") == 200


async def test_two_headers_of_a_kind_are_refused() -> None:
    app = app_with(cross_origin_protection(PARTNER))
    twice = [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")]
    async with AsyncTestClient(app, base_url=HOST) as client:
        assert (await client.post("/", headers=twice)).status_code == 403
        twice = [("origin", PARTNER), ("origin", HOST)]
        assert (await client.post("/", headers=twice)).status_code == 403


async def test_origins_that_are_named_pass() -> None:
    app = app_with(cross_origin_protection("https://Partner.example:443", re.compile("null|x")))
    assert await status(app, sec_fetch_site="cross-site", origin=PARTNER) == 200
    assert await status(app, origin=PARTNER) == 200
    assert await status(app, sec_fetch_site="cross-site", origin="https://other.example") == 403
    assert await status(app, origin="null") == 403  # which every origin may send


def cors(**more: Any) -> allow_cors:
    return allow_cors(allow_origins=PARTNERS, **more)


@pytest.mark.parametrize(
    "app",
    [
        app_with(cross_origin_protection(), cors_config={"allow_origins": PARTNERS}),
        app_with(cors(), cross_origin_protection()),
        app_with(cross_origin_protection(), cors()),
        app_with(cors(), http_middlewares=[cross_origin_protection()]),
    ],
    ids=["cors_config", "around", "inside", "on the route"],
)
async def test_origins_of_a_cors_policy_pass(app: Kui) -> None:
    assert await status(app, sec_fetch_site="cross-site", origin=PARTNER) == 200
    assert await status(app, sec_fetch_site="cross-site", origin="https://other.example") == 403


@pytest.mark.parametrize(
    "app",
    [
        app_with(cross_origin_protection(), cors_config={}),
        app_with(allow_cors(), cross_origin_protection()),
        app_with(cross_origin_protection(), allow_cors()),
    ],
)
async def test_a_policy_for_any_origin_trusts_none(app: Kui) -> None:
    assert await status(app, sec_fetch_site="cross-site", origin=PARTNER) == 403


async def test_the_refusal_can_be_read_where_the_policy_lets_the_page() -> None:
    app = app_with(allow_cors(), cross_origin_protection())
    async with AsyncTestClient(app, base_url=HOST) as client:
        response = await client.post("/", headers={"origin": PARTNER})
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (403, PARTNER)


@pytest.mark.parametrize("wrong", ["example.com", "https://example.com/path", "null"])
def test_what_is_no_origin_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        cross_origin_protection(wrong)
