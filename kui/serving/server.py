"""`kui.serve`: hypercorn's protocols, on listeners and tasks of our own, on either loop.

hypercorn's servers let what one connection raises end all of them (trio); here each stands for
itself. What happens when, is the runner's; processes and signals are `serving`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from asyncio.trsock import TransportSocket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from socket import SHUT_RDWR, socket
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc
from baize.typing import ASGIApp
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.logging import Logger
from hypercorn.typing import ConnectionState

from kui.concurrency.loops import on_asyncio
from kui.concurrency.services import split_cancelled

from . import listening
from .binding import CannotServe, address_of, bound, tls_context
from .debug import check_debug
from .hypercorn_connection import Connection
from .runner import CUT, Options, Runner

if TYPE_CHECKING:
    import trio

__all__ = ["serve", "serve_on"]

BACKLOG: Final = 1024
HANDSHAKE: Final = 10.0
"""Seconds for a TLS handshake."""


async def serve(
    app: ASGIApp,
    *,
    bind: str | Iterable[str] = "127.0.0.1:8000",
    root_path: str = "",
    root_path_in_path: bool = False,
    certfile: str | None = None,
    keyfile: str | None = None,
    access_log: bool = False,
    debug: bool = False,
    graceful_timeout: float = 3.0,
    forwarded_allow_ips: str | Iterable[str] = (),
    stall_timeout: float = 30.0,
    drain_delay: float = 0.0,
    websocket_ping_interval: float | None = None,
    keep_alive_timeout: float = 5.0,
    head_timeout: float = 10.0,
    body_timeout: float = 30.0,
    limit_connections: int | None = None,
    until: Callable[[], Awaitable[object]] | None = None,
    task_status: anyio.abc.TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app in the running event loop, asyncio's or trio's.

    :param bind: `HOST:PORT` (0 for a free port), `[IPv6]:PORT`, `unix:PATH`, `fd://NUMBER`; or several.
    :param root_path: the prefix under which a proxy offers the app (ASGI `root_path`). The proxy takes
        it out of the path; the app finds it there again, as ASGI has it.
    :param root_path_in_path: True if the proxy leaves `root_path` in the path.
    :param certfile: a PEM file with the certificate chain; HTTPS, and HTTP/2 for who asks for it.
    :param keyfile: its key, if that is in a file of its own.
    :param access_log: log each request to `kui.access`.
    :param debug: show tracebacks to clients of this machine; refused where others can reach an address.
    :param graceful_timeout: seconds that requests have to end once no more are accepted; then they
        are cancelled, and half a second later their connections are cut.
    :param forwarded_allow_ips: the proxies whose X-Forwarded and Forwarded headers count; nobody's.
    :param stall_timeout: seconds after which a client that takes nothing is dropped (Linux; 0: never).
    :param drain_delay: seconds from `app.should_exit` to the end of the listeners, for a load
        balancer to notice.
    :param websocket_ping_interval: seconds between pings on WebSockets.
    :param keep_alive_timeout: seconds for which a connection is kept for its next request. A proxy in
        front must give its connections up earlier than that.
    :param head_timeout: seconds for the head of a request, from its first byte on; then 408.
    :param body_timeout: seconds for the next bytes of a request's body, while the app waits for them.
    :param limit_connections: how many may be open at once; further ones are answered with 503.
    :param until: an async function; when it returns, the server stops as it does on SIGTERM.
    :param task_status: is given the addresses, such as `http://127.0.0.1:8000`, once it listens.
    :raises CannotServe: an address is busy, a certificate unreadable, an option makes no sense.
    :raises StartupFailed: the app could not start up; it is a CannotServe, caused by what the app raised.
    :raises ShutdownFailed: the app did not shut down cleanly; caused by what the app raised.
    :raises Exception: what a service of the app has crashed with, after an orderly shutdown.

    When cancelled it stops at once and cleanly: requests are cancelled, the app is shut down, for 22
    seconds at most, and nothing of it is left when Cancelled is raised on.

    ::

        async with anyio.create_task_group() as group:
            (address,) = await group.start(partial(kui.serve, app, bind="127.0.0.1:0"))
            ...
            group.cancel_scope.cancel()
    """
    options = Options(
        bind=bind,
        root_path=root_path,
        root_path_in_path=root_path_in_path,
        certfile=certfile,
        keyfile=keyfile,
        access_log=access_log,
        debug=debug,
        graceful_timeout=graceful_timeout,
        forwarded_allow_ips=forwarded_allow_ips,
        stall_timeout=stall_timeout,
        drain_delay=drain_delay,
        websocket_ping_interval=websocket_ping_interval,
        keep_alive_timeout=keep_alive_timeout,
        head_timeout=head_timeout,
        body_timeout=body_timeout,
        limit_connections=limit_connections,
    )
    tls = tls_context(certfile, keyfile)
    failures: list[Exception] = []
    runner = Runner(app, options)
    with bound(options.binds, stall_timeout) as sockets:
        if debug:
            check_debug(sockets)

        async def watch() -> None:
            if until is not None:
                try:
                    await until()
                except Exception as error:
                    failures.append(error)
                runner.stop()

        async with anyio.create_task_group() as group:
            group.start_soon(serve_on, runner, sockets, tls, name="kui server")
            group.start_soon(watch, name="kui server's end")
            try:
                await runner.settled.wait()
                if runner.listening:
                    task_status.started(runner.addresses)
                await runner.over.wait()
            except BaseException:
                runner.stop()
                runner.hurry()
                raise
            group.cancel_scope.cancel()
    if runner.error is not None:
        failures.append(runner.error)
    if failures:
        raise failures[0]


async def serve_on(runner: Runner, sockets: list[socket], tls: ssl.SSLContext | None) -> None:
    """Serve `runner`'s app on bound sockets until the runner is told to stop."""
    if os.environ.get("KUI_CONNECTIONS") == "own":  # until they speak HTTP/2 too
        await listening.serve_on(runner, sockets, tls)
        return
    options = runner.options
    config = Config()
    config.logger_class = _Log
    config.websocket_ping_interval = options.websocket_ping_interval
    config.ssl_handshake_timeout = HANDSHAKE
    app = ASGIWrapper(runner.wrapped)  # type: ignore[arg-type]  # hypercorn's types are narrower than ASGI's
    accept = _accept_on_asyncio if on_asyncio() else _accept_on_trio

    async def connections(runner: Runner) -> None:
        for sock, address in zip(sockets, _addresses(sockets, tls), strict=True):
            try:
                sock.listen(BACKLOG)
            except OSError as error:
                raise CannotServe(f"cannot listen on {address}: {error.strerror}") from error
        await accept(runner, app, config, sockets, tls)

    await runner.run(connections)


def _addresses(sockets: list[socket], tls: ssl.SSLContext | None) -> list[str]:
    return [address_of(sock, "http" if tls is None else "https") for sock in sockets]


async def _accept_on_trio(
    runner: Runner,
    app: ASGIWrapper,
    config: Config,
    sockets: list[socket],
    tls: ssl.SSLContext | None,
) -> None:
    import trio
    from hypercorn.trio.tcp_server import TCPServer
    from hypercorn.trio.worker_context import WorkerContext

    class Served(Connection, TCPServer):  # type: ignore[misc]  # its protocol is a property here
        async def protocol_send(self, event: Event) -> None:
            try:
                await super().protocol_send(event)
            except trio.BusyResourceError:  # another of its tasks is closing it
                await self.protocol.handle(Closed())

    context = WorkerContext(None)
    open_streams: set[trio.SocketStream] = set()
    none_open = trio.Event()

    async def connection(stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        raw = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        open_streams.add(raw)
        state = ConnectionState(runner.life.state.copy())
        try:
            await Served(app, config, context, state, stream)  # type: ignore[arg-type]  # it takes both kinds
        except Exception as error:
            runner.dropped(error)
        except BaseExceptionGroup as group:
            failed, rest = split_cancelled(group)
            if failed is not None:
                runner.dropped(failed)
            raise rest from None
        finally:
            open_streams.discard(raw)
            if not open_streams:
                none_open.set()

    async def all_closed() -> None:
        nonlocal none_open
        while open_streams:
            none_open = trio.Event()
            await none_open.wait()

    listeners: list[trio.abc.Listener[trio.SocketStream | trio.SSLStream[trio.SocketStream]]] = []
    for sock in sockets:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        listeners.append(
            listener if tls is None else trio.SSLListener(listener, tls, https_compatible=True)
        )
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(trio.serve_listeners, connection, listeners, handler_nursery=connections)
            )
            runner.started(_addresses(sockets, tls))
            await runner.until_closing()
            accepting.cancel_scope.cancel()
        await context.terminated.set()
        await runner.patiently(runner.options.graceful_timeout, all_closed)
        connections.cancel_scope.cancel()
        with trio.move_on_after(CUT, shield=True):
            await all_closed()
        for stream in open_streams:
            stream.socket.close()


async def _accept_on_asyncio(
    runner: Runner,
    app: ASGIWrapper,
    config: Config,
    sockets: list[socket],
    tls: ssl.SSLContext | None,
) -> None:
    from hypercorn.asyncio.tcp_server import TCPServer
    from hypercorn.asyncio.worker_context import WorkerContext

    class Served(Connection, TCPServer):  # type: ignore[misc]  # its protocol is a property here
        async def protocol_send(self, event: Event) -> None:
            if isinstance(event, RawData) and self.writer.is_closing():
                await self.protocol.handle(Closed())  # asyncio would log the write
            else:
                await super().protocol_send(event)

    loop = asyncio.get_running_loop()
    context = WorkerContext(None)
    open_writers: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, TransportSocket]] = {}

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            state = runner.life.state.copy()
            await Served(app, loop, config, context, state, reader, writer)
        except Exception as error:
            runner.dropped(error)

    async with asyncio.TaskGroup() as connections:

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if context.terminated.is_set():  # its handshake took until now
                writer.transport.abort()
                return
            task = connections.create_task(connection(reader, writer))
            open_writers[task] = writer, writer.get_extra_info("socket")
            task.add_done_callback(open_writers.pop)

        servers = [
            await asyncio.start_server(
                accepted,
                sock=sock,
                backlog=BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else HANDSHAKE,
            )
            for sock in sockets
        ]
        addresses = _addresses(sockets, tls)
        runner.started(addresses)
        await runner.until_closing()
        for server in servers:
            server.close()
        await context.terminated.set()
        if open_writers:
            await runner.patiently(
                runner.options.graceful_timeout, lambda: asyncio.wait(open_writers)
            )
        for task in list(open_writers):
            task.cancel()
        if open_writers:
            await asyncio.wait(open_writers, timeout=CUT)
        for writer, sock in open_writers.values():
            _cut(writer, sock)


def _cut(writer: asyncio.StreamWriter, sock: TransportSocket) -> None:
    """End a connection at once, also one that waits for the end of its client's TLS."""
    writer.transport.abort()
    with suppress(OSError):  # that was it; but not where hypercorn has closed it twice
        with socket(fileno=os.dup(sock.fileno())) as again:
            again.shutdown(SHUT_RDWR)


class _Log(Logger):
    """hypercorn's log as `kui.server`, without handlers and an access log of its own."""

    def __init__(self, config: Config) -> None:
        self.access_log_format = ""
        self.access_logger = None
        self.error_logger = logging.getLogger("kui.server")

    async def exception(self, message: str, *args: object, **kwargs: object) -> None:
        """Log what the app has raised, which has a note that names the request."""
        logging.getLogger("kui.error").exception("A request failed")
