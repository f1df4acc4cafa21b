"""Event streams, files and failures over HTTP/2 and TLS: under `kui run` and plain hypercorn, each on both loops.

What hypercorn alone does not do is asked of `kui run` only.
"""

from __future__ import annotations

import itertools
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import h2.errors
import httpx2
import pytest

from tests.support.http2_client import FORBIDDEN, Http2Client
from tests.support.process import PATIENCE, ServerProcess, foreign, listening_socket

APP = "tests.servers.flowing:app"
SIZE = 8 << 20
WINDOW = 10_000
ENOUGH = 1 << 20
"""More bytes than are kept for a stream whose window is closed, but by the buffers of a socket."""

KUI_RUN = ["kui-trio", "kui-asyncio"]
kui_run_only = pytest.mark.parametrize("server_kind", KUI_RUN, indirect=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse file with something at its end."""
    path = tmp_path_factory.mktemp("served") / "file.bin"
    with path.open("wb") as sparse:
        sparse.seek(SIZE - 5)
        sparse.write(b"12345")
    return path


def start(kind: str, certificate: Path, served: Path) -> ServerProcess:
    """A server of this kind with the app."""
    name, _, backend = kind.partition("-")
    sock = listening_socket()
    command = foreign(kind, APP, sock, 1.0)
    if name == "kui":
        command = [sys.executable, "-m", "kui", "run", APP, "--backend", backend]
        command += ["--bind", f"fd://{sock.fileno()}", "--certfile", str(certificate)]
    process = ServerProcess(command, sock=sock, SERVED=str(served), CERTFILE=str(certificate))
    process.url = process.url.replace("http:", "https:")
    return process


@pytest.fixture(scope="module", params=[*KUI_RUN, "hypercorn-trio", "hypercorn-asyncio"])
def server_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(server_kind: str, certificate: Path, served: Path) -> Iterator[ServerProcess]:
    """A server of each kind for all tests of this module."""
    process = start(server_kind, certificate, served)
    yield process
    process.end()


numbers = itertools.count(1)


@pytest.fixture
def name(server: ServerProcess) -> Iterator[str]:
    """What a test calls its work; a name of its own."""
    begin = len(server.log)
    yield f"work-{next(numbers)}"
    print(f"--- {server.log[begin:]}")


@pytest.fixture(scope="module")
def trusted(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def browser(server: ServerProcess, trusted: ssl.SSLContext) -> Iterator[httpx2.Client]:
    """A client that is not ours."""
    with httpx2.Client(
        base_url=server.url, http2=True, http1=False, verify=trusted, timeout=PATIENCE
    ) as client:
        yield client


@pytest.fixture
def client(server: ServerProcess, trusted: ssl.SSLContext) -> Iterator[Http2Client]:
    """One with small windows."""
    with Http2Client(server.port, trusted, window=WINDOW) as client:
        yield client


def test_a_library_hears_every_event(browser: httpx2.Client, name: str) -> None:
    with browser.stream("GET", f"/counted/{name}") as response:
        assert response.http_version == "HTTP/2"
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert FORBIDDEN.isdisjoint(response.headers.keys())
        data = [line for line in response.iter_lines() if line.startswith("data: ")]
    assert data == [f"data: {number}" for number in range(1, 101)]


def test_a_library_that_closes_its_connection_ends_its_event_stream(
    browser: httpx2.Client, server: ServerProcess, name: str
) -> None:
    with browser.stream("GET", f"/quiet/{name}") as response:
        assert next(response.iter_lines()) == "data: the only one"
        assert browser.get("/plain").text == "hello"
        browser.close()
    server.find(rf"app: {name} ended\n")


def test_a_library_gets_files_whole_and_in_parts(browser: httpx2.Client) -> None:
    whole = browser.get("/file")
    assert whole.http_version == "HTTP/2"
    assert {header.decode() for header in FORBIDDEN}.isdisjoint(whole.headers)
    assert (len(whole.content), whole.content[-6:]) == (SIZE, b"\x0012345")
    part = browser.get("/file", headers={"Range": "bytes=-3"})
    assert (part.status_code, part.content) == (206, b"345")
    parts = browser.get("/file", headers={"Range": f"bytes=0-1,{SIZE - 2}-"})
    assert parts.status_code == 206
    assert parts.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert len(parts.content) == int(parts.headers["content-length"])
    fresh = browser.get("/file", headers={"If-None-Match": whole.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (304, b"")
    head = browser.head("/file")
    assert (head.headers["content-length"], head.content) == (str(SIZE), b"")


def test_a_library_reads_a_file_in_parts_while_it_reads_all_of_it(browser: httpx2.Client) -> None:
    with browser.stream("GET", "/file") as response:
        chunks = response.iter_raw()
        received = len(next(chunks))
        assert len(browser.get("/file", headers={"Range": "bytes=0-99"}).content) == 100
        received += sum(map(len, chunks))
    assert received == SIZE


@pytest.mark.parametrize("path", ["/endless/async", "/endless/events", "/quiet"])
def test_a_client_that_resets_a_stream_ends_its_generator_and_nothing_else(
    client: Http2Client, server: ServerProcess, name: str, path: str
) -> None:
    stream = client.ask(f"{path}/{name}")
    client.read_until(stream, 1, open_window=False)
    client.reset(stream)
    server.find(rf"app: {name} ended\n")
    assert client.get("/plain") == b"hello"


@pytest.mark.parametrize("path", ["/endless/async", "/endless/sync", "/endless/feed", "/quiet"])
def test_a_client_that_is_lost_ends_its_generators(
    client: Http2Client, server: ServerProcess, name: str, path: str
) -> None:
    stream = client.ask(f"{path}/{name}")
    client.read_until(stream, 1, open_window=False)
    client.sock.close()
    server.find(rf"app: {name} ended\n")


@kui_run_only
@pytest.mark.parametrize("kind", ["async", "sync", "feed", "events"])
def test_a_closed_window_holds_its_generator_back_and_no_other_stream(
    client: Http2Client, server: ServerProcess, name: str, kind: str
) -> None:
    stream = client.ask(f"/endless/{kind}/{name}")
    answer = client.read_until(stream, WINDOW, open_window=False)
    for _ in range(100):
        assert client.get("/plain") == b"hello"
    produced = int(client.get(f"/produced/{name}"))
    assert produced * 8192 < ENOUGH
    assert len(answer.body) == WINDOW
    client.read_until(stream, 2 * ENOUGH)
    assert int(client.get(f"/produced/{name}")) > produced
    client.reset(stream)
    server.find(rf"app: {name} ended\n")


@kui_run_only
def test_a_reset_lets_an_answer_go_that_waits_for_its_window(
    client: Http2Client, server: ServerProcess, name: str
) -> None:
    stream = client.ask(f"/big/{name}")
    client.read_until(stream, WINDOW, open_window=False)
    client.reset(stream)
    server.find(rf"app: {name} ended\n")
    assert client.get("/plain") == b"hello"


@kui_run_only
def test_a_client_that_is_lost_with_its_window_closed_holds_nothing_back(
    client: Http2Client, server: ServerProcess, name: str
) -> None:
    stream = client.ask(f"/big/{name}")
    client.read_until(stream, WINDOW, open_window=False)
    client.sock.close()
    server.find(rf"app: {name} ended\n")


@kui_run_only
def test_a_generator_that_fails_half_way_resets_its_stream_and_no_other(
    client: Http2Client, server: ServerProcess, name: str
) -> None:
    other = client.ask(f"/endless/async/{name}-other")
    stream = client.ask(f"/half-way/{name}")
    answer = client.read_until(stream)
    assert answer.body == b"the beginning"
    assert not answer.complete
    assert answer.reset == h2.errors.ErrorCodes.INTERNAL_ERROR
    assert client.get("/plain") == b"hello"
    client.read_until(other, ENOUGH)
    assert client.answers[other].reset is None


@kui_run_only
@pytest.mark.parametrize("size", [500, 16_000])
def test_a_large_body_is_echoed_while_it_arrives(client: Http2Client, name: str, size: int) -> None:
    body = bytes(range(256)) * 4000
    stream = client.ask(f"/echo/{name}", "POST", end=False)
    client.send(stream, body, size=size)
    answer = client.read_until(stream)
    assert answer.complete
    assert answer.body == body


@kui_run_only
def test_an_unread_body_holds_no_other_stream_back(client: Http2Client, name: str) -> None:
    stream = client.ask(f"/later/{name}", "POST", end=False)
    client.send(stream, b"x" * 60_000, size=1000, end=False)
    assert client.get("/plain") == b"hello"
    assert client.get(f"/tell/{name}") == b"told"
    client.send(stream, b"x" * 60_000)
    assert client.read_until(stream).body == b"120000"


def test_a_header_of_http_1_is_left_out(client: Http2Client) -> None:
    answer = client.read_until(client.ask("/of-http-1"))
    assert answer.complete and answer.body == b"hello"
    assert FORBIDDEN.isdisjoint(answer.headers)


@pytest.mark.parametrize("kind", KUI_RUN)
def test_sigterm_ends_an_endless_stream_properly(
    kind: str, certificate: Path, served: Path, trusted: ssl.SSLContext
) -> None:
    server = start(kind, certificate, served)
    try:
        with Http2Client(server.port, trusted, window=1 << 26) as client:
            quiet, endless = client.ask("/quiet/quiet"), client.ask("/endless/events/endless")
            client.read_until(quiet, 1)
            client.read_until(endless, 1)
            server.send_signal()
            for stream in (quiet, endless):
                answer = client.read_until(stream, open_window=False)
                assert answer.complete and answer.reset is None, (answer.reset, answer.body[-99:])
                assert answer.body.endswith(b"\n\n")
            assert server.wait() == 0
        assert "Traceback" not in server.log
    finally:
        server.end()
        print(server.log)
