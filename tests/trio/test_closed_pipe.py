"""A pipe that was closed while its task did something else: waiting ends at once, and a write is refused."""

from __future__ import annotations

import socket

import pytest
import trio

from kui.serving.pipe_trio import TrioPipe
from kui.serving.readable_trio import TrioReadable
from kui.serving.timing import Ticker


def make_pipe() -> TrioPipe:
    ours, theirs = socket.socketpair()
    theirs.close()
    ours.setblocking(False)
    return TrioPipe(ours, TrioReadable(ours), Ticker(trio.current_time), 30)


@pytest.mark.trio
async def test_a_wait_on_a_closed_pipe_ends_and_what_is_taken_then_is_an_error() -> None:
    pipe = make_pipe()
    pipe.abort()
    for _ in range(2):  # a second one must not find the first
        with trio.fail_after(5):
            await pipe.wait()
    with pytest.raises(OSError, match="descriptor"):
        pipe.take()


@pytest.mark.trio
async def test_a_write_to_a_closed_pipe_is_refused() -> None:
    pipe = make_pipe()
    pipe.close()
    with pytest.raises(OSError, match=r"."):
        await pipe.write(b"x" * 10)
