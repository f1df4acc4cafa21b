"""One app under three servers: real clients get the same statuses, headers and bodies."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.process import PATIENCE, get, read_until

from .conftest import KuiRun, StartServer

SERVERS_OWN = {"date", "server", "connection", "keep-alive", "transfer-encoding"}


def seen(response: httpx2.Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in response.headers.items() if name not in SERVERS_OWN}
    return response.status_code, headers, response.content


TEXT = "text/plain; charset=utf-8"

ANSWERS: list[tuple[str, str, dict[str, Any], int, dict[str, str], bytes]] = [
    ("GET", "/", {}, 200, {"content-type": TEXT}, b"hello"),
    ("HEAD", "/", {}, 200, {"content-type": TEXT, "content-length": "5"}, b""),
    ("OPTIONS", "/", {}, 204, {"allow": "GET, HEAD, OPTIONS"}, b""),
    ("PUT", "/", {}, 405, {"allow": "GET, HEAD, OPTIONS"}, b""),
    ("DELETE", "/json", {}, 405, {"allow": "GET, HEAD, OPTIONS, POST"}, b""),
    ("GET", "/thread", {}, 200, {"content-type": "application/json"}, b'{"path":"/thread"}'),
    ("GET", "/items/x", {}, 404, {}, b""),
    ("GET", "/nowhere", {}, 404, {}, b""),
    ("GET", "/empty", {}, 204, {}, b""),
    ("GET", "/teapot", {}, 418, {"x-pot": "tea"}, b'{"error":"teapot"}'),
    ("GET", "/broken", {}, 500, {"content-type": TEXT}, b""),
    ("GET", "/page", {}, 200, {}, b"<p>&lt;Kui&gt; /items/3 /page</p>"),
    ("POST", "/form", {"data": {"a": "1", "b": "\xe4"}}, 200, {}, '[["a","1"],["b","ä"]]'.encode()),
    ("POST", "/unread", {"content": b"x" * 2_000_000}, 200, {}, b"I did not look."),
]


def test_the_same_requests_get_the_same_answers(server: StartServer) -> None:
    process = server("tests.servers.site:app")
    with httpx2.Client(base_url=process.url, timeout=PATIENCE) as client:
        for method, path, options, status, headers, body in ANSWERS:
            response = client.request(method, path, **options)
            assert response.status_code == status, path
            assert headers.items() <= dict(response.headers).items(), path
            if body:
                assert response.content == body, path
            assert "secret" not in response.text and "Traceback" not in response.text
            if status == 204:
                assert "content-length" not in response.headers
        item = client.get("/items/7").json()
        assert item == {"id": 7, "url": f"{process.url}/items/7"}


def test_a_connection_is_kept_for_many_requests(server: StartServer) -> None:
    url = urlsplit(server("tests.servers.site:app").url)
    with socket.create_connection((url.hostname, url.port), timeout=PATIENCE) as sock:
        stream = sock.makefile("rb")
        for number in range(20):
            # One that leaves its body unread is among them.
            if number % 2:
                sock.sendall(b"GET /items/1 HTTP/1.1\r\nhost: localhost\r\n\r\n")
            else:
                sock.sendall(
                    b"POST /form HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n"
                    b"content-type: application/x-www-form-urlencoded\r\n\r\na=1"
                )
            assert stream.readline().startswith(b"HTTP/1.1 200")
            length = 0
            while (line := stream.readline().strip().lower()) != b"":
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            assert len(stream.read(length)) == length > 0


def test_large_and_chunked_bodies_arrive_whole(server: StartServer) -> None:
    process = server("tests.servers.site:app")
    document = json.dumps({f"key{n:06}": "x" * 90 for n in range(48_000)}).encode()
    assert len(document) > 5_000_000

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(document), 70_001):
            yield document[start : start + 70_001]

    with httpx2.Client(base_url=process.url, timeout=PATIENCE) as client:
        headers = {"content-type": "application/json"}
        for content in (document, chunks()):
            response = client.post("/json", content=content, headers=headers)
            assert response.json() == {"size": len(document), "keys": 48_000}
        assert client.post("/stream", content=chunks()).json() == {"size": len(document)}


def test_cookies_survive_the_way_there_and_back(server: StartServer) -> None:
    process = server("tests.servers.site:app")
    with httpx2.Client(base_url=process.url, timeout=PATIENCE) as client:
        response = client.get("/cookie")
        assert len(response.headers.get_list("set-cookie")) == 2
        assert client.get("/cookies").json() == {"a": "1; ä\r\n", "b": "2"}


@pytest.mark.parametrize("path", ["/a%2Fb", "/a/b", "/%E4%BD%A0", "/a%20b%3Fc"])
def test_encoded_paths_are_decoded_once_and_the_url_is_as_sent(
    server: StartServer, path: str
) -> None:
    from urllib.parse import unquote

    process = server("tests.servers.site:app")
    with httpx2.Client(base_url=process.url, timeout=PATIENCE) as client:
        answer = client.get(f"/files{path}").json()
    assert answer == {"path": unquote(path)[1:], "url": f"{process.url}/files{path}"}


def test_a_prefix_is_right_on_every_server(server: StartServer, server_kind: str) -> None:
    process = server("tests.servers.site:app", ROOT_PATH="/api")
    # A proxy that takes the prefix off, and one that leaves it.
    prefixes = [""] if server_kind == "uvicorn" else ["", "/api"]
    with httpx2.Client(base_url=process.url, timeout=PATIENCE) as client:
        for prefix in prefixes:
            answer = client.get(f"{prefix}/items/7")
            assert answer.json() == {"id": 7, "url": f"{process.url}/api/items/7"}
            assert client.get(f"{prefix}/files/x").json()["url"] == f"{process.url}/api/files/x"
        assert "/api/items/3" in client.get("/page").text


@pytest.mark.anyio
async def test_http2_over_tls_gets_the_same_answers(
    kui_run: KuiRun, certificate: Any, anyio_backend: str
) -> None:
    import ssl

    process = kui_run("tests.servers.site:app", "--certfile", str(certificate))
    process.find_url()
    context = ssl.create_default_context(cafile=str(certificate))

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 10_000

    async with httpx2.AsyncClient(
        base_url=process.url, http2=True, http1=False, verify=context, timeout=PATIENCE
    ) as client:
        for method, path, options, status, headers, body in ANSWERS:
            response = await client.request(method, path, **options)
            assert response.http_version == "HTTP/2"
            assert response.status_code == status, path
            assert headers.items() <= dict(response.headers).items(), path
            if body:
                assert response.content == body, path
        assert (await client.post("/stream", content=chunks())).json() == {"size": 500_000}
        assert (await client.post("/body", content=chunks())).json() == {"size": 500_000}


BAD: list[tuple[str, bytes, set[int]]] = [
    (
        "broken JSON",
        b"POST /json HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: 1\r\n\r\n{",
        {400},
    ),
    (
        "a wrong content type",
        b"POST /json HTTP/1.1\r\nhost: localhost\r\ncontent-type: a/b/c\r\ncontent-length: 2\r\n\r\n{}",
        {415},
    ),
    (
        "a form that is none",
        b"POST /form HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data\r\n"
        b"content-length: 2\r\n\r\n{}",
        {400},
    ),
    (
        "a body that is too large",
        b"POST /body HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n",
        {413},
    ),
    (
        "bad cookies",
        b'GET /cookies HTTP/1.1\r\nhost: localhost\r\ncookie: =;;a=\xff\xfe;b="\\777";;c\r\n\r\n',
        {200, 400},
    ),
    (
        "a path that is no UTF-8",
        b"GET /files/%ff%fe%00%0d%0a HTTP/1.1\r\nhost: localhost\r\n\r\n",
        {200, 400, 404},
    ),
    (
        "a query that is no UTF-8",
        b"GET /query?a=%ff&%fe=%00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        {200},
    ),
    (
        "a body that is no UTF-8",
        b"POST /form HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n"
        b"content-type: application/x-www-form-urlencoded\r\n\r\na=\xff\xfe&",
        {200, 400},
    ),
    (
        "10,000 fields",
        b"GET /query?" + b"&".join([b"a"] * 10_000) + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        {200},
    ),
    (
        "too many fields",
        b"GET /query?" + b"&" * 20_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        {400},
    ),
    ("another host", b"GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n", {400}),
    ("an absurd host", b"GET / HTTP/1.1\r\nhost: [/@<>\r\n\r\n", {400}),
    ("a long host", b"GET / HTTP/1.1\r\nhost: " + b"a" * 5_000 + b"\r\n\r\n", {400}),
    ("a method of its own", b"FETCH / HTTP/1.1\r\nhost: localhost\r\n\r\n", {405, 400}),
    (
        "a compressed body",
        b"POST /json HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
        {415},
    ),
]


def answer_of(url: str, data: bytes) -> bytes:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as sock:
        sock.sendall(data.replace(b"host:", b"connection: close\r\nhost:", 1))
        return read_until(sock)


def test_bad_input_is_never_an_error_of_ours(server: StartServer) -> None:
    process = server("tests.servers.site:app")
    for what, data, statuses in BAD:
        answer = answer_of(process.url, data)
        found = re.match(rb"HTTP/1.1 (\d+)", answer)
        assert found and int(found[1]) in statuses, (what, answer[:200])
        assert b"Traceback" not in answer, what
        assert get(f"{process.url}/").text == "hello", what
    assert "Traceback" not in process.log


UNUSUAL: list[tuple[str, bytes, bytes, bytes]] = [
    (
        "a target in absolute form",
        b"GET http://localhost/items/7?a=1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"200",
        b'{"id":7,',
    ),
    (
        "one without a path",
        b"GET http://localhost HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"200",
        b"hello",
    ),
    (
        "one that leads nowhere",
        b"GET http://localhost/nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"404",
        b"",
    ),
    ("the options of the server", b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n", b"204", b""),
    ("a star that is no path", b"GET * HTTP/1.1\r\nhost: localhost\r\n\r\n", b"404", b""),
    (
        "a body with GET that nobody reads",
        b"GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc",
        b"200",
        b"hello",
    ),
    ("a query without fields", b"GET /? HTTP/1.1\r\nhost: localhost\r\n\r\n", b"200", b"hello"),
    ("blanks around a value", b"GET / HTTP/1.1\r\nhost: \t localhost \t\r\n\r\n", b"200", b"hello"),
    (
        "chunks with extensions, and trailers",
        b"POST /body HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        b'3;name="a value"\r\nabc\r\n0\r\nx-trailer: 1\r\n\r\n',
        b"200",
        b'{"size":3}',
    ),
    (
        "a client that asks before it sends",
        b"POST /body HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
        b"content-length: 3\r\n\r\nabc",
        b"200",
        b'{"size":3}',
    ),
    (
        "cookies in two lines",
        b"GET /cookies HTTP/1.1\r\nhost: localhost\r\ncookie: a=1\r\ncookie: b=2\r\n\r\n",
        b"200",
        b'{"a":"1","b":"2"}',
    ),
]


UVICORN_REFUSES = {"one without a path", "blanks around a value"}
"""What uvicorn makes of it over httptools, which comes with Kui, is wrong: docs/servers.md."""


def test_unusual_but_legal_requests_get_their_answers(
    server: StartServer, server_kind: str
) -> None:
    process = server("tests.servers.site:app")
    for what, data, status, body in UNUSUAL:
        if server_kind == "uvicorn" and what in UVICORN_REFUSES:
            continue
        answer = answer_of(process.url, data)
        if answer.startswith(b"HTTP/1.1 100"):
            answer = answer.partition(b"\r\n\r\n")[2]
        assert answer.startswith(b"HTTP/1.1 " + status), (what, answer[:200])
        assert body in answer.partition(b"\r\n\r\n")[2], (what, answer[:200])
