"""`kui.serve`: run a server in the running event loop, until its task is cancelled or `until` returns.

`listening` has the listeners and connections, `runner` the stages of a stop, `process` processes and signals.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import anyio
import anyio.abc
from baize.typing import ASGIApp

from .binding import bound, tls_context
from .debug import check_debug
from .listening import serve_on
from .runner import Options, Runner

__all__ = ["serve"]


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

    If cancelled, it stops at once and cleanly: requests are cancelled and the app is shut down, within 22 seconds, and
    all its tasks have ended when Cancelled is raised.

    :param bind: `HOST:PORT` (0 for a free port), `[IPv6]:PORT`, `unix:PATH` or `fd://NUMBER`; or several of them.
    :param root_path: the prefix under which a proxy serves the app (ASGI `root_path`), and which the proxy removes
        from the path. The app sees the whole path, as ASGI requires.
    :param root_path_in_path: True if the proxy leaves `root_path` in the path.
    :param certfile: a PEM file with the certificate chain. With it the server speaks HTTPS, and HTTP/2 if the client
        supports it.
    :param keyfile: the file of the key, if the key is not in `certfile`.
    :param access_log: True to log each request to `kui.access`.
    :param debug: True to show tracebacks to clients on this machine; refused if others can reach an address.
    :param graceful_timeout: seconds for requests to end once no more are accepted. Then they are cancelled, and half a
        second later their connections are cut.
    :param forwarded_allow_ips: the proxies whose X-Forwarded and Forwarded headers are used; none by default.
    :param stall_timeout: seconds after which a client that does not read is dropped (Linux only); 0 for never.
    :param drain_delay: seconds from `app.should_exit` until the listeners are closed, so that a load balancer can
        notice it.
    :param websocket_ping_interval: seconds between pings on WebSockets; None for no pings.
    :param keep_alive_timeout: seconds for which a connection is kept for its next request. A proxy in front must close
        its idle connections earlier.
    :param head_timeout: seconds for the head of a request, from its first byte on; then it is answered with 408.
    :param body_timeout: seconds for the next bytes of a request's body, while the app waits for them.
    :param limit_connections: how many connections may be open at once. Requests on further ones get 503. None for no
        limit.
    :param until: an async function. When it returns, the server stops as on SIGTERM.
    :param task_status: gets the addresses, such as `http://127.0.0.1:8000`, once the server listens.
    :raises CannotServe: an address is busy, a certificate cannot be read, or an option is wrong.
    :raises StartupFailed: the app could not start up. It is a CannotServe; its cause is what the app has raised.
    :raises ShutdownFailed: the shutdown of the app has failed; its cause is what the app has raised.
    :raises Exception: what a service of the app has raised, after an orderly shutdown.

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
