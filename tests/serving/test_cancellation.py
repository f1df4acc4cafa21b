"""A connection of the server is cancelled at each of its checkpoints: nothing is left, and nothing is sent after the cut."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from baize.typing import Receive, Scope, Send

from kui.serving import pipe_asyncio, pipe_trio
from kui.testing.harness import SteppedRun

from .conftest import Client, Serve, Server

pytestmark = pytest.mark.anyio

UPLOAD = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LARGE = 8 * 1024 * 1024
"""Bytes of a chunk that the server cannot send before its client reads."""
MOST = 1000
"""More checkpoints than a connection has here."""


class App:
    """Answers an upload, a stream and a plain request, and counts what becomes of its calls."""

    def __init__(self) -> None:
        self.calls = self.ended = self.cancelled = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        try:
            await self.answer(scope["path"], receive, send)
            self.ended += 1
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise

    async def answer(self, path: str, receive: Receive, send: Send) -> None:
        body = b""
        if path == "/upload":
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    return
                body += message["body"]
                more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if path == "/stream":
            for chunk in (b"begun", bytes(LARGE), b"ended"):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await anyio.lowlevel.checkpoint()
        await send({"type": "http.response.body", "body": body})


class Cut:
    """Steps what serves a connection, and cancels it as the server does at checkpoint `at`, counted over all its tasks."""

    def __init__(self, at: int, app: App) -> None:
        self.at = at
        self.app = app
        self.seen = 0
        self.calls: int | None = None  # of the app, at the time of the cut
        self.server: Server | None = None

    async def step(self, work: Coroutine[Any, Any, object], cancel: Callable[[], object]) -> object:
        def hit() -> None:
            assert self.server is not None
            self.calls = self.app.calls
            self.server.state.cancelled = True
            cancel()

        run = SteppedRun(work, self.at - self.seen)
        run.hit = hit
        try:
            return await run
        finally:
            self.seen += run.seen

    async def on_trio(self, work: Coroutine[Any, Any, object]) -> None:
        with anyio.CancelScope() as scope:
            await self.step(work, scope.cancel)
        assert self.calls is None or scope.cancelled_caught, "the cancellation was swallowed"


async def talk(client: Client) -> bytes:
    """Upload in two pieces, read a stream, and ask once more; return all that came."""
    parts = [
        (UPLOAD + b"hello", None),
        (b"world", b"world"),
        (STREAM, None),
        (b"", b"ended\r\n0\r\n\r\n"),
        (LAST, None),
    ]
    got = b""
    try:
        for data, until in parts:
            await client.send(data)
            if until is None:
                await anyio.wait_all_tasks_blocked()  # now the server waits
            else:
                got += await client.until(until)
        return got + await client.rest()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return got + client._read


async def attempt(serve: Serve, monkeypatch: pytest.MonkeyPatch, loop: str, at: int) -> Any:
    app = App()
    cut = Cut(at, app)
    kind: Any = pipe_trio.Connections if loop == "trio" else pipe_asyncio._Driver
    name = "_serve" if loop == "trio" else "serve"
    serving = getattr(kind, name)

    def stepped(*args: Any) -> Coroutine[Any, Any, object]:
        if loop == "trio":
            return cut.on_trio(serving(*args))
        return cut.step(serving(*args), args[0].scope.cancel)

    with monkeypatch.context() as patch:
        patch.setattr(kind, name, stepped)
        async with serve(app) as cut.server:
            async with cut.server.connect() as client:
                got = await talk(client)
            with anyio.fail_after(5):
                await cut.server.state.until_empty()
    return app, cut, re.sub(rb"date: [^\r]+", b"date: then", got)


def tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # on trio each task has a parent that waits for it
        return 0


async def test_it_may_be_cancelled_anywhere(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, _, whole = await attempt(serve, monkeypatch, loop, MOST)
    answers = [found.start() for found in re.finditer(rb"HTTP/1.1 200 OK", whole)]
    assert len(answers) == 3
    descriptors, others = len(os.listdir("/proc/self/fd")), tasks()
    cuts = cancelled = 0
    for at in range(1, MOST):
        app, cut, got = await attempt(serve, monkeypatch, loop, at)
        if cut.calls is None:
            break
        cuts += 1
        cancelled += app.cancelled
        assert app.calls == cut.calls, "a request was begun after the cut"
        assert app.ended + app.cancelled == app.calls
        sent, stopping, _ = got.partition(b"HTTP/1.1 503 ")
        assert whole.startswith(sent)
        assert not stopping or len(sent) in answers, "something was sent within an answer"
        assert len(os.listdir("/proc/self/fd")) == descriptors and tasks() == others
    assert got == whole
    assert cuts >= 5 and cancelled >= 4
    assert caplog.records == []
