"""Over HTTP/2 a client of event streams gets no 503 for the server's own reasons either, under `kui run`."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.conftest import KuiRun
from tests.support.http2_client import Answer, Http2Client
from tests.support.process import ServerProcess

APP = "tests.servers.channels.app:app"
EVENTS = ((b"accept", b"text/event-stream"),)


@pytest.fixture
def start(kui_run: KuiRun) -> Callable[..., ServerProcess]:
    """Start the app with these flags, with channels in memory."""

    def run(*flags: str) -> ServerProcess:
        server = kui_run(APP, *flags, REDIS="")
        server.find_url()
        return server

    return run


def is_sent_away(answer: Answer) -> bool:
    """True if it is an empty event stream, whole, that says when to come back."""
    return (
        answer.complete
        and answer.status == 200
        and answer.headers[b"content-type"].startswith(b"text/event-stream")
        and bytes(answer.body).startswith(b"retry: ")
        and answer.body.endswith(b"\n\n")
        and b"data" not in answer.body
    )


def test_a_request_that_the_exit_cuts_off(start: Callable[..., ServerProcess]) -> None:
    server = start("--graceful-timeout", "0.2")
    with Http2Client(server.port) as client:
        events = client.ask("/never", more=EVENTS)
        other = client.ask("/never")
        server.find("app: waiting", 2)
        server.send_signal()
        assert is_sent_away(client.read_until(events))
        answer = client.read_until(other)
        assert (answer.status, bytes(answer.body)) == (503, b"the server is stopping")
    assert server.wait() == 0


def test_an_open_stream_that_the_exit_ends(start: Callable[..., ServerProcess]) -> None:
    server = start()
    with Http2Client(server.port) as client:
        events = client.ask("/events/news", more=EVENTS)
        client.read_until(events, 1)
        server.send_signal()
        answer = client.read_until(events)
    assert answer.complete and answer.status == 200
    assert bytes(answer.body).rpartition(b"retry: ")[2].strip().isdigit()
    assert server.wait() == 0


@pytest.mark.parametrize("tls", [False, True])
def test_a_connection_too_many(
    start: Callable[..., ServerProcess], certificate: Path, tls: bool
) -> None:
    flags = ("--certfile", str(certificate)) if tls else ()
    server = start("--limit-connections", "1", *flags)
    trusted = ssl.create_default_context(cafile=str(certificate)) if tls else None
    with Http2Client(server.port, trusted) as first:
        first.get("/pid")
        with Http2Client(server.port, trusted) as client:
            assert is_sent_away(client.read_until(client.ask("/events/news", more=EVENTS)))
            client.read_to_the_end()
        with Http2Client(server.port, trusted) as client:
            answer = client.read_until(client.ask("/pid"))
            assert (answer.status, bytes(answer.body)) == (503, b"there are too many connections")
        first.get("/pid")
    assert server.stop() == 0


def test_a_stream_too_many(start: Callable[..., ServerProcess]) -> None:
    server = start()
    with Http2Client(server.port) as client:
        for path in ("/one", "/one/chosen"):
            client.read_until(client.ask(path, more=EVENTS), 1)
        assert is_sent_away(client.read_until(client.ask("/one", more=EVENTS)))
        assert client.read_until(client.ask("/one")).status == 503
        assert client.read_until(client.ask("/one/chosen", more=EVENTS)).status == 429
        assert client.read_until(client.ask("/secret", more=EVENTS)).status == 401
    assert server.stop() == 0
