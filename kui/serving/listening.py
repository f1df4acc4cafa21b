"""Serve on bound sockets, from listening to the end of the last connection, on either loop.

`runner` decides when to stop, and `connection` serves a connection.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from socket import socket
from types import ModuleType
from typing import Final

import anyio

from kui.concurrency.loops import on_asyncio

from .accepting import Accepting
from .binding import CannotServe, address_of
from .runner import CUT, Runner
from .state import ServerState

__all__ = ["serve_on"]

BACKLOG: Final = 1024


async def serve_on(runner: Runner, sockets: Sequence[socket], tls: ssl.SSLContext | None) -> None:
    """Serve the runner's app on bound sockets until the runner is told to stop. The sockets are closed then."""

    async def connections(runner: Runner) -> None:
        addresses = [address_of(sock, "http" if tls is None else "https") for sock in sockets]
        for sock, address in zip(sockets, addresses, strict=True):
            try:
                sock.listen(BACKLOG)
            except OSError as error:
                raise CannotServe(f"cannot listen on {address}: {error.strerror}") from error
        state = ServerState(runner.wrapped, runner.options.limits(), lifespan=runner.life.state)
        async with anyio.create_task_group() as group:
            group.start_soon(state.ticker.run)
            await _serve(runner, state, sockets, addresses, tls)
            group.cancel_scope.cancel()

    await runner.run(connections)


async def _serve(
    runner: Runner,
    state: ServerState,
    sockets: Sequence[socket],
    addresses: list[str],
    tls: ssl.SSLContext | None,
) -> None:
    pipes = _pipes()
    accepting = Accepting()
    async with pipes.Connections(state, tls) as connections:
        async with anyio.create_task_group() as group:
            for sock in sockets:
                group.start_soon(pipes.accept, sock, accepting, connections.start)
            runner.started(addresses)
            await runner.until_closing()
            group.cancel_scope.cancel()
        for sock in sockets:
            sock.close()
        state.stop()
        await runner.patiently(runner.options.graceful_timeout, state.until_empty)
        connections.cancel()
        with anyio.move_on_after(CUT, shield=True):
            await state.until_empty()
        state.cut()


def _pipes() -> ModuleType:
    """Import and return the module of pipes for the running loop."""
    if on_asyncio():
        from . import pipe_asyncio

        return pipe_asyncio
    from . import pipe_trio

    return pipe_trio
