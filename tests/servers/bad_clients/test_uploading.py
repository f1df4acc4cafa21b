"""A client that sends half a body and goes, or more of it than is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.http1_client import Client

from .conftest import Site

Leave = Callable[[Client], None]

LEAVE = {"closes": Client.close, "resets": Client.reset, "half-closes": Client.half_close}
LEAVE_AT_ONCE = {"closes": Client.close, "resets": Client.reset}
LEAVE_EARLY = {"closes": Client.close, "half-closes": Client.half_close}
COMPLETE = ["plain", "thread", "big"]
STREAMS = ["async", "sync", "feed", "events", "quiet", "silent", "file"]
READERS = ["body", "stream", "form", "echo"]

BOUNDARY = b"--frontier\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"
ENOUGH = 16 << 20
FORM = "Content-Type: multipart/form-data; boundary=frontier"
CHUNK = b"2000\r\n" + b"x" * 8192 + b"\r\n"


@pytest.fixture(params=LEAVE)
def leave(request: pytest.FixtureRequest) -> Leave:
    return LEAVE[request.param]


def all_is_well(site: Site, name: str) -> None:
    assert site.settled(name)["ended"] == ["returned"]
    site.nothing_is_logged()
    site.next_client_is_served()


@pytest.mark.parametrize("size", [1000, 300_000])
@pytest.mark.parametrize("kind", READERS)
def test_a_handler_that_reads_half_a_body_is_told_that_there_is_no_more(
    site: Site, name: str, kind: str, leave: Leave, size: int
) -> None:
    with Client(site.port) as client:
        half = BOUNDARY + b"x" * size
        client.ask("POST", f"/{kind}/{name}", FORM, f"Content-Length: {2 * size}")
        site.tell("begun", name)
        if kind == "echo":
            client.echo(half)
        else:
            client.sock.sendall(half)
        leave(client)
        if leave is Client.half_close:
            response = client.read_to_the_end()
            # Some servers answer for themselves that this was no request.
            assert response.status == 400 or not response.complete
    all_is_well(site, name)


@pytest.mark.parametrize("leave", LEAVE_EARLY.values(), ids=LEAVE_EARLY)
@pytest.mark.parametrize("kind", COMPLETE + STREAMS)
def test_half_a_body_that_is_not_read_is_no_trouble(
    site: Site, name: str, kind: str, leave: Leave
) -> None:
    with Client(site.port) as client:
        client.ask("POST", f"/{kind}/{name}", "Content-Length: 1000000", body=b"x" * 1000)
        site.tell("begun", name)
        leave(client)
        if leave is Client.half_close:
            client.read_to_the_end()
    all_is_well(site, name)


@pytest.mark.parametrize("size", [400_000, 1_000_000, 3_000_000])
@pytest.mark.parametrize("kind", ["refusing", "mounted", "file"])
def test_a_reset_in_the_middle_of_an_upload_does_not_hold_an_answer_that_reads_nothing(
    site: Site, name: str, kind: str, size: int
) -> None:
    with Client(site.port) as client:
        client.ask("POST", f"/{kind}/{name}", "Content-Length: 5000000")
        client.send_aside(b"x" * size)
        site.tell("begun", name)
        client.reset()
        site.next_client_is_served()
        site.tell("release", name)
        all_is_well(site, name)


@pytest.mark.parametrize("kind", COMPLETE)
def test_an_unread_flood_is_answered(site: Site, name: str, kind: str) -> None:
    with Client(site.port) as client:
        client.ask("POST", f"/{kind}/{name}", CHUNKED)
        client.send_aside(CHUNK, again=True)
        response = client.read_to_the_end()
        # The server may cut the connection as soon as it has answered, and the client not get it all.
        assert response.status in (0, 200)
    all_is_well(site, name)


@pytest.mark.parametrize("leave", LEAVE_AT_ONCE.values(), ids=LEAVE_AT_ONCE)
@pytest.mark.parametrize("kind", [*STREAMS, "sip"])
def test_a_flood_that_a_stream_does_not_read_to_its_end(
    site: Site, name: str, kind: str, leave: Leave
) -> None:
    with Client(site.port) as client:
        client.ask("POST", f"/{kind}/{name}", CHUNKED)
        client.send_aside(CHUNK, again=True)
        site.tell("begun", name)
        if kind != "silent":
            client.read_some()
        leave(client)
    all_is_well(site, name)


@pytest.mark.parametrize("leave", LEAVE_AT_ONCE.values(), ids=LEAVE_AT_ONCE)
def test_a_flood_that_is_echoed_to_a_client_that_does_not_read(
    site: Site, name: str, leave: Leave
) -> None:
    with Client(site.port, receive_buffer=4096) as client:
        client.ask("POST", f"/echo/{name}", CHUNKED)
        client.send_aside(CHUNK, again=True)
        assert client.read_head().status == 200
        held = site.tell("held", name)
        assert held["produced"] * 8192 < ENOUGH
        site.next_client_is_served()
        leave(client)
    all_is_well(site, name)


@pytest.mark.parametrize("kind", ["body", "form"])
def test_a_flood_beyond_the_limits_is_refused(site: Site, name: str, kind: str) -> None:
    with Client(site.port) as client:
        client.ask("POST", f"/{kind}/{name}", FORM, CHUNKED)
        client.sock.sendall(b"%x\r\n%s\r\n" % (len(BOUNDARY), BOUNDARY))
        client.send_aside(CHUNK, again=True)
        assert client.read_head().status in (0, 413)
    all_is_well(site, name)


@pytest.mark.parametrize("leave", LEAVE_AT_ONCE.values(), ids=LEAVE_AT_ONCE)
def test_a_flood_that_is_read_ends_with_its_client(site: Site, name: str, leave: Leave) -> None:
    with Client(site.port) as client:
        client.ask("POST", f"/stream/{name}", CHUNKED)
        client.send_aside(CHUNK, again=True)
        site.tell("begun", name)
        site.next_client_is_served()
        leave(client)
    all_is_well(site, name)


@pytest.mark.parametrize("leave", LEAVE_AT_ONCE.values(), ids=LEAVE_AT_ONCE)
def test_a_flood_of_requests_whose_answers_are_not_read(
    site: Site, name: str, leave: Leave
) -> None:
    with Client(site.port, receive_buffer=4096) as client:
        padding = "x" * 4000  # so that not too many fit the server's buffer
        request = f"GET /plain/{name} HTTP/1.1\r\nHost: x\r\nPadding: {padding}\r\n\r\n"
        client.send_aside(request.encode(), again=True)
        site.tell("begun", name)
        site.next_client_is_served()
        leave(client)
    assert site.is_in_order()
    assert set(site.tell("over", name)["ended"]) == {"returned"}
    site.nothing_is_logged()
    site.next_client_is_served()
