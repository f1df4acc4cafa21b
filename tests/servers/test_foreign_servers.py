"""The app's life under servers that do not know Kui: hypercorn on both loops, and uvicorn."""

from __future__ import annotations

import signal

import pytest

from tests.support.process import connect, get, read_until

from .conftest import StartServer

APP = "tests.servers.apps:app"


def test_it_serves_and_sigterm_shuts_the_app_down(server: StartServer) -> None:
    running = server(APP)
    assert get(running.url).status_code == 200
    running.stop()
    assert running.log.count("app: started") == running.log.count("app: shut down") == 1
    assert "Traceback" not in running.log


def test_a_start_up_that_fails_is_shown_once_and_ends_the_server(server: StartServer) -> None:
    running = server("tests.servers.apps:fails_to_start()")
    assert running.wait() != 0
    assert running.log.count("LookupError: no database") == 1


def test_a_shutdown_that_fails_is_shown_once(server: StartServer) -> None:
    running = server("tests.servers.apps:fails_to_stop()")
    assert get(running.url).status_code == 200
    running.stop()
    assert running.log.count("LookupError: cannot close") == 1
    assert "app: shut down" in running.log


def test_a_service_that_crashes_stops_the_server(server: StartServer, server_kind: str) -> None:
    running = server(APP)
    assert get(running.url + "/crash").text == "started"
    # hypercorn on trio cancels itself where it is about to raise what the app has told it
    assert (running.wait() == 0) is (server_kind == "hypercorn-trio")
    assert running.log.count("LookupError: the feed is gone") == 1
    assert "app: shut down" in running.log


@pytest.mark.parametrize("server_kind", ["hypercorn-asyncio", "uvicorn"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_app_learns_of_the_end_from_the_servers_signal_handler(
    server: StartServer, signum: signal.Signals
) -> None:
    running = server(APP, graceful_timeout=60)
    with connect(running, "/until_exit") as client:
        running.find("app: waiting")
        running.send_signal(signum)
        assert b"it stops" in read_until(client, b"it stops")
    running.wait()
    assert "app: shut down" in running.log
