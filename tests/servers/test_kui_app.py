"""A Kui application under `kui run`: what its lifespan promises, seen from outside."""

from __future__ import annotations

import signal

from tests.support.process import connect, get, read_until

from .conftest import KuiRun

APP = "tests.servers.living:app"


def test_after_a_crash_new_requests_get_503_until_the_process_ends(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--drain-delay", "60")
    url = server.find_url()
    assert get(url + "/crash").text == "started"
    server.find("the app goes down")
    refused = get(url)
    assert (refused.status_code, refused.headers["content-type"]) == (
        503,
        "text/plain; charset=utf-8",
    )
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    with connect(
        server, "/chat", *upgrade, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    ) as socket:
        assert b"HTTP/1.1 503" in read_until(socket, b"\r\n\r\n")
    server.send_signal()
    assert server.wait() == 1
    assert server.log.count("LookupError: the feed is gone") == 1


def test_streams_end_properly_and_services_after_on_shutdown(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--graceful-timeout", "60")
    server.find_url()
    with connect(server, "/events") as events, connect(server, "/stream") as stream:
        assert b"data: 1" in read_until(events, b"data: 1")
        assert b"first" in read_until(stream, b"first")
        server.send_signal(signal.SIGTERM)
        assert read_until(events).endswith(b"0\r\n\r\n")
        assert read_until(stream).endswith(b"0\r\n\r\n")
        assert server.wait() == 0
    steps = [line for line in server.log.splitlines() if line.startswith("app:")]
    assert steps == ["app: opened", "app: up", "app: down", "app: service ends", "app: closed"]
