"""`client.every_checkpoint()`: one request of a client, hit wherever it waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import anyio
import anyio.lowlevel
import pytest

from kui.asgi import Kui, request, websocket
from kui.testing import AsyncTestClient, DeadlineExceeded

pytestmark = pytest.mark.anyio

How = Literal["leave", "cancel"]


class Site:
    """An app that opens something for a request, and what is open."""

    def __init__(self) -> None:
        self.app = Kui()
        self.opened = self.open = self.done = 0
        self.leaks = False
        self.app.post("/orders")(self.order)
        self.app.get("/stream")(self.stream)
        self.app.get("/hangs")(self.hang)
        self.app.get("/fails")(self.fail)
        self.app.websocket("/echo")(self.echo)

    async def order(self) -> str:
        self.opened += 1
        self.open += 1
        try:
            await request.json
            await anyio.lowlevel.checkpoint()
            self.done += 1
        finally:
            if not self.leaks:
                self.open -= 1
        return "ordered"

    async def stream(self) -> AsyncIterator[str]:
        self.open += 1
        try:
            for number in range(3):
                yield str(number)
        finally:
            self.open -= 1

    async def echo(self) -> None:
        self.open += 1
        try:
            await websocket.accept()
            async for text in websocket.iter_text():
                await websocket.send_text(text)
        finally:
            self.open -= 1

    async def hang(self) -> str:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(1)
        return "at last"

    async def fail(self) -> None:
        await anyio.lowlevel.checkpoint()
        raise KeyError("a")


@pytest.mark.parametrize("how", ["leave", "cancel"])
async def test_a_request_is_hit_at_each_of_its_checkpoints(how: How) -> None:
    site = Site()
    attempts = []
    async with AsyncTestClient(site.app) as client:
        async for hit in client.every_checkpoint(how=how):
            async with hit:
                response = await client.post("/orders", json={"item": 7})
            assert site.open == 0, hit
            attempts.append(hit.at)
        assert response.text == "ordered"  # the last attempt is not hit
    assert attempts == [*range(1, len(attempts) + 1)] and len(attempts) > 2
    assert not hit.reached
    if how == "cancel":
        assert 0 < site.done < len(attempts)


@pytest.mark.parametrize("how", ["leave", "cancel"])
async def test_a_stream_is_hit_while_it_is_read(how: How) -> None:
    site = Site()
    async with AsyncTestClient(site.app) as client:
        async for hit in client.every_checkpoint(how=how):
            async with hit:
                async with client.stream("GET", "/stream") as response:
                    await response.aread()
            assert site.open == 0, hit
        assert response.text.count("data:") == 3


async def test_only_the_first_request_of_a_block_is_hit() -> None:
    site = Site()
    async with AsyncTestClient(site.app) as client:
        async for hit in client.every_checkpoint(how="cancel"):
            async with hit:
                await client.get("/stream")
            before = site.done
            await client.post("/orders", json={})
            assert site.done == before + 1


async def test_what_must_hold_is_said_with_the_checkpoint() -> None:
    site = Site()
    site.leaks = True
    async with AsyncTestClient(site.app) as client:
        with pytest.raises(AssertionError, match=r"<Hit: hit at checkpoint \d+: .*"):
            async for hit in client.every_checkpoint():
                async with hit:
                    await client.post("/orders", json={})
                assert site.open == 0, hit


async def test_what_the_app_raises_is_raised_with_the_checkpoint() -> None:
    site = Site()
    async with AsyncTestClient(site.app) as client:
        with pytest.raises(KeyError) as raised:
            async for hit in client.every_checkpoint():
                async with hit:
                    await client.get("/fails")
        assert any("checkpoint" in note for note in raised.value.__notes__)


async def test_a_block_without_a_request_says_so() -> None:
    async with AsyncTestClient(Site().app) as client:
        with pytest.raises(RuntimeError, match="no request was made in the block"):
            async for hit in client.every_checkpoint():
                async with hit:
                    pass


async def test_a_shutdown_that_takes_too_long_names_the_request_in_flight() -> None:
    site = Site()
    async with AsyncTestClient(site.app, timeout=0.05) as client:
        with pytest.raises(DeadlineExceeded, match="/hangs"):
            await client.get("/hangs")
        message = r"lifespan.shutdown took longer than 0.05 s: GET /hangs: .*Site.hang"
        with pytest.raises(DeadlineExceeded, match=message):
            await client.shutdown()
        client.give_up()
        client.timeout = None  # type: ignore[assignment]  # httpx2 takes it
        client._lifespan._timeout = None  # type: ignore[union-attr]  # so that it may end
