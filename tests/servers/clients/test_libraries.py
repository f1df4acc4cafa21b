"""aiohttp's client and httpx2, over HTTP/1.1, HTTP/2 and WebSockets."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import httpx2
import pytest

from tests.support.process import PATIENCE, ServerProcess

from .site import BIG


async def with_aiohttp(url: str) -> None:
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(url, timeout=timeout) as session:
        async with session.get("/plain") as response:
            assert await response.text() == "hello over 1.1"
        async with session.get("/big") as response:
            assert await response.read() == BIG

        async def pieces():  # type: ignore[no-untyped-def]
            for _ in range(50):
                yield b"x" * 10_000

        async with session.post("/count", data=pieces()) as response:
            assert await response.text() == "500000"
        async with session.post("/count", data=b"x" * 1000, expect100=True) as response:
            assert await response.text() == "1000"
        async with session.post("/early", data=BIG) as response:
            assert (response.status, await response.text()) == (413, "too large")
        async with session.ws_connect("/echo") as socket:
            for text in ("one", "", "ü" * 100_000):
                await socket.send_str(text)
                assert (await socket.receive()).data == text
            await socket.ping(b"there?")
            await socket.close(code=4000)
            assert socket.close_code == 4000
        async with session.get("/events") as response:
            lines = [await response.content.readline() for _ in range(15)]
            assert sum(line.startswith(b"data: ") for line in lines) == 5


def test_aiohttp_gets_uploads_streams_and_speaks(site: ServerProcess) -> None:
    before = site.log.count("left\n")
    asyncio.run(with_aiohttp(site.url))
    site.find("left\n", before + 1)


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_httpx2_gets_uploads_and_streams(
    secure_site: ServerProcess, certificate: Path, version: str
) -> None:
    trusted = ssl.create_default_context(cafile=str(certificate))
    with httpx2.Client(
        base_url=secure_site.url, verify=trusted, http2=version == "HTTP/2", timeout=PATIENCE
    ) as client:
        response = client.get("/plain")
        assert response.http_version == version
        assert client.get("/big").content == BIG
        pieces = (b"x" * 10_000 for _ in range(50))
        assert client.post("/count", content=pieces).text == "500000"
        assert client.post("/early", content=BIG).status_code == 413
        assert client.get("/numbers").text.endswith("\n99\n")
        before = secure_site.log.count("left\n")
        with client.stream("GET", "/events") as response:
            lines = response.iter_lines()
            data = [line for line in (next(lines) for _ in range(10)) if line.startswith("data: ")]
            assert data == [f"data: {number}" for number in range(5)]
    secure_site.find("left\n", before + 1)
