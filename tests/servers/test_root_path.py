"""`--root-path`: under `kui run` for both kinds of proxies, and what other servers take it for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from kui.asgi import Kui, websocket
from kui.serving.runner import Options
from kui.testing import AsyncTestClient
from tests.support.process import (
    ServerProcess,
    get,
    listening_socket,
    reserved_port,
    until_it_listens,
)

from .conftest import KuiRun, Launch

APP = "tests.servers.rooted:app"
ROOT = ("--root-path", "/api")

# The proxy takes /api away: what is asked for, the route, and the URL as the client has it.
STRIPPED = [
    ("/users", "/users", "/api/users"),
    ("/api/users", "/api/users", "/api/api/users"),
    ("/", "/", "/api/"),
    ("/%C3%A9/a%2Db", "/é/{name}", "/api/%C3%A9/a%2Db"),
]
# The proxy leaves it.
WHOLE = [
    ("/api/users", "/users", "/api/users"),
    ("/api/api/users", "/api/users", "/api/api/users"),
    ("/api", "/", "/api"),
    ("/%61pi/%C3%A9/a", "/é/{name}", "/%61pi/%C3%A9/a"),
]


@pytest.fixture(params=["trio", "asyncio", "uvloop"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def answers(server: ServerProcess, cases: list[tuple[str, str, str]]) -> None:
    for asked, routed, url in cases:
        assert get(server.url + asked).json() == {
            "url": url,
            "root_path": "/api",
            "routed": routed,
            "users": f"{server.url}/api/users",
        }


def test_the_proxy_takes_the_prefix_away(kui_run: KuiRun) -> None:
    server = kui_run(APP, *ROOT)
    server.find_url()
    answers(server, STRIPPED)


def test_the_proxy_leaves_the_prefix(kui_run: KuiRun) -> None:
    server = kui_run(APP, *ROOT, "--root-path-in-path")
    server.find_url()
    answers(server, WHOLE)
    outside = get(server.url + "/users").json()
    assert (outside["url"], outside["root_path"], outside["routed"]) == ("/users", "", "/users")


@pytest.mark.anyio
@pytest.mark.parametrize(("in_path", "asked"), [(False, "/api/socket"), (True, "/api/api/socket")])
async def test_websockets_have_it_too(in_path: bool, asked: str) -> None:
    app = Kui()

    @app.router.websocket("/api/socket")
    async def socket() -> None:
        await websocket.accept()
        await websocket.send_text(websocket.url.path)

    options = Options(root_path="/api/", root_path_in_path=in_path)
    async with AsyncTestClient(options.wrap(app)) as client:
        async with client.websocket(asked) as connection:
            assert await connection.receive_text() == "/api/api/socket"


def hypercorn(worker: str) -> Callable[[int], list[str]]:
    return lambda fd: ["hypercorn", APP, "-w", "0", "-k", worker, "--bind", f"fd://{fd}", *ROOT]


FOREIGN: list[tuple[Callable[[int], list[str]], list[Any]]] = [
    (lambda fd: ["uvicorn", APP, "--fd", str(fd), *ROOT], STRIPPED),
    (hypercorn("asyncio"), WHOLE),
    (hypercorn("trio"), WHOLE),
]


@pytest.mark.parametrize(("command", "cases"), FOREIGN)
def test_what_other_servers_take_it_for(
    launch: Launch, command: Callable[[int], list[str]], cases: list[Any]
) -> None:
    sock = listening_socket()
    answers(launch([sys.executable, "-m", *command(sock.fileno())], sock=sock), cases)


def test_granian_leaves_the_path_as_it_came(launch: Launch) -> None:
    with reserved_port() as port:
        flags = ["--interface", "asgi", "--port", str(port), "--url-path-prefix", "/api"]
        server = launch([sys.executable, "-m", "granian", APP, *flags])
        server.url = f"http://127.0.0.1:{port}"
        until_it_listens(port)
        answers(server, WHOLE)
