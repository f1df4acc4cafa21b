"""Dependencies in worker threads: one that is let go of is closed by its thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Annotated, Any

import anyio
import pytest

from kui.asgi import Depends, Endpoint

from .conftest import Serve

pytestmark = pytest.mark.anyio


async def test_an_entry_that_is_abandoned_is_closed_by_its_thread(serve: Serve) -> None:
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()
    seen: list[bool] = []

    def cut_once_begun(endpoint: Endpoint) -> Endpoint:
        async def cut() -> Any:
            async with anyio.create_task_group() as group:

                async def wait() -> None:
                    await anyio.to_thread.run_sync(begun.wait)
                    group.cancel_scope.cancel()

                group.start_soon(wait)
                return await endpoint()
            return "cut", 504

        return cut

    def connection() -> Iterator[str]:
        begun.set()
        go_on.wait(10)
        try:
            yield "connection"
        finally:
            seen.append(threading.current_thread() is threading.main_thread())
            closed.set()

    async def show(connection: Annotated[str, Depends(connection, thread=True)]) -> str:
        return connection

    async with serve(show, middlewares=[cut_once_begun]) as client:
        assert (await client.get("/")).status_code == 504
        assert not closed.is_set()
        go_on.set()
        with anyio.fail_after(10):
            await anyio.to_thread.run_sync(closed.wait)
    assert seen == [False]


async def test_a_generator_in_threads_sees_the_handler_s_exception(serve: Serve) -> None:
    seen: list[str] = []

    def connection() -> Iterator[str]:
        try:
            yield "connection"
        except KeyError as error:
            seen.append(repr(error))
            raise

    async def show(connection: Annotated[str, Depends(connection, thread=True)]) -> str:
        raise KeyError("a")

    with pytest.raises(KeyError):
        async with serve(show) as client:
            await client.get("/")
    assert seen == ["KeyError('a')"]
