"""What clients see of SIGTERM: one server each."""

from __future__ import annotations

import pytest

from tests.support.wire import handshake, request

from .servers import Site


def test_an_idle_connection_is_closed_and_the_process_ends(own: Site) -> None:
    with own.connect() as idle, own.connect() as fresh:
        assert idle.get("/early/x").body == b"early"
        own.process.send_signal()
        assert idle.until_closed() == b""
        assert fresh.until_closed() == b""
        assert not idle.was_reset and not fresh.was_reset
        own.process.wait(own.patience)


def test_a_request_in_flight_is_answered_and_told_of_the_end(own: Site) -> None:
    with own.connect() as wire, own.connect() as idle:
        wire.ask(f"/echo/{own.name}", "Content-Length: 4", method="POST")
        own.hears("waits")
        idle.get("/early/x")
        own.process.send_signal()
        idle.until_closed()  # it has begun to stop
        with pytest.raises(OSError):
            own.connect()
        wire.send(b"body")
        response = wire.response()
        assert response.body == b"body"
        assert response.closes
        assert wire.until_closed() == b""
        own.process.wait(own.patience)


def test_a_websocket_is_told_that_the_server_goes_away(own: Site) -> None:
    with own.connect() as wire:
        wire.send(handshake(f"/ws_echo/{own.name}"))
        wire.response()
        own.hears("accepted")
        own.process.send_signal()
        assert wire.close_code() in (1001, 1012)
        own.hears("disconnect 10(01|12|06).*")
        wire.sock.close()
        own.process.wait(own.patience)


def test_a_client_that_stalls_does_not_hold_the_exit_back(own: Site) -> None:
    with own.connect(receive_buffer=4096) as wire:
        wire.send(request(f"/pushes/{own.name}"))
        own.hears("waits")
        own.process.send_signal()
        own.process.wait(own.patience)
