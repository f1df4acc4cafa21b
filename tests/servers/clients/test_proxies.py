"""nginx and haproxy in front: connections that are kept, WebSockets, event streams, HTTP/1.0, uploads."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.process import PATIENCE, ServerProcess, killed_with_us, reserved_port
from tests.support.wire import CLOSE, TEXT, Wire, frame

from .conftest import program
from .site import BIG

NGINX = """
{user} daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;
events {{ worker_connections 200; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; client_max_body_size 50m;
    upstream app {{ server 127.0.0.1:{backend}; keepalive 4; }}
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    server {{
        listen 127.0.0.1:{port} reuseport;
        location / {{
            proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
        }}
        location /old/ {{ proxy_pass http://app/; }}
        location /unbuffered/ {{
            proxy_pass http://app/; proxy_http_version 1.1; proxy_set_header Connection '';
            proxy_request_buffering off; proxy_buffering off;
        }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 200
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
    option http-keep-alive
frontend in
    bind 127.0.0.1:{port}
    use_backend http2 if {{ path_beg /http2/ }}
    default_backend app
backend app
    http-reuse always
    server kui 127.0.0.1:{backend}
backend http2
    http-request replace-path /http2(/.*) \\1
    server kui 127.0.0.1:{backend} proto h2
"""

AS_ROOT = "user root;"
"""Else its workers, which run as `nobody` then, cannot write to the test's folder."""


@pytest.fixture(params=["nginx", "haproxy"])
def proxy(request: pytest.FixtureRequest, site: ServerProcess, tmp_path: Path) -> Iterator[int]:
    """A proxy in front of the site; its port."""
    name = str(request.param)
    path = program(name)
    config = tmp_path / f"{name}.conf"
    flags = ["-p", str(tmp_path), "-c"] if name == "nginx" else ["-db", "-f"]
    user = AS_ROOT if os.getuid() == 0 else ""
    with reserved_port() as port, (tmp_path / "log").open("wb") as log:
        config.write_text(
            (NGINX if name == "nginx" else HAPROXY).format(
                folder=tmp_path, port=port, backend=site.port, user=user
            )
        )
        command = killed_with_us([path, *flags, str(config)])
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            assert listens(process, port)
            yield port
        finally:
            process.terminate()
            process.wait(PATIENCE)
            print((tmp_path / "log").read_text())


def listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the proxy takes connections; False if it has ended instead."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
            return True
        except ConnectionRefusedError:
            time.sleep(0.02)
    return False


def prefixes(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The other ways on which this proxy asks: HTTP/1.0 and without buffers, or HTTP/2."""
    nginx = "nginx" in request.node.callspec.id
    return ("", "/old", "/unbuffered") if nginx else ("", "/http2")


def test_requests_go_through_one_after_the_other(
    proxy: int, request: pytest.FixtureRequest
) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{proxy}", timeout=PATIENCE) as client:
        for prefix in prefixes(request):
            version = {"/old": "1.0", "/http2": "2"}.get(prefix, "1.1")
            for _ in range(10):
                assert client.get(f"{prefix}/plain").text == f"hello over {version}"
            assert client.get(f"{prefix}/big").content == BIG
            assert client.get(f"{prefix}/numbers").text.endswith("\n99\n")
            assert client.head(f"{prefix}/plain").status_code == 200


def test_uploads_go_through(proxy: int, request: pytest.FixtureRequest) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{proxy}", timeout=PATIENCE) as client:
        for prefix in prefixes(request):
            assert client.post(f"{prefix}/count", content=BIG * 4).text == str(len(BIG) * 4)
            pieces = (b"x" * 10_000 for _ in range(50))
            assert client.post(f"{prefix}/count", content=pieces).text == "500000"
            assert client.get(f"{prefix}/plain").status_code == 200


def test_an_upload_that_is_refused_early_gets_its_status(
    proxy: int, request: pytest.FixtureRequest
) -> None:
    for prefix in prefixes(request):
        with httpx2.Client(base_url=f"http://127.0.0.1:{proxy}", timeout=PATIENCE) as client:
            assert client.post(f"{prefix}/early", content=BIG).status_code == 413


def test_an_event_stream_flows_and_its_end_is_seen(
    proxy: int, site: ServerProcess, request: pytest.FixtureRequest
) -> None:
    """Without a setting of the proxy's: the response says that it is not to be buffered."""
    for prefix in prefixes(request):
        before = site.log.count("left\n")
        with httpx2.stream(
            "GET", f"http://127.0.0.1:{proxy}{prefix}/events", timeout=PATIENCE
        ) as response:
            lines = response.iter_lines()
            data = [line for line in (next(lines) for _ in range(10)) if line.startswith("data: ")]
            assert len(data) == 5
        site.find("left\n", before + 1)


def test_a_websocket_goes_through(proxy: int) -> None:
    with Wire(proxy, patience=PATIENCE) as wire:
        assert wire.upgrade("/echo").status == 101
        for text in (b"one", b"x" * 100_000):
            wire.send(frame(TEXT, text))
            assert wire.frame().payload == text
        wire.send(frame(CLOSE, b"\x0f\xa0"))
        assert wire.frame().code == 4000
