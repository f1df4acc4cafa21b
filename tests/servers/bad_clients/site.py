"""The app that the clients of these tests are bad to: a path for each kind of work, `/KIND/NAME`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, BinaryIO

import anyio
import anyio.lowlevel
from baize.typing import Receive, Scope, Send

import kui.concurrency.http.exchange
import kui.concurrency.http.send_limit
import kui.concurrency.http.stall_detector
import kui.concurrency.http.stream
from kui.asgi import (
    ClientDisconnect,
    FileResponse,
    Kui,
    Limits,
    Mount,
    SendEventResponse,
    StreamResponse,
    cancel_on_disconnect,
    request,
    shielded,
)

from .books import Books, Record

for module in (
    kui.concurrency.http.exchange,
    kui.concurrency.http.send_limit,
    kui.concurrency.http.stall_detector,
    kui.concurrency.http.stream,
):
    if "STALL_TIME" in os.environ:
        module.STALL = float(os.environ["STALL_TIME"])  # seconds, in place of half a minute
kui.concurrency.http.stall_detector.NEGLECT = 2.0  # and of five minutes

CHUNK = b"x" * 8192
BIG = 64 << 20
"""Bytes that no socket's buffers hold."""

books = app = Books()
site = books.app = Kui(limits=Limits(body=16 << 20, file_bytes=16 << 20))
http = site.router.http


@site.on_shutdown
async def tell(_: Kui) -> None:
    """What is left when all requests are said to be over."""
    records = books.records.values()
    opened, closed, finals = (
        sum(getattr(each, what) for each in records) for what in ("opened", "closed", "finals")
    )
    print(f"app: shut down; {opened} opened, {closed} closed, {finals} cleaned up", flush=True)


def begin() -> Record:
    """The record of this request, which has begun, and has a background task."""
    record = books.record(request.path_params["name"])
    request.background_tasks.append(ran, record)
    record.begun = True
    return record


async def ran(record: Record) -> None:
    record.background += 1


async def released() -> None:
    await books.release(request.path_params["name"])[0].wait()


@contextmanager
def resource(record: Record) -> Iterator[BinaryIO]:
    """A descriptor that must be closed."""
    record.opened += 1
    with open("/dev/zero", "rb") as file:
        try:
            yield file
        finally:
            record.closed += 1


async def clean_up(record: Record) -> None:
    """What a careful `finally` does."""
    await anyio.lowlevel.checkpoint()
    record.finals += 1


def both(path: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """A route for requests with a body, and without one."""

    def register(handler: Callable[[], Any]) -> Callable[[], Any]:
        http.get(path)(handler)
        http.post(path)(handler)
        return handler

    return register


# Answers that are complete.


@both("/plain/{name}")
async def plain() -> str:
    begin()
    return "hello"


@both("/big/{name}")
async def big() -> bytes:
    begin()
    return bytes(BIG)


@both("/thread/{name}")
def in_a_thread() -> str:
    begin()
    return "hello"


# Answers that have no end.


async def chunks(record: Record) -> AsyncGenerator[bytes, None]:
    with resource(record):
        try:
            while True:
                record.produced += 1
                yield CHUNK
        finally:
            await clean_up(record)


@both("/async/{name}")
async def from_async_generator() -> StreamResponse:
    return StreamResponse(chunks(begin()))


@both("/sync/{name}")
async def from_sync_generator() -> StreamResponse:
    def chunks(record: Record) -> Generator[bytes, None, None]:
        with resource(record):
            try:
                while True:
                    record.produced += 1
                    yield CHUNK
            finally:
                record.finals += 1

    return StreamResponse(chunks(begin()))


@both("/feed/{name}")
async def from_feed() -> StreamResponse:
    record = begin()

    async def feed(send: Callable[[bytes], Awaitable[None]]) -> None:
        async def produce() -> None:
            while True:
                record.produced += 1
                await send(CHUNK)

        with resource(record):
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(produce)
                    group.start_soon(anyio.sleep_forever)
            finally:
                with shielded(5):
                    await clean_up(record)

    return StreamResponse(feed)


@both("/events/{name}")
async def events() -> SendEventResponse:
    async def events(record: Record) -> AsyncGenerator[dict[str, Any], None]:
        async with aclosing(chunks(record)) as data:
            async for chunk in data:
                yield {"id": record.produced, "data": chunk.decode()}

    return SendEventResponse(events(begin()))


@both("/quiet/{name}")
async def quiet() -> SendEventResponse:
    async def events(record: Record) -> AsyncGenerator[dict[str, Any], None]:
        with resource(record):
            try:
                yield {"data": "the only one"}
                await anyio.sleep_forever()
            finally:
                await clean_up(record)

    return SendEventResponse(events(begin()), ping_interval=0.25)


@both("/silent/{name}")
async def silent() -> StreamResponse:
    """A stream that never says a word: not even its headers go out."""

    async def nothing(record: Record) -> AsyncGenerator[bytes, None]:
        with resource(record):
            try:
                await anyio.sleep_forever()
                yield b""
            finally:
                await clean_up(record)

    return StreamResponse(nothing(begin()))


@both("/busy-thread/{name}")
async def busy_thread() -> StreamResponse:
    """A synchronous generator that is at work in its thread until the test releases it."""
    record = begin()
    wait = books.release(request.path_params["name"])[1].wait

    def chunks() -> Generator[bytes, None, None]:
        with resource(record):
            try:
                yield CHUNK
                record.events.append("working")
                wait()
                yield CHUNK
            finally:
                record.finals += 1

    return StreamResponse(chunks())


@both("/file/{name}")
async def file() -> FileResponse:
    begin()
    return FileResponse(os.environ["BIG_FILE"])


# Whoever reads the body.


@http.post("/echo/{name}")
async def echo() -> StreamResponse:
    async def echo(record: Record) -> AsyncIterator[bytes]:
        with resource(record):
            try:
                async for chunk in request.stream():
                    record.produced += 1
                    yield chunk
            finally:
                await clean_up(record)

    return StreamResponse(echo(begin()))


@http.post("/sip/{name}")
async def sip() -> StreamResponse:
    """A stream that reads the beginning of the body, and goes on without the rest."""

    async def sip(record: Record) -> AsyncIterator[bytes]:
        await anext(request.stream())
        async with aclosing(chunks(record)) as rest:
            async for chunk in rest:
                yield chunk

    return StreamResponse(sip(begin()))


@http.post("/body/{name}")
async def body() -> dict[str, int]:
    record = begin()
    with resource(record):
        try:
            return {"size": len(await request.body)}
        finally:
            await clean_up(record)


@http.post("/stream/{name}")
async def stream() -> dict[str, int]:
    record = begin()
    size = 0
    with resource(record):
        try:
            async for chunk in request.stream():
                record.produced += 1
                size += len(chunk)
            return {"size": size}
        finally:
            await clean_up(record)


@http.post("/form/{name}")
async def form() -> dict[str, int]:
    record = begin()
    with resource(record):
        try:
            return {"fields": len((await request.form).multi_items())}
        finally:
            await clean_up(record)


# Handlers that wait.


@both("/waiting/{name}")
async def waiting() -> str:
    """Knows nothing of its client; whether it is told in the end, it notes."""
    record = begin()
    with resource(record):
        try:
            await released()
            record.events.append("released")
            return "hello"
        finally:
            await clean_up(record)


@both("/waiting-in-a-thread/{name}")
def waiting_in_a_thread() -> str:
    record = begin()
    with resource(record):
        books.release(request.path_params["name"])[1].wait()
        record.finals += 1
        return "hello"


@http.post("/refusing/{name}")
async def refusing() -> tuple[str, int]:
    """Waits, and answers without having read."""
    begin()
    await released()
    return "too large", 413


async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
    """An app of no framework that does the same; of its three messages it lets a client leave before any."""
    record = books.record(scope["path"].rpartition("/")[2])
    record.begun = True
    await books.release(scope["path"].rpartition("/")[2])[0].wait()
    with suppress(ClientDisconnect):  # if the server tells that the client has gone
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"too ", "more_body": True})
        await send({"type": "http.response.body", "body": b"large"})
    record.background += 1


site.router << Mount("/mounted", mounted)


@both("/polling/{name}")
async def polling() -> str:
    record = begin()
    with resource(record):
        try:
            while not await request.is_disconnected():  # noqa: ASYNC110 - as users will do
                await anyio.sleep(0.01)
            record.events.append("disconnected")
            return "hello"
        finally:
            await clean_up(record)


async def wait_for_ever(record: Record) -> None:
    with resource(record):
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
        except anyio.get_cancelled_exc_class():
            record.events.append("cancelled")
            raise
        finally:
            # A `finally` of a handler that is cancelled has to shield what it waits for.
            with anyio.CancelScope(shield=True):
                await clean_up(record)


@http.get("/watched/{name}", middlewares=[cancel_on_disconnect])
@http.post("/watched/{name}", middlewares=[cancel_on_disconnect])
async def watched() -> str:
    await wait_for_ever(begin())
    return "hello"


@both("/watched-block/{name}")
async def watched_block() -> str:
    record = begin()
    async with cancel_on_disconnect():
        await wait_for_ever(record)
    return "hello"


# Generators that do what they should not.


@http.get("/own-group/{name}")
async def own_group() -> StreamResponse:
    """Suspended inside its own task group, one of whose children fails when the test says so."""
    wait = books.release(request.path_params["name"])[0].wait

    async def fail() -> None:
        await wait()
        raise LookupError("the child has failed")

    async def chunks(record: Record) -> AsyncGenerator[bytes, None]:
        with resource(record):
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(fail)
                    while True:
                        record.produced += 1
                        yield CHUNK
            finally:
                await clean_up(record)

    return StreamResponse(chunks(begin()))


@http.get("/own-timeout/{name}")
async def own_timeout() -> StreamResponse:
    """Suspended inside its own timeout, which fires when the test says so."""
    wait = books.release(request.path_params["name"])[0].wait

    async def chunks(record: Record) -> AsyncGenerator[bytes, None]:
        with resource(record):
            try:
                with anyio.fail_after(3600) as scope:
                    site.task_group.start_soon(fire, scope)
                    while True:
                        record.produced += 1
                        yield CHUNK
            finally:
                await clean_up(record)

    async def fire(scope: anyio.CancelScope) -> None:
        await wait()
        scope.deadline = anyio.current_time()

    return StreamResponse(chunks(begin()))


@http.get("/own-scope/{name}")
async def own_scope() -> StreamResponse:
    """As before, and it goes on afterwards as if nothing had been."""
    wait = books.release(request.path_params["name"])[0].wait

    async def chunks(record: Record) -> AsyncGenerator[bytes, None]:
        with resource(record):
            try:
                with anyio.CancelScope() as scope:
                    site.task_group.start_soon(fire, scope)
                    while True:
                        record.produced += 1
                        yield CHUNK
                yield b"the end"
            finally:
                await clean_up(record)

    async def fire(scope: anyio.CancelScope) -> None:
        await wait()
        scope.cancel()

    return StreamResponse(chunks(begin()))


@http.get("/half-way/{name}")
async def half_way() -> StreamResponse:
    """Fails after its first chunk."""

    async def chunks(record: Record) -> AsyncGenerator[bytes, None]:
        with resource(record):
            try:
                yield b"the beginning"
                await released()
                raise LookupError("there is no more")
            finally:
                await clean_up(record)

    return StreamResponse(chunks(begin()))
