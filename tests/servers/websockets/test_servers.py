"""WebSockets on real sockets: the same on hypercorn with trio, hypercorn with asyncio, and uvicorn."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress

import pytest

from tests.support.process import ServerProcess
from tests.support.websocket_client import Client, Denied

from .conftest import Site

TRACEBACK = "Traceback (most recent call last)"


def test_messages_of_every_kind_are_echoed(site: Site) -> None:
    with Client(site.port, "/echo") as client:
        for message in (
            "text",
            b"\0\xff",
            "",
            b"",
            "ü" * 70_000,
            b"x" * 1024 * 1024,
            "y" * 1024 * 1024,
        ):
            client.send(message)
            assert client.receive() == message
        client.send_fragments("one ", "mess", "age")
        assert client.receive() == "one message"
        client.send_fragments(b"one ", b"", b"message")
        assert client.receive() == b"one message"
    assert TRACEBACK not in site.log


@pytest.mark.parametrize("mode", ["text", "binary"])
def test_json_is_echoed(site: Site, mode: str) -> None:
    with Client(site.port, f"/json/{mode}") as client:
        for value in ({"a": [1, None]}, "ü", 5):
            text = json.dumps(value)
            client.send(text if mode == "text" else text.encode())
            assert json.loads(client.receive()) == {"you": value}
        client.send("{" if mode == "text" else b"{")
        assert client.until_closed().code == 1007
    assert TRACEBACK not in site.log


def test_a_message_of_the_other_type_closes_with_1003(site: Site) -> None:
    with Client(site.port, "/text") as client:
        client.send(b"binary")
        closed = client.until_closed()
    assert (closed.code, closed.reason) == (1003, "a text message was expected")
    assert site.ending("/text") == "disconnect 1003 a text message was expected"
    assert TRACEBACK not in site.log


def test_subprotocols_and_headers_of_the_handshake(site: Site) -> None:
    with Client(site.port, "/subprotocol", subprotocols=("v2", "v1")) as client:
        assert client.subprotocol == "v1"
        assert client.accepted is not None
        assert dict(client.accepted.extra_headers)[b"x-offered"] == b"v2,v1"
    with Client(site.port, "/subprotocol") as client:
        assert client.subprotocol is None


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/deny/exception", 401, b"Who are you?"),
        ("/deny/value", 503, b'{"full":true}'),
        ("/deny/empty", 204, b""),
        ("/deny/close", 403, b""),
        ("/deny/return", 403, b""),
        ("/nowhere", 404, None),
        ("/deny/crash", 500, None),
    ],
)
def test_a_refusal_is_a_response(site: Site, path: str, status: int, body: bytes | None) -> None:
    with pytest.raises(Denied) as denied:
        Client(site.port, path)
    assert denied.value.status == status
    if body is not None:
        assert denied.value.body == body
    if status == 401:
        assert denied.value.headers[b"www-authenticate"] == b"Bearer"
    if status == 500:
        site.find("ZeroDivisionError: before accept")
    assert site.log.count(TRACEBACK) == (1 if status == 500 else 0)


def test_a_foreign_origin_is_refused(site: Site) -> None:
    with pytest.raises(Denied) as denied:
        Client(site.port, "/origin", headers=(("Origin", "https://evil.com"),))
    assert denied.value.status == 403
    with Client(site.port, "/origin", headers=(("Origin", "https://friend.com"),)) as client:
        assert client.until_closed().code == 1000


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("/return", 1000, ""),
        ("/crash", 1011, ""),
        ("/group", 1011, ""),
        ("/close/4000", 4000, "because"),
    ],
)
def test_how_a_handler_ends_is_how_its_socket_is_closed(
    site: Site, path: str, code: int, reason: str
) -> None:
    with Client(site.port, path) as client:
        if not path.startswith("/close"):
            client.send("go")
        closed = client.until_closed()
        assert (closed.code, closed.reason) == (code, reason)
        site.ending(path)
        client.until_hung_up()
    if code == 1011:
        site.find("ZeroDivisionError: ")
    assert site.log.count("ZeroDivisionError: ") == (1 if code == 1011 else 0)


def what_is_told(server_kind: str, code: str) -> str:
    """hypercorn calls every end of a WebSocket 1006, whatever its client has said."""
    return "1006" if server_kind.startswith("hypercorn") else code


def test_the_close_of_a_client_reaches_the_handler(site: Site, server_kind: str) -> None:
    with Client(site.port, "/echo") as client:
        client.close(4000, "bye")
        assert client.until_closed().code == 4000
    assert site.ending("/echo") == f"disconnect {what_is_told(server_kind, '4000 bye')}"
    assert TRACEBACK not in site.log


def test_a_close_frame_without_a_code_is_a_1005(site: Site, server_kind: str) -> None:
    with Client(site.port, "/echo") as client:
        client.write(b"\x88\x80\0\0\0\0")
        client.until_closed()
    assert site.ending("/echo") == f"disconnect {what_is_told(server_kind, '1005')}"


def test_a_view_is_told_the_close_code_once(site: Site, server_kind: str) -> None:
    with Client(site.port, "/view") as client:
        client.send("a")
        assert client.receive() == "got 'a'"
        client.close(4001)
        client.until_closed()
    site.ending("/view")
    told = what_is_told(server_kind, "4001")
    assert re.findall(r"<view disconnected (\d+)>", site.log) == [told]


@pytest.mark.parametrize(
    "path", ["/echo", "/push/10", "/quiet", "/both", "/view", "/heartbeat", "/deaf/1"]
)
@pytest.mark.parametrize("how", ["reset", "disappear", "half_close"])
def test_a_client_that_goes_without_a_word_leaves_nothing_behind(
    site: Site, path: str, how: str
) -> None:
    client = Client(site.port, path)
    getattr(client, how)()
    if how == "half_close":
        client.until_closed()
    site.ending(path)
    client.sock.close()
    assert TRACEBACK not in site.log


def test_a_client_that_goes_during_the_handshake_leaves_nothing_behind(site: Site) -> None:
    client = Client(site.port, "/slow-accept", handshake=False)
    site.find("<connecting>")
    client.reset()
    assert site.ending("/slow-accept").startswith("disconnect 1006")
    assert TRACEBACK not in site.log


def test_a_client_that_floods_and_goes_leaves_nothing_behind(site: Site) -> None:
    client = Client(site.port, "/push/10")
    for _ in range(300):
        client.send("x")
    client.reset()
    assert site.ending("/push/10").startswith("disconnect 100")
    assert TRACEBACK not in site.log


def test_an_unread_flood_is_closed_with_1008(site: Site) -> None:
    with Client(site.port, "/push/10") as client:
        try:
            for _ in range(5000):
                client.send("x" * 100)
        except OSError:
            pass  # closed already
        assert site.ending("/push/10") == "disconnect 1008 too many messages that are not read"
        assert client.until_closed().code in (1008, 1006)


def test_an_app_that_returns_while_its_client_floods_lets_the_connection_go(
    site: Site,
) -> None:
    """hypercorn waits for ever for room in its queue, when an application returns that has not read it."""
    with Client(site.port, "/deaf/1") as client:
        with suppress(OSError):  # it may have returned already
            for _ in range(100):
                client.send("x")
        assert client.until_closed().code == 1000
        client.until_hung_up()


def test_a_reader_that_stalls_holds_back_its_own_handler_only(site: Site) -> None:
    stalled = Client(site.port, "/push/100000", receive_buffer=4096)
    with Client(site.port, "/echo") as other:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            other.send("still here")
            assert other.receive() == "still here"
    assert "</push" not in site.log
    for _ in range(30):
        stalled.send("x")  # what hypercorn's send would wait for room for
    stalled.reset()
    assert site.ending("/push/100000").startswith("disconnect 1006")
    assert TRACEBACK not in site.log


def test_a_reader_that_stalls_and_floods_and_goes_leaves_nothing_behind(
    site: Site,
) -> None:
    stalled = Client(site.port, "/echo-slowly", receive_buffer=4096)
    stalled.sock.settimeout(1)
    try:
        for _ in range(10_000):
            stalled.send("x" * 1000)
    except TimeoutError:
        pass  # held back
    stalled.reset()
    site.ending("/echo-slowly")
    assert TRACEBACK not in site.log


def test_sends_of_several_tasks_never_interleave(site: Site) -> None:
    with Client(site.port, "/both") as client:
        client.send("hello")
        seen: dict[str, int] = dict.fromkeys("abc", 0)
        echoed = 0
        while sum(seen.values()) < 600 or not echoed:
            message = client.receive()
            assert isinstance(message, str)
            if message == "hello":
                echoed += 1
                continue
            label, _, rest = message.partition(" ")
            assert rest == label[0] * 20_000
            assert label == f"{label[0]}{seen[label[0]]}"
            seen[label[0]] += 1
        client.close()
        assert client.until_closed().code == 1000
    site.ending("/both")


def test_a_message_beyond_the_limit_of_the_server_ends_as_the_server_ends_it(
    site: Site,
) -> None:
    with Client(site.port, "/echo") as client:
        try:
            client.send(b"x" * (16 * 1024 * 1024 + 1))
        except OSError:
            pass
        assert client.until_closed().code in (1009, 1006)
    assert site.ending("/echo").startswith("disconnect ")


def test_a_client_that_answers_no_heartbeat_is_dropped(site: Site) -> None:
    with Client(site.port, "/heartbeat") as client:
        assert client.receive() == "ping"
        client.send("pong")
        assert client.receive() == "ping"
        assert client.until_closed().code == 1011
    assert site.ending("/heartbeat") == "disconnect 1011 no answer to a heartbeat"


@pytest.mark.parametrize("path", ["/echo", "/push/10", "/quiet", "/view"])
def test_a_server_that_stops_closes_with_1001(own_server: ServerProcess, path: str) -> None:
    with Client(own_server.port, path) as client:
        own_server.send_signal()
        assert client.until_closed().code == 1001
        own_server.wait()
    Site(own_server).ending(path)
    assert TRACEBACK not in own_server.log


@pytest.mark.timeout(180)  # a thousand handshakes, on a busy machine
def test_a_thousand_handlers_that_only_send_end_with_their_clients(
    site: Site,
) -> None:
    clients = [Client(site.port, "/quiet", handshake=False) for _ in range(1000)]
    for client in clients:
        client.shake_hands()
        client.receive()
    for client in clients:
        client.reset()
    site.find(r"</quiet: [^;]+; 0 left>")
    endings = re.findall(r"</quiet: ([^;]+);", site.log)
    assert endings == ["disconnect 1006"] * 1000
    assert TRACEBACK not in site.log
