"""TLS over a real socket, with bare apps: handshakes, halves of connections, and clients that do not say goodbye."""

from __future__ import annotations

import functools
import socket
import ssl
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from baize.typing import Receive, Scope, Send

from kui.serving.binding import tls_context
from tests.support.process import PATIENCE

from .conftest import Serve
from .test_connection import GET, LAST, echo, hello, post, respond

pytestmark = pytest.mark.anyio


@pytest.fixture
def serve_tls(serve: Serve, certificate: Path) -> Serve:
    return functools.partial(serve, tls=tls_context(str(certificate), None))


@pytest.fixture
def client_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificate))
    context.set_alpn_protocols(["http/1.1"])
    return context


async def talk(port: int, context: ssl.SSLContext, data: bytes) -> bytes:
    """What a client gets that sends `data`, says close_notify and reads to the end."""

    def client() -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as tls,
        ):
            assert tls.selected_alpn_protocol() == "http/1.1"
            tls.sendall(data)
            got = b""
            while chunk := tls.recv(65536):
                got += chunk
            return got

    return await anyio.to_thread.run_sync(client)


async def test_requests_are_answered_over_tls(
    serve_tls: Serve, client_context: ssl.SSLContext
) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async with serve_tls(app) as server:
        body = bytes(range(256)) * 2000
        last = post(body, b"Connection: close")
        got = await talk(server.port, client_context, GET + post(b"x") + last)
        assert got.count(b"HTTP/1.1 200 OK") == 3 and got.endswith(b"POST " + body)
    assert {scope["scheme"] for scope in scopes} == {"https"}


async def test_a_client_that_ignores_close_notify_is_not_waited_for(
    serve_tls: Serve, client_context: ssl.SSLContext
) -> None:
    """asyncio's own TLS would keep its socket for half a minute."""

    def client(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            tls = client_context.wrap_socket(sock, server_hostname="localhost")
            with socket.socket(fileno=tls.detach()) as raw:  # from here on nothing is decrypted
                raw.settimeout(PATIENCE)
                while raw.recv(4096):
                    pass

    async with serve_tls(hello, keep_alive=0.1) as server:
        with anyio.fail_after(5):
            await anyio.to_thread.run_sync(client, server.port)


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00"])
async def test_what_is_no_handshake_ends_alone(
    serve_tls: Serve, data: bytes, client_context: Any
) -> None:
    async with serve_tls(hello, handshake=0.1) as server:
        async with server.connect(data) as client:
            try:
                await client.rest()
            except anyio.BrokenResourceError:
                pass
        assert (await talk(server.port, client_context, LAST)).endswith(b"hello")
        with anyio.fail_after(5):
            await server.state.until_empty()


async def test_a_client_that_stalls_is_cut(
    serve_tls: Serve, client_context: ssl.SSLContext
) -> None:
    failed = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/last":
            await respond(send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 99_999, "more_body": True})
        except OSError:
            failed.set()

    def client(port: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        tls = client_context.wrap_socket(sock, server_hostname="localhost")
        tls.sendall(GET)
        return tls

    async with serve_tls(app, send=0.1) as server:
        with await anyio.to_thread.run_sync(client, server.port), anyio.fail_after(5):
            await failed.wait()
