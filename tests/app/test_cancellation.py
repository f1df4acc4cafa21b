"""A request to a whole app is cut at its 1st, 2nd, ... checkpoint, until it ends first: nothing is left behind.

By a cancel scope, by asyncio's own `task.cancel()` and by the client leaving there; for every kind
of response, for uploads and for what lasts as long as a request.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from kui.asgi import (
    FileResponse,
    HTTPException,
    Jinja2Templates,
    Kui,
    SendEventResponse,
    StreamResponse,
    TemplateResponse,
    request,
    request_var,
)
from kui.forms import UploadFile
from kui.testing import every_checkpoint
from tests.support.leaving_client import CUTS, LeavingClient

pytestmark = pytest.mark.anyio

Handler = Callable[[], Any]
State = SimpleNamespace


class Resource:
    """Counts how often it was opened and closed."""

    opened = closed = 0

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[None]:
        cls.opened += 1
        try:
            yield
        finally:
            try:
                # Closing takes an await, as a real one does; it may be cut while it is under way.
                await anyio.lowlevel.checkpoint()
            finally:
                cls.closed += 1

    @classmethod
    def reset(cls) -> None:
        cls.opened = cls.closed = 0


async def plain() -> str:
    async with Resource.open():
        await anyio.lowlevel.checkpoint()
    return "plain"


async def entered() -> dict[str, int]:
    await request.exit_stack.enter_async_context(Resource.open())
    return {"a": 1}


async def refused() -> None:
    await request.exit_stack.enter_async_context(Resource.open())
    raise HTTPException(403)


async def page() -> Any:
    await request.exit_stack.enter_async_context(Resource.open())
    return TemplateResponse("page.html", {"items": "abc"})


async def stream() -> StreamResponse:
    async def generator() -> AsyncGenerator[str, None]:
        async with Resource.open():
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
                yield "chunk"

    return StreamResponse(generator())


async def stream_in_threads() -> StreamResponse:
    def generator() -> Iterator[str]:
        Resource.opened += 1
        try:
            yield "a"
            yield "b"
        finally:
            Resource.closed += 1

    return StreamResponse(generator())


async def stream_from_a_function() -> StreamResponse:
    async def feed(send: Callable[[str], Awaitable[None]]) -> None:
        async with Resource.open(), anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.lowlevel.checkpoint)
            await send("a")
            await send("b")

    return StreamResponse(feed)


async def events() -> SendEventResponse:
    async def generator() -> AsyncGenerator[str, None]:
        async with Resource.open():
            yield "a"
            await anyio.lowlevel.checkpoint()
            yield "b"

    return SendEventResponse(generator())


async def echo() -> StreamResponse:
    async def generator() -> AsyncGenerator[bytes, None]:
        async with Resource.open():
            async for chunk in request.stream():
                yield chunk

    return StreamResponse(generator())


async def file() -> FileResponse:
    await request.exit_stack.enter_async_context(Resource.open())
    return FileResponse(request.app.state.file, chunk_size=1000)


async def upload() -> dict[str, int]:
    async with Resource.open():
        form = await request.form
        return {"size": len(await form["file"].aread())}


def multipart(size: int) -> bytes:
    return (
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
        + b"x" * size
        + b"\r\n--b--\r\n"
    )


HANDLERS: list[Handler] = [
    plain,
    entered,
    refused,
    page,
    stream,
    stream_in_threads,
    stream_from_a_function,
    events,
    echo,
    file,
    upload,
]


@pytest.fixture
def app(tmp_path: Path) -> Kui:
    (tmp_path / "page.html").write_text("{% for item in items %}{{ item }}{% endfor %}")
    data = tmp_path / "data"
    data.write_bytes(b"x" * 5000)
    app = Kui(templates=Jinja2Templates(str(tmp_path)))
    app.state.file = str(data)
    for handler in HANDLERS:
        app.router.http(f"/{handler.__name__}")(handler)
    return app


def client_of(path: str) -> LeavingClient:
    body = multipart(30_000) if path == "/upload" else b"abc"
    headers = [
        (b"host", b"test"),
        (b"content-length", b"%d" % len(body)),
        (b"content-type", b"multipart/form-data; boundary=b"),
    ]
    return LeavingClient(body[:1000], body[1000:], method="POST", path=path, headers=headers)


def open_files() -> set[str]:
    return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if is_file(fd)}


def is_file(fd: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith(("/tmp", tempfile.gettempdir()))
    except OSError:  # the one of the listing itself
        return False


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
@pytest.mark.parametrize(("anyio_backend", "how"), CUTS)
async def test_a_request_may_be_cut_anywhere(
    app: Kui,
    handler: Handler,
    how: Any,
    anyio_backend: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(UploadFile, "spool_max_size", 100)  # so that an upload goes to disk
    before = open_files()

    async def scenario(state: State) -> None:
        Resource.reset()
        state.client = client_of(f"/{handler.__name__}")
        await app(state.client.scope, state.client.receive, state.client.send)

    async def check(state: State) -> None:
        # A thread that was let go of may still be at its close.
        with anyio.fail_after(5):
            while Resource.opened != Resource.closed or open_files() != before:
                await anyio.lowlevel.checkpoint()
        assert Resource.opened <= 1
        assert app.in_flight == 0
        assert request_var.get(None) is None
        kinds = [message["type"] for message in state.client.sent]
        assert kinds[:1] in ([], ["http.response.start"])
        assert kinds.count("http.response.start") <= 1

    assert await every_checkpoint(scenario, check, how=how) > 0
    assert [record.getMessage() for record in caplog.records] == []
