"""HTTP/2 under `kui run`: a real client over TLS, and clients that would end a lesser server."""

from __future__ import annotations

import socket
import ssl
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import h2.config
import h2.connection
import h2.errors
import h2.events
import httpx2
import pytest

from .conftest import KuiRun, Launch
from .process import PATIENCE, ServerProcess, get

APP = "tests.servers.apps:app"


@pytest.fixture
def secure(kui_run: KuiRun, certificate: Path) -> ServerProcess:
    server = kui_run(APP, "--certfile", str(certificate))
    assert server.find_url().startswith("https://127.0.0.1:")
    return server


@pytest.mark.parametrize("http2", [True, False])
def test_a_client_may_choose_http_2(secure: ServerProcess, certificate: Path, http2: bool) -> None:
    trusted = ssl.create_default_context(cafile=str(certificate))
    with httpx2.Client(http2=http2, verify=trusted, timeout=PATIENCE) as client:
        response = client.get(secure.url)
    assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert ("'http_version': '2'" in response.text) is http2
    assert "'scheme': 'https'" in response.text
    assert secure.stop() == 0


def test_certificate_and_key_may_stand_in_two_files(
    kui_run: KuiRun, certificate: Path, tmp_path: Path
) -> None:
    pem = certificate.read_text()
    split = pem.index("-----BEGIN CERTIFICATE")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    key.write_text(pem[:split])
    chain.write_text(pem[split:])
    server = kui_run(APP, "--certfile", str(chain), "--keyfile", str(key))
    assert server.find_url().startswith("https:")


def test_a_key_that_is_another_certificates_is_one_line(
    kui_run: KuiRun, certificate: Path, tmp_path: Path
) -> None:
    import trustme

    other = tmp_path / "key.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(str(other))
    server = kui_run(APP, "--certfile", str(certificate), "--keyfile", str(other))
    assert server.wait() == 1
    assert server.log.startswith(f"kui: cannot use the certificate {certificate} with {other}: ")
    assert server.log.count("\n") == 1


class RawClient:
    """Speaks HTTP/2 without TLS, and checks nothing."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.http2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.http2.initiate_connection()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def flush(self) -> None:
        # A server that is done with the connection need not hear what is acknowledged.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(self.http2.data_to_send())

    def ask(self, stream: int, path: bytes, *, method: bytes = b"GET", end: bool = True) -> None:
        pseudo = {b":method": method, b":path": path, b":authority": b"x", b":scheme": b"http"}
        self.http2.send_headers(stream, list(pseudo.items()), end_stream=end)
        self.flush()

    def events_until(self, stream: int, *kinds: type) -> list[Any]:
        """What comes, up to an event of one of these kinds on a stream, or to the end."""
        events: list[Any] = []
        while not any(
            isinstance(event, kinds) and getattr(event, "stream_id", stream) == stream
            for event in events
        ):
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:  # a server that is done with it need not read all of it
                data = b""
            if not data:
                break
            events += self.http2.receive_data(data)
            self.flush()
        return events


def test_a_body_that_nobody_wants_is_thrown_away_and_the_connection_goes_on(
    kui_run: KuiRun,
) -> None:
    server = kui_run(APP)
    server.find_url()
    with RawClient(server.port) as client:
        client.ask(1, b"/pid", method=b"POST", end=False)
        events = client.events_until(1, h2.events.StreamEnded)
        client.http2.send_data(1, b"x" * 1000)
        client.flush()
        client.ask(3, b"/pid")
        events += client.events_until(3, h2.events.StreamEnded)
    statuses = [dict(event.headers)[b":status"] for event in events if hasattr(event, "headers")]
    assert statuses == [b"200", b"200"]
    assert server.stop() == 0
    assert "dropped" not in server.log


def test_a_body_that_has_no_end_is_refused_in_the_end(backend: str, launch: Launch) -> None:
    code = "import kui.serving.http2; kui.serving.http2.ENOUGH = 10; import sys, kui.cli; sys.exit(kui.cli.main())"
    flags = ["--backend", backend, "--bind", "127.0.0.1:0"]
    server = launch([sys.executable, "-c", code, "run", APP, *flags])
    server.find_url()
    with RawClient(server.port) as client:
        client.ask(1, b"/pid", method=b"POST", end=False)
        client.events_until(1, h2.events.StreamEnded)
        client.http2.send_data(1, b"x" * 1000)
        client.http2.send_data(1, b"x" * 1000)
        client.flush()
        events = client.events_until(1, h2.events.StreamReset)
        assert events[-1].error_code == h2.errors.ErrorCodes.NO_ERROR
        client.ask(3, b"/pid")
        assert client.events_until(3, h2.events.StreamEnded)
    assert server.stop() == 0
    assert "dropped" not in server.log


def test_a_large_upload_gets_its_early_answer(secure: ServerProcess, certificate: Path) -> None:
    trusted = ssl.create_default_context(cafile=str(certificate))
    with httpx2.Client(http2=True, verify=trusted, timeout=PATIENCE) as client:
        for _ in range(3):
            response = client.post(secure.url + "/pid", content=b"x" * 3_000_000)
            assert response.status_code == 200


def test_a_client_that_breaks_its_connection_breaks_nobody_elses(kui_run: KuiRun) -> None:
    server = kui_run(APP)
    server.find_url()
    with RawClient(server.port) as other, RawClient(server.port) as client:
        other.ask(1, b"/until_exit")
        server.find("app: waiting")
        client.ask(1, b"/\xff")
        client.events_until(1, h2.events.ConnectionTerminated)
        assert get(server.url).status_code == 200
        server.send_signal()
        assert any(
            isinstance(event, h2.events.DataReceived) and event.data == b"it stops"
            for event in other.events_until(1, h2.events.StreamEnded)
        )
        assert server.wait() == 0
    assert server.log.count("A connection was dropped: UnicodeDecodeError") == 1
    assert "Traceback" not in server.log


async def _streams_at_once(url: str, trusted: ssl.SSLContext) -> list[str]:
    texts: list[str] = []
    async with httpx2.AsyncClient(http2=True, verify=trusted, timeout=PATIENCE) as client:

        async def ask() -> None:
            texts.append((await client.get(url)).text)

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(ask)
    return texts


@pytest.mark.anyio
async def test_fifty_requests_share_a_connection(secure: ServerProcess, certificate: Path) -> None:
    trusted = ssl.create_default_context(cafile=str(certificate))
    texts = await _streams_at_once(secure.url, trusted)
    assert len(texts) == 50 and len(set(texts)) == 1
