"""What an app hears of its client, and what it cannot do to others: ASGI's `receive` and `send`."""

from __future__ import annotations

import pytest

from tests.support.wire import push, request

from .apps import PUSHES
from .servers import Site


@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
def test_a_client_that_leaves_is_a_disconnect(site: Site, leave: str) -> None:
    wire = site.connect()
    wire.ask(f"/waits/{site.name}")
    site.hears("waits")
    {"close": wire.sock.close, "reset": wire.reset, "half_close": wire.half_close}[leave]()
    site.hears("left")
    wire.sock.close()


def test_a_client_that_has_said_all_it_has_to_say_gets_its_answer(site: Site) -> None:
    with site.connect() as wire:
        wire.send(request("/echo/x", method="POST", body=b"last words"))
        wire.half_close()
        assert wire.response().body == b"last words"
        assert wire.until_closed() == b""


def test_half_a_client_gets_the_answer_of_an_app_that_heard_it_leave(site: Site) -> None:
    with site.connect() as wire:
        wire.ask(f"/leaving/{site.name}")
        site.hears("waits")
        wire.half_close()
        site.hears("left")
        assert wire.response().body == b"an answer for half a client"


def test_pipelined_requests_of_half_a_client_are_all_answered(site: Site) -> None:
    with site.connect() as wire:
        wire.send(b"".join(request("/echo/x", method="POST", body=b"%d" % n) for n in range(5)))
        wire.half_close()
        assert [wire.response().body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
def test_a_body_that_breaks_off_is_a_disconnect_and_no_end(site: Site, leave: str) -> None:
    wire = site.connect()
    wire.ask(f"/echo/{site.name}", "Content-Length: 10", method="POST")
    wire.send(b"half")
    site.hears("waits")
    {"close": wire.sock.close, "reset": wire.reset, "half_close": wire.half_close}[leave]()
    site.hears("left")
    wire.sock.close()


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_a_stream_ends_it(site: Site, leave: str) -> None:
    wire = site.connect()
    wire.ask(f"/streams/{site.name}")
    wire.until(b"tick")
    wire.reset() if leave == "reset" else wire.sock.close()
    site.hears("left")


def test_sending_to_a_client_that_has_reset_is_an_error(site: Site) -> None:
    """ASGI HTTP 2.4: `send` raises an OSError."""
    wire = site.connect()
    wire.ask(f"/pushes/{site.name}")
    wire.until(b"pppp")
    wire.reset()
    site.hears("cannot send")


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_behind_an_unread_body_is_heard_of(site: Site, leave: str) -> None:
    """A queue full of body does not hide the end, once it is read."""
    wire = site.connect()
    wire.ask(f"/leaving/{site.name}", "Content-Length: 2000000", method="POST")
    push(wire, b"u" * 50_000)
    wire.reset() if leave == "reset" else wire.sock.close()
    site.hears("left")


def test_a_client_that_takes_nothing_holds_its_app_back(site: Site) -> None:
    with site.connect(receive_buffer=4096) as wire:
        wire.ask(f"/pushes/{site.name}")
        site.hears("waits")
        before = -1
        while len(site.heard(r"sent \d+")) != before:  # what the kernel takes
            before = len(site.heard(r"sent \d+"))
            assert before < PUSHES // 2
            site.is_well()


def test_an_app_that_takes_nothing_holds_its_client_back(site: Site) -> None:
    """Of 16 MB most stay with the client, and all of it arrives once the app reads."""
    size = 16_000_000
    with site.connect(send_buffer=65536) as wire:
        wire.ask(f"/reads_later/{site.name}", f"Content-Length: {size}", method="POST")
        site.hears("waits")
        wire.sock.settimeout(0.2)
        sent = 0
        part = b"u" * 65536
        try:
            while sent < size:
                sent += wire.sock.send(part[: size - sent])
        except TimeoutError:
            pass
        assert sent < 12_000_000
        site.release()
        wire.sock.settimeout(site.patience)
        while sent < size:
            sent += wire.sock.send(part[: size - sent])
        assert wire.response().body == str(size).encode()


def test_of_several_receivers_one_gets_the_body_and_all_hear_of_the_end(site: Site) -> None:
    with site.connect() as wire:
        wire.ask(f"/three_receivers/{site.name}", "Content-Length: 4", method="POST")
        site.hears("waits")
        wire.send(b"body")
        site.is_well()
        wire.half_close()
        site.hears("1 bodies, 3 ends")


def test_a_receive_that_is_cancelled_has_taken_nothing(site: Site) -> None:
    body = bytes(index % 251 for index in range(300_000))
    with site.connect() as wire:
        wire.ask("/cancelled_receives/x", f"Content-Length: {len(body)}", method="POST")
        for begin in range(0, len(body), 3001):
            wire.send(body[begin : begin + 3001])
            if begin % 7 == 0:
                wire.is_quiet(0.002)
        assert wire.response().body == body


def test_receive_and_send_end_with_their_request(site: Site) -> None:
    """An app that keeps them gets nothing of the next request and sends nothing into its answer."""
    with site.connect() as wire:
        assert wire.get(f"/keeps/{site.name}").body == b"kept"
        wire.ask(f"/reuses/{site.name}", "Content-Length: 4", method="POST")
        wire.send(b"body")
        response = wire.response()
        assert response.body == b"own body"
        assert response.header("x-stray") is None
        site.hears("OSError,OSError,http.disconnect")
        assert wire.get("/early/x").body == b"early"


# Expect: 100-continue (RFC 9110, 10.1.1).

EXPECT = ("Expect: 100-continue", "Content-Length: 4")


def test_a_client_that_waits_for_100_gets_it_when_the_app_reads(site: Site) -> None:
    with site.connect() as wire:
        wire.ask(f"/reads_later/{site.name}", *EXPECT, method="POST")
        site.hears("waits")
        assert wire.is_quiet()
        site.release()
        assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        wire.send(b"body")
        response = wire.response()
        assert (response.body, response.interim) == (b"4", [])
        assert wire.get("/early/x").body == b"early"


def test_a_client_that_is_answered_at_once_gets_no_100(site: Site) -> None:
    with site.connect() as wire:
        wire.ask("/early/x?status=413", *EXPECT, method="POST")
        response = wire.response()
        assert (response.status, response.interim) == (413, [])
        # Whether the four bytes still come is open: what follows cannot be told from them.
        assert response.closes
        assert wire.until_closed() == b""


def test_a_client_that_did_not_wait_for_100_need_not_get_it(site: Site) -> None:
    with site.connect() as wire:
        wire.ask("/echo/x", *EXPECT, method="POST")
        wire.send(b"body")
        assert wire.response().body == b"body"


def test_an_unknown_expectation_is_ignored_or_refused(site: Site) -> None:
    with site.connect() as wire:
        wire.ask("/echo/x", "Expect: tea", method="POST", body=b"body")
        assert wire.response().status in (200, 417)
