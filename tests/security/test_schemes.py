"""What the security schemes read, refuse and say."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any

import pytest

from kui.asgi import HTTPException, Kui, Security, allow_cors, websocket
from kui.security import (
    APIKey,
    BasicCredentials,
    HTTPBasic,
    HTTPBearer,
    OAuth2Password,
    any_of,
    same,
)
from kui.testing import AsyncTestClient, WebSocketDenied

pytestmark = pytest.mark.anyio

basic = HTTPBasic(realm='the "shop"')
bearer = HTTPBearer(realm="shop")
app = Kui()


@app.get("/basic")
async def read_basic(given: Annotated[BasicCredentials, Security(basic)]) -> dict[str, str]:
    return {"username": given.username, "password": given.password}


@app.get("/bearer")
async def read_bearer(token: Annotated[str, Security(bearer)]) -> str:
    return token


@app.get("/either")
async def read_either(given: Annotated[Any, Security(any_of(bearer, basic))]) -> str:
    return type(given).__name__


@app.get("/header")
async def read_header(key: Annotated[str, Security(APIKey("X-Key"))]) -> str:
    return key


@app.get("/query")
async def read_query(key: Annotated[str, Security(APIKey("key", "query"))]) -> str:
    return key


@app.get("/cookie")
async def read_cookie(key: Annotated[str, Security(APIKey("key", "cookie"))]) -> str:
    return key


@app.get("/cors", middlewares=[allow_cors()])
async def with_cors(token: Annotated[str, Security(bearer)]) -> str:
    return token


@app.websocket("/socket")
async def socket(token: Annotated[str, Security(bearer)]) -> None:
    await websocket.accept()
    await websocket.send_text(token)


def basic_header(text: str) -> dict[str, str]:
    return {"authorization": f"Basic {b64encode(text.encode()).decode()}"}


async def test_basic_credentials_are_utf_8_and_may_have_colons() -> None:
    async with AsyncTestClient(app) as client:
        answer = await client.get("/basic", headers=basic_header("Zoë:a:b"))
        assert answer.json() == {"username": "Zoë", "password": "a:b"}


@pytest.mark.parametrize(
    "value",
    [
        "Basic",
        "Basic !",
        "Basic " + b64encode(b"nocolon").decode(),
        "Basic " + b64encode(b"\xff:x").decode(),
        "Basic " + b64encode(b"a\r\n:x").decode(),
        "Bearer x",
        "Basic " + "A" * 10_001,
    ],
)
async def test_what_is_no_basic_header_is_refused_with_a_challenge(value: str) -> None:
    async with AsyncTestClient(app) as client:
        answer = await client.get("/basic", headers={"authorization": value})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == (
            'Basic realm="the \\"shop\\"", charset="UTF-8"'
        )


async def test_two_authorization_headers_are_none() -> None:
    async with AsyncTestClient(app) as client:
        headers = [("authorization", "Bearer a"), ("authorization", "Bearer b")]
        assert (await client.get("/bearer", headers=headers)).status_code == 401


async def test_a_bearer_token_is_read_whatever_the_case_of_its_scheme() -> None:
    async with AsyncTestClient(app) as client:
        answer = await client.get("/bearer", headers={"authorization": "bearer abc"})
        assert answer.text == "abc"
        refused = await client.get("/bearer")
        assert refused.headers["www-authenticate"] == 'Bearer realm="shop"'


async def test_one_of_several_is_enough_and_a_refusal_has_all_challenges() -> None:
    async with AsyncTestClient(app) as client:
        answer = await client.get("/either", headers={"authorization": "Bearer abc"})
        assert answer.text == "str"
        assert (await client.get("/either", headers=basic_header("a:b"))).text == (
            "BasicCredentials"
        )
        challenge = (await client.get("/either")).headers["www-authenticate"]
        assert challenge.startswith("Bearer ") and ", Basic " in challenge


async def test_keys_are_read_where_they_are_declared() -> None:
    async with AsyncTestClient(app, cookies={"key": "c"}) as client:
        assert (await client.get("/header", headers={"x-key": "h"})).text == "h"
        assert (await client.get("/query?key=q")).text == "q"
        assert (await client.get("/cookie")).text == "c"
        assert (await client.get("/header")).status_code == 401
        assert (await client.get("/query?key=a&key=b")).status_code == 401
        assert (await client.get("/query?key=")).status_code == 401


async def test_a_refusal_carries_the_cors_headers_of_its_route() -> None:
    async with AsyncTestClient(app) as client:
        answer = await client.get("/cors", headers={"origin": "https://a.example"})
        assert answer.status_code == 401
        assert "access-control-allow-origin" in answer.headers


async def test_a_socket_is_denied_before_it_is_accepted() -> None:
    async with AsyncTestClient(app) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/socket"):
                pass
        assert denied.value.response.status_code == 401
        headers = {"authorization": "Bearer abc"}
        async with client.websocket("/socket", headers=headers) as session:
            assert await session.receive_text() == "abc"


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(BasicCredentials("ada", "secret"))


def test_secrets_are_compared_whatever_they_hold() -> None:
    assert same("a", "a") and not same("a", "b") and not same("", "a")
    assert not same("\ud83d", "a")


@pytest.mark.parametrize(
    "make",
    [
        lambda: HTTPBasic(realm="a\r\nb"),
        lambda: HTTPBearer(realm="é"),
        lambda: APIKey("a b"),
        lambda: APIKey("key", "body"),  # type: ignore[arg-type]  # what is tested
    ],
)
def test_what_cannot_be_a_scheme_is_told_where_it_is_made(make: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()


def test_any_of_takes_two_or_more() -> None:
    with pytest.raises(TypeError, match="two security schemes"):
        any_of(basic)
    assert len(any_of(any_of(basic, bearer), APIKey("k")).schemes) == 3


async def test_the_password_flow_gives_its_token() -> None:
    flow = OAuth2Password("/token")
    app = Kui()

    @app.get("/")
    async def index(token: Annotated[str, Security(flow)]) -> str:
        if token != "good":
            raise HTTPException(403)
        return token

    async with AsyncTestClient(app) as client:
        assert (await client.get("/", headers={"authorization": "Bearer good"})).text == "good"
        assert (await client.get("/", headers={"authorization": "Bearer bad"})).status_code == 403
