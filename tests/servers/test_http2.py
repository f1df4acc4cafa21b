"""HTTP/2 under `kui run`: a real client over TLS, and clients that would end a lesser server."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import anyio
import h2.errors
import httpx2
import pytest

from tests.support.http2_client import Http2Client
from tests.support.process import PATIENCE, ServerProcess, get

from .conftest import KuiRun, Launch

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


def test_an_unwanted_body_is_thrown_away_and_the_connection_goes_on(
    kui_run: KuiRun,
) -> None:
    server = kui_run(APP)
    server.find_url()
    with Http2Client(server.port) as client:
        stream = client.ask("/pid", "POST", end=False)
        assert client.read_until(stream).status == 200
        client.send(stream, b"x" * 1000, end=False)
        client.get("/pid")
    assert server.stop() == 0
    assert "dropped" not in server.log


def test_a_body_that_has_no_end_is_refused_in_the_end(backend: str, launch: Launch) -> None:
    code = "import kui.serving.http2; kui.serving.http2.ENOUGH = 10; import sys, kui.cli; sys.exit(kui.cli.main())"
    flags = ["--backend", backend, "--bind", "127.0.0.1:0"]
    server = launch([sys.executable, "-c", code, "run", APP, *flags])
    server.find_url()
    with Http2Client(server.port) as client:
        stream = client.ask("/pid", "POST", end=False)
        client.read_until(stream)
        for _ in range(20):  # what comes before the app has ended is not thrown away yet
            client.send(stream, b"x" * 1000, size=1000, end=False)
            client.get("/pid")
            if client.answers[stream].reset is not None:
                break
        assert client.answers[stream].reset == h2.errors.ErrorCodes.NO_ERROR
    assert server.stop() == 0
    assert "dropped" not in server.log


def test_a_large_upload_gets_its_early_answer(secure: ServerProcess, certificate: Path) -> None:
    trusted = ssl.create_default_context(cafile=str(certificate))
    with httpx2.Client(http2=True, verify=trusted, timeout=PATIENCE) as client:
        for _ in range(3):
            response = client.post(secure.url + "/pid", content=b"x" * 3_000_000)
            assert response.status_code == 200


def test_a_client_that_breaks_its_connection_breaks_no_other(kui_run: KuiRun) -> None:
    server = kui_run(APP)
    server.find_url()
    with Http2Client(server.port) as other, Http2Client(server.port) as client:
        stream = other.ask("/until_exit")
        server.find("app: waiting")
        stream_of_its_own = client.ask(b"/\xff")
        assert client.read_until(stream_of_its_own).status == 400
        client.sock.sendall(b"no frame of HTTP/2")
        client.read_to_the_end()
        assert get(server.url).status_code == 200
        server.send_signal()
        assert other.read_until(stream).body == b"it stops"
        assert server.wait() == 0
    assert server.log.count("A malformed request from 127.0.0.1: ") == 2
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
