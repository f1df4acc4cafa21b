"""Files under real servers: whole, in parts, cut short by a client that leaves and by a file that shrinks."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import httpx2
import pytest

from kui.asgi import FileResponse, Kui, request
from tests.support.process import PATIENCE, ServerProcess, get, read_until

from .conftest import StartServer

SIZE = 64 << 20
"""More than the buffers of two sockets ever hold."""
APP = "tests.servers.test_files:app"

app = Kui()


@app.router.http("/file")
async def file() -> FileResponse:
    request.background_tasks.append(print, "app: sending is over")
    return FileResponse(os.environ["SERVED"])


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A sparse file with something at its end."""
    path = tmp_path / "served.bin"
    with path.open("wb") as sparse:
        sparse.seek(SIZE - 5)
        sparse.write(b"12345")
    return path


def begin(server: ServerProcess) -> tuple[socket.socket, bytes]:
    """Ask for the file by hand, and read its headers and a little more."""
    client = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    client.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = read_until(client, b"\r\n\r\n").partition(b"\r\n\r\n")
    assert f"content-length: {SIZE}".encode() in head.lower()
    return client, body


def test_all_of_it_and_parts_of_it_arrive(server: StartServer, served: Path) -> None:
    url = f"{server(APP, SERVED=str(served)).url}/file"
    with httpx2.Client(timeout=PATIENCE) as client:
        whole = client.get(url)
        assert len(whole.content) == SIZE
        assert whole.content.endswith(b"\x0012345")
        part = client.get(url, headers={"Range": "bytes=-3"})
        assert (part.status_code, part.content) == (206, b"345")
        parts = client.get(url, headers={"Range": f"bytes=0-1,{SIZE - 2}-"})
        assert parts.status_code == 206
        assert parts.headers["content-type"].startswith("multipart/byteranges; boundary=")
        assert len(parts.content) == int(parts.headers["content-length"])
        fresh = client.get(url, headers={"If-None-Match": whole.headers["etag"]})
        assert (fresh.status_code, fresh.content) == (304, b"")
        beyond = client.get(url, headers={"Range": f"bytes={SIZE}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{SIZE}")
        head = client.head(url)
        assert (head.headers["content-length"], head.content) == (str(SIZE), b"")


def test_a_client_that_leaves_half_way_leaves_nothing_open(
    server: StartServer, served: Path
) -> None:
    process = server(APP, SERVED=str(served))
    client, _ = begin(process)
    assert process.descriptors(str(served)) == 1
    client.close()
    process.find("app: sending is over")
    assert process.descriptors(str(served)) == 0
    assert "Traceback" not in process.log
    assert get(f"{process.url}/file", headers={"Range": "bytes=0-0"}).status_code == 206


def test_a_file_that_shrinks_cuts_the_connection(server: StartServer, served: Path) -> None:
    process = server(APP, SERVED=str(served))
    client, body = begin(process)
    os.truncate(served, 1 << 20)
    received = len(body)
    with client:
        try:
            while chunk := client.recv(1 << 20):
                received += len(chunk)
        except ConnectionResetError:
            pass
    assert received < SIZE
    process.find("FileShrank")
    assert process.descriptors(str(served)) == 0
