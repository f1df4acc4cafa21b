"""WebSockets over HTTP/2 (RFC 8441), on both loops: under `kui run`, since hypercorn alone does not survive all of it."""

from __future__ import annotations

import re
import time

import pytest

from tests.support.websocket_client import Denied, WebSocketOverHttp2

from .conftest import Site

pytestmark = pytest.mark.parametrize(
    "server_kind", ["kui-run-trio", "kui-run-asyncio"], indirect=True
)
TRACEBACK = "Traceback (most recent call last)"


def test_messages_of_every_kind_are_echoed(site: Site) -> None:
    with WebSocketOverHttp2(site.port, "/echo") as client:
        for message in ("text", b"\0\xff", "", "ü" * 70_000, b"x" * 1024 * 1024):
            client.send(message)
            assert client.receive() == message
        client.send_fragments("one ", "mess", "age")
        assert client.receive() == "one message"
        client.close(4000, "bye")
        client.until_closed()
    assert site.ending("/echo") == "disconnect 4000 bye"
    assert TRACEBACK not in site.log


def test_a_subprotocol_is_agreed_upon(site: Site) -> None:
    with WebSocketOverHttp2(site.port, "/subprotocol", subprotocols=("v2", "v1")) as client:
        assert client.subprotocol == "v1"
        assert client.headers["x-offered"] == "v2,v1"
        assert client.until_closed().code == 1000


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [("/deny/exception", 401, b"Who are you?"), ("/deny/close", 403, b""), ("/nowhere", 404, None)],
)
def test_a_refusal_is_a_response(site: Site, path: str, status: int, body: bytes | None) -> None:
    with pytest.raises(Denied) as denied:
        WebSocketOverHttp2(site.port, path)
    assert denied.value.status == status
    if body is not None:
        assert denied.value.body == body


@pytest.mark.parametrize(("path", "code"), [("/return", 1000), ("/crash", 1011)])
def test_how_a_handler_ends_is_how_its_socket_is_closed(site: Site, path: str, code: int) -> None:
    with WebSocketOverHttp2(site.port, path) as client:
        client.send("go")
        assert client.until_closed().code == code
    if code == 1011:
        site.find("ZeroDivisionError: ")


@pytest.mark.parametrize("path", ["/echo", "/push/10", "/quiet", "/both", "/deaf/1"])
def test_a_stream_that_is_reset_leaves_nothing_behind(site: Site, path: str) -> None:
    with WebSocketOverHttp2(site.port, path) as client:
        client.reset()
        site.ending(path)
    assert TRACEBACK not in site.log


@pytest.mark.parametrize("path", ["/echo", "/push/100000"])
def test_a_connection_that_is_lost_leaves_nothing_behind(site: Site, path: str) -> None:
    client = WebSocketOverHttp2(site.port, path)
    for _ in range(30):
        client.send("x")
    client.sock.close()
    site.ending(path)
    assert TRACEBACK not in site.log


def test_a_stalled_stream_holds_its_handler_back_and_no_other_connection(site: Site) -> None:
    with (
        WebSocketOverHttp2(site.port, "/push/100000") as stalled,
        WebSocketOverHttp2(site.port, "/echo") as other,
    ):
        end = time.monotonic() + 1
        while time.monotonic() < end:
            other.send("still here")
            assert other.receive() == "still here"
        assert not re.search("</push", site.log)
        stalled.sock.close()
        site.ending("/push/100000")
