from __future__ import annotations

import anyio
import pytest
from kui.testing import AsyncTestClient, ContractError

pytestmark = pytest.mark.anyio


async def hello(scope, receive, send):
    assert scope["type"] == "http"
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain")],
        }
    )
    await send({"type": "http.response.body", "body": b"hello"})


async def test_a_bare_function_answers():
    async with AsyncTestClient(hello) as client:
        response = await client.get("/")
        assert response.text == "hello"
        assert (await client.head("/")).content == b""


async def test_streams_and_leaves():
    log = []

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        for i in range(3):
            await send({"type": "http.response.body", "body": b"%d" % i, "more_body": True})
        while (m := await receive())["type"] != "http.disconnect":
            log.append(m)
        log.append("gone")

    async with AsyncTestClient(app) as client:
        async with client.stream("GET", "/") as response:
            async for chunk in response.aiter_bytes():
                assert chunk == b"0"
                break
        assert log[-1] == "gone"


async def test_errors():
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        if scope["path"] == "/twice":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.start", "status": 200})
        raise ValueError("x")

    async with AsyncTestClient(app) as client:
        with pytest.raises(ValueError):
            await client.get("/")
        with pytest.raises(ContractError):
            await client.get("/twice")
    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        assert (await client.get("/")).status_code == 500
        with pytest.raises(ContractError):
            await client.get("/twice")
