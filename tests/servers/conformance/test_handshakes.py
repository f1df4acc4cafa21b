"""How a WebSocket begins, or does not (RFC 6455, 4.2)."""

from __future__ import annotations

import json

import pytest

from tests.support.wire import BINARY, CLOSE, TEXT, Cut, Wire, frame, handshake

from .servers import Site


def test_a_handshake_is_answered_by_the_letter(site: Site) -> None:
    with site.connect() as wire:
        response = wire.upgrade("/ws_echo/x")
        assert (response.status, response.reason) == (101, "Switching Protocols")
        assert response.header("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert (response.header("upgrade") or "").lower() == "websocket"
        assert (response.header("connection") or "").lower() == "upgrade"
        assert response.header("sec-websocket-extensions") is None
        assert response.header("content-length") is None
        assert response.header("transfer-encoding") is None


def test_the_app_sees_the_handshake_and_chooses(site: Site) -> None:
    with site.connect() as wire:
        response = wire.upgrade(
            f"/ws_scope/{site.name}?q=1", "Sec-WebSocket-Protocol: v1, v2", "X-Of-Client: 1"
        )
        assert response.header("sec-websocket-protocol") == "v2"
        assert response.header("x-own") == "yes"
        scope = json.loads(wire.frame().payload)
    assert (scope["type"], scope["scheme"], scope["http_version"]) == ("websocket", "ws", "1.1")
    assert (scope["path"], scope["query_string"]) == (f"/ws_scope/{site.name}", "q=1")
    assert scope["subprotocols"] == ["v1", "v2"]
    assert ["x-of-client", "1"] in scope["headers"]


def test_connection_may_name_more_than_the_upgrade(site: Site) -> None:
    with site.connect() as wire:
        wire.send(
            handshake("/ws_echo/x").replace(
                b"Connection: Upgrade", b"Connection: keep-alive, upgrade"
            )
        )
        assert wire.response().status == 101


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
        ("Sec-WebSocket-Version: 13", "X-Nothing: 1", 426),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "*", 400),
        ("Sec-WebSocket-Key: ", "X-Nothing: ", 400),
    ],
    ids=["version 8", "no version", "short key", "bad key", "no key"],
)
def test_a_handshake_that_is_wrong_is_refused(site: Site, old: str, new: str, status: int) -> None:
    with site.connect() as wire:
        wire.send(handshake("/ws_echo/x").replace(old.encode(), new.encode()))
        response = wire.response()
        assert response.status == status
        if status == 426:
            assert response.header("sec-websocket-version") == "13"


def test_a_socket_that_is_closed_before_it_is_accepted_is_a_403(site: Site) -> None:
    with site.connect() as wire:
        assert wire.upgrade(f"/ws_reject/{site.name}").status == 403
    site.hears("rejected")


def test_an_app_may_deny_with_a_response(site: Site) -> None:
    with site.connect() as wire:
        response = wire.upgrade("/ws_deny/x")
        assert (response.status, response.body) == (418, b"teapot")
        assert response.header("x-why") == "closed"


def test_an_app_that_fails_before_it_accepts_is_a_500(site: Site) -> None:
    with site.connect() as wire:
        assert wire.upgrade("/ws_fails/x").status == 500


def test_an_app_that_fails_after_it_accepted_closes_with_1011(site: Site) -> None:
    with site.connect() as wire:
        assert wire.upgrade("/ws_fails/x?after").status == 101
        assert wire.close_code() == 1011


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-a", "1%0D%0Ax-injected: 1"), ("x-injected a", "1"), ("x-a", "x-injected%00")],
)
def test_a_header_that_is_none_never_leaves_in_a_handshake(
    site: Site, name: str, value: str
) -> None:
    with site.connect() as wire:
        path = f"/ws_bad_header/x?name={name}&value={value}".replace(" ", "%20")
        wire.send(handshake(path))
        data = wire.until_closed()
        assert b"x-injected" not in data
        assert not data.startswith(b"HTTP/1.1 101")


def greet(wire: Wire) -> None:
    """What was sent with the handshake comes back."""
    assert wire.response().status == 101
    got = wire.frame()
    assert (got.opcode, got.payload) == (TEXT, b"early")


@pytest.mark.parametrize("path", ["ws_echo", "ws_late"])
def test_what_comes_with_the_handshake_is_read_after_it(site: Site, path: str) -> None:
    with site.connect() as wire:
        wire.send(handshake(f"/{path}/{site.name}") + frame(TEXT, b"early"))
        if path == "ws_late":
            site.hears("waits")
            site.release()
        greet(wire)


def test_nonsense_behind_a_handshake_fails_the_socket_and_its_app_hears_of_it(site: Site) -> None:
    with site.connect() as wire:
        wire.send(handshake(f"/ws_late/{site.name}") + b"x")
        site.hears("waits")
        site.release()
        site.hears("accepted")
        wire.half_close()
        site.hears("disconnect .*")


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_before_it_is_accepted_leaves_nothing_behind(
    site: Site, leave: str
) -> None:
    wire = site.connect()
    wire.send(handshake(f"/ws_late/{site.name}"))
    site.hears("waits")
    wire.reset() if leave == "reset" else wire.sock.close()
    site.release()
    site.hears("disconnect 1006|disconnect 1005")


def test_a_closed_socket_ends_the_connection(site: Site) -> None:
    with site.connect() as wire:
        wire.upgrade(f"/ws_close/{site.name}?code=4000")
        got = wire.frame()
        assert (got.opcode, got.code, got.payload[2:]) == (CLOSE, 4000, b"bye")
        wire.send(frame(CLOSE, got.payload))
        assert wire.until_closed() == b""


def test_a_binary_message_may_be_larger_than_any_buffer(site: Site) -> None:
    body = bytes(index % 251 for index in range(1_000_000))
    with site.connect() as wire:
        wire.upgrade("/ws_echo/x")
        wire.send(frame(BINARY, body))
        got = b""
        while True:
            part = wire.frame()
            got += part.payload
            if part.fin:
                break
        assert got == body


def test_an_unanswered_handshake_is_cut_with_its_connection(site: Site) -> None:
    with site.connect() as wire:
        wire.send(handshake("/fails/x?kind=exit"))
        try:
            assert wire.response().status == 500
        except Cut:
            pass
        site.is_well()
