"""Mounted apps under three servers: where they are, what goes through them, and a client that leaves."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.process import PATIENCE, ServerProcess, read_until
from tests.support.websocket_client import Client

from .conftest import StartServer


@pytest.fixture
def site(server: StartServer) -> ServerProcess:
    return server("tests.servers.mounted:app")


def test_every_app_knows_where_it_is(site: ServerProcess) -> None:
    with httpx2.Client(base_url=site.url, timeout=PATIENCE) as client:
        for prefix in ("/starlette", "/kui", "/sub/kui"):
            expected = [f"{site.url}{prefix}/users/7?q=1", f"{site.url}{prefix}/users/8"]
            assert client.get(f"{prefix}/users/7?q=1").json() == expected
        assert client.get("/old/").text == f"/old {site.url}/old/items/7"
        assert client.get("/old").headers["location"] == f"{site.url}/old/"  # Flask's own
        assert client.get("/tell/a%2Fb").json() == {
            "root_path": "/tell",
            "path": "/tell/a/b",
            "raw_path": "/tell/a%2Fb",
        }


def test_a_prefix_of_the_server_is_in_front_of_all(server: StartServer, server_kind: str) -> None:
    site = server("tests.servers.mounted:app", ROOT_PATH="/svc")
    # A proxy that takes the prefix off, and one that leaves it.
    prefixes = [""] if server_kind == "uvicorn" else ["", "/svc"]
    with httpx2.Client(base_url=site.url, timeout=PATIENCE) as client:
        for prefix in prefixes:
            for mount in ("/starlette", "/kui", "/sub/kui"):
                own = f"{site.url}/svc{mount}"
                answer = client.get(f"{prefix}{mount}/users/7")
                assert answer.json() == [f"{own}/users/7", f"{own}/users/8"], mount
            assert client.get(f"{prefix}/old/").text == f"/svc/old {site.url}/svc/old/items/7"
            assert client.get(f"{prefix}/tell/x").json() == {
                "root_path": "/svc/tell",
                "path": "/svc/tell/x",
                "raw_path": "/svc/tell/x",
            }
            assert client.get(f"{prefix}/sub/tell/x").json() == {
                "root_path": "/svc/sub/tell",
                "path": "/x",
                "raw_path": "/svc/sub/tell/x",
            }


def test_a_flask_app_answers_a_real_client(site: ServerProcess) -> None:
    with httpx2.Client(base_url=f"{site.url}/old", timeout=PATIENCE) as client:
        answer = client.post("/items/7", data={"a": "ü"})
        assert answer.json() == {"number": 7, "form": {"a": "ü"}, "method": "POST"}
        assert client.get("/items/x").status_code == 404
        assert client.delete("/items/7").status_code == 405
        head = client.head("/items/7")
        assert (head.status_code, head.content) == (200, b"")
        broken = client.get("/broken")
        assert broken.status_code == 500 and "secret" not in broken.text


def test_large_uploads_reach_flask_with_and_without_a_length(site: ServerProcess) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 50_000

    with httpx2.Client(base_url=f"{site.url}/old", timeout=PATIENCE) as client:
        assert client.post("/upload", content=b"x" * 5_000_000).text == "5000000"
        assert client.post("/upload", content=chunks()).text == "5000000"


def test_flask_streams_both_ways_at_once(site: ServerProcess) -> None:
    url = urlsplit(site.url)
    with socket.create_connection((url.hostname, url.port), timeout=PATIENCE) as sock:
        sock.sendall(
            b"POST /old/echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            b"transfer-encoding: chunked\r\n\r\n4\r\none\n\r\n"
        )
        received = read_until(sock, b"ONE\n")
        sock.sendall(b"4\r\ntwo\n\r\n0\r\n\r\n")
        received += read_until(sock)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"") == b"4ONE\n4TWO\n0"


def test_flask_learns_that_the_client_has_left(site: ServerProcess) -> None:
    url = urlsplit(site.url)
    for _ in range(3):
        with socket.create_connection((url.hostname, url.port), timeout=PATIENCE) as sock:
            sock.sendall(b"GET /old/endless HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert b"tick" in read_until(sock, b"tick")
    site.find("app: closed", 3)
    with httpx2.Client(timeout=PATIENCE) as client:
        assert client.get(f"{site.url}/old/items/1").status_code == 200
    assert "Traceback" not in site.log


def test_websockets_of_a_mounted_app(site: ServerProcess) -> None:
    for prefix in ("/kui", "/sub/kui"):
        with Client(site.port, f"{prefix}/echo") as client:
            client.send("hi")
            assert client.receive() == f"{prefix} hi"


def test_its_lifespan_runs_once_each_way(server: StartServer) -> None:
    site = server("tests.servers.mounted:app")
    with httpx2.Client(timeout=PATIENCE) as client:
        client.get(f"{site.url}/kui/users/7")
    site.stop()
    assert site.log.count("inner up") == site.log.count("inner down") == 1


def test_compressed_events_arrive_one_by_one(site: ServerProcess) -> None:
    import zlib

    decoder = zlib.decompressobj(31)
    with httpx2.Client(base_url=site.url, timeout=PATIENCE) as client:
        headers = {"accept-encoding": "gzip"}
        with client.stream("GET", "/kui/ticks", headers=headers) as response:
            assert response.headers["content-encoding"] == "gzip"
            received = b""
            for chunk in response.iter_raw():
                received += decoder.decompress(chunk)
                if b"data: 5\n" in received:
                    break
    assert b"data: 900\n" not in received  # long before its end


def test_a_compressed_file_over_a_real_socket(server: StartServer, tmp_path: Path) -> None:
    text = "a line of text\n" * 100_000
    (tmp_path / "long.txt").write_text(text)
    site = server("tests.servers.mounted:app", TREE=str(tmp_path))
    with httpx2.Client(base_url=site.url, timeout=PATIENCE) as client:
        with client.stream("GET", "/static/long.txt", headers={"accept-encoding": "gzip"}) as got:
            raw = b"".join(got.iter_raw())
        assert gzip.decompress(raw).decode() == text
        assert client.get("/static/long.txt", headers={"accept-encoding": "identity"}).text == text
        part = client.get("/static/long.txt", headers={"range": "bytes=0-5"})
        assert (part.status_code, part.text) == (206, "a line")
