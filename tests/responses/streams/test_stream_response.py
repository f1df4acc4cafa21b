"""Streamed bodies: where the chunks come from, what they may be, and what becomes of an error."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest

from kui.asgi import HTTPException, Kui, StreamResponse, request
from kui.testing import AsyncTestClient, Disconnected, RequestBody

pytestmark = pytest.mark.anyio

Send = Callable[[Any], Awaitable[None]]


def serving(handler: Callable[[], Any], **options: Any) -> Kui:
    app = Kui(**options)
    app.router.http("/")(handler)
    return app


async def get(handler: Callable[[], Any], method: str = "GET", **options: Any) -> httpx2.Response:
    async with AsyncTestClient(serving(handler), **options) as client:
        return await client.request(method, "/")


async def numbers(count: int = 3) -> AsyncGenerator[str, None]:
    for number in range(count):
        yield str(number)


def sync_numbers() -> Iterator[bytes]:
    yield from (b"0", b"1", b"2")


async def feed(send: Send) -> None:
    for number in range(3):
        await send(b"%d" % number)


class Numbers:
    """An async iterable that is no generator."""

    def __aiter__(self) -> AsyncIterator[str]:
        return numbers()


@pytest.mark.parametrize(
    "source",
    [numbers, sync_numbers, Numbers, lambda: ["0", b"1", bytearray(b"2")], lambda: feed],
)
async def test_chunks_come_from_whatever_gives_them(source: Callable[[], Any]) -> None:
    response = await get(lambda: StreamResponse(source()))
    assert response.text == "012"
    assert response.headers["content-type"] == "application/octet-stream"
    assert "content-length" not in response.headers


async def test_text_is_encoded_in_the_charset_of_the_content_type() -> None:
    async def euros() -> AsyncGenerator[str, None]:
        yield "€"

    response = await get(lambda: StreamResponse(euros(), content_type="text/html; charset=cp1252"))
    assert response.content == b"\x80"
    response = await get(lambda: StreamResponse(euros(), content_type="text/html"))
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text == "€"


@pytest.mark.parametrize("source", ["text", b"bytes", {"a": 1}, 7, None])
def test_what_gives_no_chunks_is_refused(source: Any) -> None:
    with pytest.raises(TypeError, match="StreamResponse"):
        StreamResponse(source)


def test_a_feed_that_was_called_is_refused() -> None:
    async def send(chunk: Any) -> None: ...

    with pytest.raises(TypeError, match="write feed"):
        StreamResponse(feed(send))


async def test_a_feed_that_is_no_coroutine_says_what_to_write() -> None:
    def feed(send: Any) -> None: ...

    app = Kui()

    @app.get("/")
    async def answer() -> StreamResponse:
        return StreamResponse(feed)

    async with AsyncTestClient(app) as client:
        with pytest.raises(TypeError, match=r"feed returned None: write async def, and await send"):
            await client.get("/")


async def test_a_chunk_that_is_none_is_an_error_where_it_is_yielded() -> None:
    seen: list[type[BaseException]] = []

    async def wrong() -> AsyncGenerator[Any, None]:
        try:
            yield 7
        except TypeError as exc:
            seen.append(type(exc))
            raise

    response = await get(lambda: StreamResponse(wrong()), raise_app_exceptions=False)
    assert response.status_code == 500
    assert seen == [TypeError]


async def test_head_gets_the_headers_and_nothing_runs() -> None:
    ran: list[int] = []

    async def generator() -> AsyncGenerator[str, None]:
        ran.append(1)
        yield "x"

    response = await get(lambda: StreamResponse(generator(), 202, {"x-a": "b"}), "HEAD")
    assert (response.status_code, response.headers["x-a"], response.content) == (202, "b", b"")
    assert ran == []


async def test_an_error_before_the_first_chunk_is_answered_like_any_other() -> None:
    async def forbidden() -> AsyncGenerator[str, None]:
        raise HTTPException(403, content="not you")
        yield ""

    response = await get(lambda: StreamResponse(forbidden()))
    assert (response.status_code, response.text) == (403, "not you")


@pytest.mark.parametrize("kind", ["generator", "threads", "feed"])
async def test_an_error_after_the_first_chunk_cuts_the_connection(kind: str) -> None:
    async def generator() -> AsyncGenerator[str, None]:
        yield "first"
        raise ValueError("half-way")

    def threads() -> Iterator[str]:
        yield "first"
        raise ValueError("half-way")

    async def feeding(send: Send) -> None:
        await send("first")
        raise ValueError("half-way")

    source = {"generator": generator, "threads": threads, "feed": lambda: feeding}[kind]
    app = serving(lambda: StreamResponse(source()))
    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get("/")
    with pytest.raises(ValueError, match="half-way"):
        async with AsyncTestClient(app) as client:
            await client.get("/")


async def test_the_generator_is_closed_when_the_client_leaves() -> None:
    steps: list[str] = []
    background: list[str] = []

    async def endless() -> AsyncGenerator[str, None]:
        try:
            while True:
                yield "x"
                await anyio.sleep(0.001)
        finally:
            steps.append(request.url.path)
            await anyio.sleep(0.001)
            steps.append("closed")

    async def handler() -> StreamResponse:
        request.background_tasks.append(background.append, "ran")
        return StreamResponse(endless())

    async with AsyncTestClient(serving(handler)) as client:
        async with client.stream("GET", "/") as response:
            async for _ in response.aiter_bytes():
                break
        await client.wait_idle()
    assert steps == ["/", "closed"]
    assert background == ["ran"]


async def test_a_quiet_generator_is_cancelled_when_the_client_leaves() -> None:
    ended = anyio.Event()

    async def quiet() -> AsyncGenerator[str, None]:
        try:
            yield "x"
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with AsyncTestClient(serving(lambda: StreamResponse(quiet()))) as client:
        async with client.stream("GET", "/"):
            pass
        await ended.wait()


async def test_an_echo_gives_every_byte_back_while_it_arrives() -> None:
    async def echo() -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            yield chunk

    app = Kui()
    app.router.http.post("/")(lambda: StreamResponse(echo()))
    data = bytes(range(256)) * 16
    body = RequestBody()
    received = b""
    async with AsyncTestClient(app) as client, anyio.create_task_group() as tasks:

        async def upload() -> None:
            for _ in range(200):
                await body.send(data)
            await body.end()

        tasks.start_soon(upload)
        async with client.stream("POST", "/", content=body) as response:
            async for chunk in response.aiter_bytes():
                received += chunk
    assert received == data * 200


async def test_a_sync_generator_keeps_its_context_and_leaves_the_loop_alone() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    threads: set[int] = set()

    def generator() -> Iterator[str]:
        token = variable.set("mine")
        for _ in range(3):
            threads.add(threading.get_ident())
            yield f"{variable.get()} {request.url.path};"
        variable.reset(token)

    response = await get(lambda: StreamResponse(generator()))
    assert response.text == "mine /;" * 3
    assert threading.get_ident() not in threads


async def test_a_feed_may_open_task_groups_and_send_from_all_of_them() -> None:
    async def feeding(send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(send, f"{number};")
        with anyio.move_on_after(0):
            await anyio.sleep_forever()
        await send("end")

    response = await get(lambda: StreamResponse(feeding))
    assert sorted(response.text.removesuffix("end").split(";")) == ["", *"01234"]
    assert response.text.endswith("end")


async def test_the_error_of_a_generators_own_task_group_arrives_as_itself() -> None:
    crash = anyio.Event()

    async def generator() -> AsyncGenerator[str, None]:
        async def crashing() -> None:
            await crash.wait()
            raise ValueError("child")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(crashing)
            while True:
                crash.set()
                yield "x" * 70_000

    async with AsyncTestClient(
        serving(lambda: StreamResponse(generator())), raise_app_exceptions=True
    ) as client:
        with pytest.raises(ExceptionGroup) as caught:
            await client.get("/")
        assert caught.group_contains(ValueError, match="child")
        assert (await client.get("/nowhere")).status_code == 404


async def test_streams_end_properly_when_the_app_is_to_stop() -> None:
    async def endless() -> AsyncGenerator[str, None]:
        try:
            yield "first;"
            await anyio.sleep_forever()
        finally:
            ended.append("generator")

    async def feeding(send: Send) -> None:
        await send("first;")
        await request.app.wait_for_exit()
        await send("last")

    ended: list[str] = []
    app = Kui()
    app.router.http("/generator")(lambda: StreamResponse(endless()))
    async with AsyncTestClient(app) as client:
        async with client.stream("GET", "/generator") as response:
            chunks = response.aiter_text()
            assert await anext(chunks) == "first;"
            client.begin_shutdown()
            assert [chunk async for chunk in chunks] == []
    assert ended == ["generator"]
    assert app.should_exit


async def test_a_client_that_breaks_off_its_upload_ends_the_stream() -> None:
    seen: list[str] = []

    async def echo() -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in request.stream():
                yield chunk
        finally:
            seen.append("closed")

    app = Kui()
    app.router.http.post("/")(lambda: StreamResponse(echo()))
    body = RequestBody()
    async with AsyncTestClient(app) as client:
        with pytest.raises((Disconnected, httpx2.TransportError)):
            async with client.stream("POST", "/", content=body) as response:
                await body.send(b"some")
                assert await client.read(response, 4) == b"some"
                body.abort()
                await client.read(response, 1)
        await client.wait_idle()
    assert seen == ["closed"]
