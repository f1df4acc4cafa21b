"""A connection of the server is cancelled at each of its checkpoints: nothing is left, and nothing is sent after the cut."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from baize.typing import Receive, Scope, Send
from hpack import Encoder
from hyperframe.frame import Frame

from kui.serving import pipe_trio
from kui.serving.protocol import PREFACE
from kui.serving.tasks_asyncio import RequestTasks
from kui.testing.harness import SteppedRun

from .conftest import Client, Serve, Server
from .random_inputs import frame

pytestmark = pytest.mark.anyio

LARGE = 8 * 1024 * 1024
"""Bytes of a chunk that the server cannot send before its client reads. Over HTTP/2, where less is queued, a part of it."""
MOST = 1000
"""More checkpoints than a connection has here."""

UPLOAD = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def head(stream: int, method: bytes, path: bytes, flags: int) -> bytes:
    fields = [(b":method", method), (b":path", path), (b":scheme", b"http"), (b":authority", b"x")]
    return frame(1, flags, stream, bytes(Encoder().encode(fields)))


Script = list[tuple[bytes, bytes | None]]
"""What a client sends, and what it reads then; None: it waits until the server does, and reads nothing."""

HTTP1: Script = [
    (UPLOAD + b"hello", None),
    (b"world", b"world"),
    (STREAM, None),
    (b"", b"ended\r\n0\r\n\r\n"),
    (LAST, None),
]
WEBSOCKET: Script = [
    (UPGRADE, b"\r\n\r\n"),
    (b"\x81\x85\0\0\0\0hello", b"hello"),
    (b"\x81\x85\0\0\0\0large", None),
    (b"", b"ended"),
    (b"\x88\x82\0\0\0\0\x03\xe8", None),
]
WINDOWS = frame(4, 0, 0, b"\0\x04\x40\0\0\0") + frame(8, 0, 0, (1 << 30).to_bytes(4, "big"))
HTTP2: Script = [
    (PREFACE + WINDOWS + head(1, b"POST", b"/upload", 4) + frame(0, 0, 1, b"hello"), None),
    (frame(0, 1, 1, b"world"), b"world"),
    (head(3, b"GET", b"/stream", 5), None),
    (b"", b"ended"),
    (head(5, b"GET", b"/last", 5) + frame(7, 0, 0, bytes(8)), None),
]


class App:
    """Answers an upload, a stream and a plain request, and counts what becomes of its calls."""

    def __init__(self) -> None:
        self.calls = self.ended = self.cancelled = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        try:
            if scope["type"] == "websocket":
                await self.echo(receive, send)
            else:
                size = LARGE if scope["http_version"] == "1.1" else LARGE // 16
                await self.answer(scope["path"], size, receive, send)
            self.ended += 1
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise

    async def answer(self, path: str, size: int, receive: Receive, send: Send) -> None:
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
            for chunk in (b"begun", bytes(size), b"ended"):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await anyio.lowlevel.checkpoint()
        await send({"type": "http.response.body", "body": body})

    async def echo(self, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.connect":
                await send({"type": "websocket.accept"})
                continue
            text = message["text"]
            if text == "large":
                text = "x" * LARGE + "ended"
            await send({"type": "websocket.send", "text": text})


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
        # At its last checkpoint nothing is left to be cancelled, nor at those of two task groups that end one
        # after the other: where no task is left, trio passes them whatever is cancelled.
        ended = scope.cancelled_caught or self.seen <= self.at + 1
        assert ended, "the cancellation was swallowed"


async def talk(client: Client, script: Script) -> bytes:
    """Follow the script, and read to the end; return all that came."""
    got = b""
    try:
        for data, until in script:
            await client.send(data)
            if until is None:
                await anyio.wait_all_tasks_blocked()  # now the server waits
            else:
                got += await client.until(until)
        with suppress(OSError):  # the server was faster
            await client.stream.send_eof()
        return got + await client.rest()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return got + client._read


async def attempt(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, loop: str, at: int, script: Script
) -> Any:
    app = App()
    cut = Cut(at, app)
    kind: Any = pipe_trio.Connections if loop == "trio" else RequestTasks
    name = "_serve" if loop == "trio" else "_run"
    serving = getattr(kind, name)

    def stepped(owner: Any, *args: Any) -> Coroutine[Any, Any, object]:
        if loop == "trio":
            return cut.on_trio(serving(owner, *args))
        scope, work, ended = args
        if work.__qualname__ == "Connection.serve":  # and not what begins a connection, or a stream
            work = cut.step(work, scope.cancel)
        return serving(owner, scope, work, ended)

    with monkeypatch.context() as patch:
        patch.setattr(kind, name, stepped)
        async with serve(app) as cut.server:
            async with cut.server.connect() as client:
                got = await talk(client, script)
            with anyio.fail_after(5):
                await cut.server.state.until_empty()
    return app, cut, re.sub(rb"date: [^\r]+", b"date: then", got)


def tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # on trio each task has a parent that waits for it
        return 0


def check_http1(got: bytes, whole: bytes) -> None:
    """It is cut, or the request that was not answered yet has a 503."""
    sent, stopping, _ = got.partition(b"HTTP/1.1 503 ")
    assert whole.startswith(sent)
    between = {found.start() for found in re.finditer(rb"HTTP/1.1 200 OK", whole)}
    assert not stopping or len(sent) in between, "something was sent within an answer"


def check_websocket(got: bytes, whole: bytes) -> None:
    """It is cut, or there is a close frame, and nothing behind it."""
    sent, closing, reason = got.partition(b"\x88\x02")
    if not sent.startswith(b"HTTP/1.1 503 "):
        assert whole.startswith(sent)
        assert len(reason) == 2 if closing else True
        assert not closing or len(sent) in (
            whole.index(b"\x81"),
            whole.index(b"hello") + 5,
            whole.index(b"ended") + 5,
        )


def check_http2(got: bytes, whole: bytes) -> None:
    """Its frames are whole but for the last one, and no stream goes on behind its end."""
    over: set[int] = set()
    while len(got) >= 9:
        each, length = Frame.parse_frame_header(memoryview(got[:9]))
        got = got[9 + length :]
        assert each.stream_id not in over
        if "END_STREAM" in each.flags or each.type == 3:
            over.add(each.stream_id)


@pytest.mark.parametrize(
    ("script", "check"),
    [(HTTP1, check_http1), (WEBSOCKET, check_websocket), (HTTP2, check_http2)],
    ids=["HTTP/1.1", "WebSocket", "HTTP/2"],
)
async def test_it_may_be_cancelled_anywhere(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    loop: str,
    caplog: pytest.LogCaptureFixture,
    script: Script,
    check: Callable[[bytes, bytes], None],
) -> None:
    app, _, whole = await attempt(serve, monkeypatch, loop, MOST, script)
    calls = app.calls
    assert app.ended == calls
    descriptors, others = len(os.listdir("/proc/self/fd")), tasks()
    cuts = cancelled = 0
    for at in range(1, MOST):
        app, cut, got = await attempt(serve, monkeypatch, loop, at, script)
        if cut.calls is None:
            break
        cuts += 1
        cancelled += app.cancelled
        # Over HTTP/2 the task of a stream may have been started, and begin where it is cancelled.
        assert app.calls == cut.calls or script is HTTP2, "a request was begun after the cut"
        assert app.ended + app.cancelled == app.calls
        check(got, whole)
        assert len(os.listdir("/proc/self/fd")) == descriptors and tasks() == others
    check(got, whole)
    assert app.ended == calls
    assert cuts >= 5 and cancelled >= 4
    assert caplog.records == []
