"""A request that is over leaves nothing that only the garbage collector could find."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import kui.concurrency.http.watch
from benchmarks.cases import CASES, Case
from benchmarks.worker import Sites
from kui.asgi import Kui, StreamResponse, cancel_on_disconnect

pytestmark = pytest.mark.anyio

SMALL = [case for case in CASES.values() if len(b"".join(case.body)) < 2**20]


async def left_by(work: Callable[[], Awaitable[object]]) -> list[type]:
    """The types of Kui's of which `work()` leaves something to the garbage collector."""
    gc.collect()
    gc.freeze()  # what was there before is no business of this test's
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await work()
        gc.collect()
        kinds = [type(each) for each in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()
    return [kind for kind in kinds if kind.__module__.partition(".")[0] == "kui"]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: str(case.name))
async def test_what_a_request_or_a_websocket_has_made_goes_with_it(case: Case) -> None:
    async with AsyncExitStack() as stack:
        client = await Sites("kui", stack).client(case)
        await client.check()
        assert await left_by(lambda: client.time(3)) == []


app = Kui()


@app.router.http.get("/stream")
async def stream() -> StreamResponse:
    async def chunks() -> AsyncIterator[bytes]:
        await wait()
        yield b"the beginning"
        await wait()

    return StreamResponse(chunks())


@app.router.http.get("/watched", middlewares=[cancel_on_disconnect])
async def watched() -> str:
    await wait()
    return "done"


async def wait() -> None:
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("path", ["/stream", "/watched"])
async def test_so_does_what_has_watched_its_client(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kui.concurrency.http.watch, "WATCH_AFTER", 0.0)
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "http_version": "1.1",
        "root_path": "",
    }
    received = 0

    async def receive() -> Any:
        nonlocal received
        received += 1
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        pass

    async def ask() -> None:
        for _ in range(3):
            await app(dict(scope), receive, send)

    await ask()
    assert await left_by(ask) == []
    assert received
