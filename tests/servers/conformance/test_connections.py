"""How long a connection lives, and in which order it is answered (RFC 9112, 9)."""

from __future__ import annotations

import time

import pytest

from tests.support.wire import Cut, push, request

from .servers import Site


def test_a_connection_serves_one_request_after_the_other(site: Site) -> None:
    with site.connect() as wire:
        for number in range(20):
            body = b"%d" % number
            assert wire.get("/echo/x", method="POST", body=body).body == body


def test_a_client_may_ask_for_the_end(site: Site) -> None:
    with site.connect() as wire:
        assert wire.get("/early/x", "Connection: close").closes
        assert wire.until_closed() == b""
        assert not wire.was_reset


def test_an_app_may_ask_for_the_end(site: Site) -> None:
    with site.connect() as wire:
        assert wire.get("/header/x?name=Connection&value=close").closes
        assert wire.until_closed() == b""


def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    bodies = [b"%d" % number for number in range(40)]
    with site.connect() as wire:
        wire.send(b"".join(request("/echo/x", method="POST", body=body) for body in bodies))
        assert [wire.response().body for _ in bodies] == bodies


def test_a_pipelined_request_does_not_run_before_the_one_in_front_of_it_is_answered(
    site: Site,
) -> None:
    with site.connect() as wire:
        wire.send(request(f"/holds/{site.name}") + request(f"/early/{site.name}"))
        site.hears("waits")
        site.is_well()
        assert not site.heard("runs")
        site.release()
        assert [wire.response().body for _ in "12"] == [b"released", b"early"]


@pytest.mark.parametrize("behind", [0, 1, 30])
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_is_seen_to_leave_whatever_it_has_pipelined(
    site: Site, behind: int, leave: str
) -> None:
    wire = site.connect()
    wire.send(request(f"/waits/{site.name}") + request("/early/x") * behind)
    site.hears("waits")
    wire.reset() if leave == "reset" else wire.sock.close()
    site.hears("left")


def test_bytes_behind_the_last_request_do_not_spoil_its_answer(site: Site) -> None:
    with site.connect() as wire:
        wire.ask(f"/holds/{site.name}", "Connection: close", method="POST", body=b"ok")
        wire.send(b"\r\nGET")
        site.hears("waits")
        site.release()
        response = wire.response()
        assert (response.status, response.body) == (200, b"released")
        assert wire.until_closed() == b""


def test_what_is_wrong_behind_a_request_does_not_spoil_its_answer(site: Site) -> None:
    with site.connect() as wire:
        wire.send(request(f"/holds/{site.name}") + b"no request at all\r\n\r\n")
        site.hears("waits")
        site.release()
        assert wire.response().body == b"released"
        assert wire.response().status == 400
        wire.until_closed()


def test_a_small_body_that_is_not_read_does_not_end_the_connection(site: Site) -> None:
    with site.connect() as wire:
        for _ in range(3):
            assert wire.get("/early/x", method="POST", body=b"u" * 30_000).body == b"early"


@pytest.mark.parametrize("status", [200, 413])
def test_an_answer_is_read_by_a_client_that_is_still_uploading(site: Site, status: int) -> None:
    """The server may close, but not so that what it has said is lost (RFC 9112, 9.6)."""
    for _ in range(5):
        with site.connect() as wire:
            wire.ask(f"/early/x?status={status}", "Content-Length: 600000", method="POST")
            push(wire, b"u" * 600_000)
            response = wire.response()
            assert (response.status, response.body) == (status, b"early")


def test_a_body_without_end_is_not_read_for_ever(site: Site) -> None:
    with site.connect() as wire:
        wire.ask("/early/x", "Transfer-Encoding: chunked", method="POST")
        assert wire.response().status == 200
        end = time.monotonic() + site.patience
        try:
            while time.monotonic() < end:
                wire.send(b"10000\r\n" + b"u" * 65536 + b"\r\n")
        except (ConnectionResetError, BrokenPipeError):
            return
    raise AssertionError("it reads on and on")


def test_a_body_that_is_malformed_is_a_400_if_nothing_was_answered(site: Site) -> None:
    with site.connect() as wire:
        wire.ask(f"/echo/{site.name}", "Transfer-Encoding: chunked", method="POST")
        wire.send(b"5\r\nhello\r\nnonsense\r\n")
        assert wire.response().status == 400
        assert wire.until_closed() == b""


def test_a_body_that_is_malformed_cuts_a_response_that_has_begun(site: Site) -> None:
    with site.connect() as wire:
        wire.ask(f"/flow/{site.name}", "Transfer-Encoding: chunked", method="POST")
        wire.send(b"5\r\nhello\r\n")
        wire.until(b"5\r\nhello\r\n")
        wire.send(b"nonsense\r\n")
        assert b"\r\n0\r\n\r\n" not in b"\r\n" + wire.until_closed()
        site.hears("left")


# Time.


def test_an_idle_connection_is_closed_without_a_word(hasty: Site) -> None:
    with hasty.connect() as wire:
        assert wire.get("/early/x").body == b"early"
        assert wire.until_closed() == b""
        assert not wire.was_reset


def test_a_head_that_does_not_end_is_a_408(hasty: Site) -> None:
    with hasty.connect() as wire:
        wire.send(b"GET /early/x HTTP/1.1\r\nHost")
        assert wire.response().status == 408
        assert wire.until_closed() == b""


def test_a_head_that_comes_by_drops_is_a_408(hasty: Site) -> None:
    with hasty.connect() as wire:
        wire.send(b"GET /early/x HTTP/1.1\r\n")
        end = time.monotonic() + hasty.patience
        try:
            while wire.is_quiet(0.05):
                assert time.monotonic() < end
                wire.send(b"A: b\r\n")
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert wire.response().status == 408


def test_a_body_that_does_not_go_on_is_not_waited_for(hasty: Site) -> None:
    with hasty.connect() as wire:
        wire.ask(f"/echo/{hasty.name}", "Content-Length: 10", method="POST")
        wire.send(b"half")
        try:
            assert wire.response().status == 408
        except Cut:
            pass
        hasty.hears("left")


def test_a_request_is_not_idle_while_its_app_works(hasty: Site) -> None:
    with hasty.connect() as wire:
        wire.ask(f"/holds/{hasty.name}")
        hasty.hears("waits")
        assert wire.is_quiet(1.2)
        hasty.release()
        assert wire.response().body == b"released"
