"""The server's pipe on asyncio and uvloop: what a closed one leaves behind."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from kui.serving.pipe_asyncio import AsyncioPipe
from kui.serving.pipes import CHUNK
from kui.serving.timing import Ticker

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return ("asyncio", {"use_uvloop": request.param})


async def test_a_client_that_does_not_read_keeps_no_socket_open_that_was_closed() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.settimeout(5)
        loop = asyncio.get_running_loop()
        pipe = AsyncioPipe(ours, Ticker(loop.time), 30)
        transport, _ = await loop.connect_accepted_socket(lambda: pipe, ours)
        sent = 0
        while not transport.get_write_buffer_size():
            pipe.push(b"x" * CHUNK)
            sent += CHUNK
        pipe.close()
        with anyio.fail_after(5):
            while ours.fileno() != -1:
                await anyio.lowlevel.checkpoint()
        got = 0
        while data := theirs.recv(CHUNK):  # what the kernel has is still sent
            got += len(data)
        assert 0 < got < sent
