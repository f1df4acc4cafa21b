"""`kui run`: what clients and the sender of signals see of it, on trio and on asyncio."""

from __future__ import annotations

import signal
import socket
import struct
import sys
from pathlib import Path

import httpx2
import pytest

from tests.support.process import PATIENCE, ServerProcess, connect, get, read_until

from .conftest import KuiRun, Launch

APP = "tests.servers.apps:app"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0_and_the_app_is_shut_down(
    kui_run: KuiRun, signum: signal.Signals
) -> None:
    server = kui_run(APP)
    assert get(server.find_url()).status_code == 200
    assert server.stop(signum) == 0
    assert server.log.count("app: started") == server.log.count("app: shut down") == 1
    assert "Traceback" not in server.log


def test_uvloop_can_be_had_too(launch: Launch) -> None:
    command = [sys.executable, "-m", "kui", "run", APP, "--bind", "127.0.0.1:0"]
    server = launch([*command, "--backend", "uvloop"])
    assert get(server.find_url()).status_code == 200
    assert server.stop() == 0
    assert "shut down" in server.log


def test_a_request_in_flight_ends_before_the_app_is_shut_down(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--graceful-timeout", "60")
    server.find_url()
    with connect(server, "/until_exit") as client:
        server.find("app: waiting")
        server.send_signal()
        assert b"it stops" in read_until(client, b"it stops")
        assert server.wait() == 0


def test_a_request_that_takes_longer_than_the_graceful_time_is_cancelled(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--graceful-timeout", "0.1")
    server.find_url()
    with connect(server, "/never") as client:
        server.find("app: waiting")
        assert server.stop() == 0
        assert b"HTTP/1.1 200" not in read_until(client)
    assert server.log.index("app: cancelled") < server.log.index("app: shut down")


def test_an_idle_connection_does_not_hold_the_exit_back(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--graceful-timeout", "60")
    server.find_url()
    with (
        socket.create_connection(("127.0.0.1", server.port), PATIENCE),
        connect(server, "/pid") as kept,
    ):
        assert b"200" in kept.recv(100)
        assert server.stop() == 0


@pytest.mark.parametrize("flags", [(), ("--certfile", "{chain}")])
def test_neither_an_endless_stream_nor_a_client_that_stalls_holds_the_exit_back(
    kui_run: KuiRun, certificate: Path, flags: tuple[str, ...]
) -> None:
    flags = tuple(flag.format(chain=certificate) for flag in flags)
    server = kui_run(APP, "--graceful-timeout", "0.1", *flags)
    server.find_url()
    with (
        client_of(server, certificate, bool(flags)) as reading,
        client_of(server, certificate, bool(flags)) as stalled,
    ):
        for client, size in ((reading, 100), (stalled, 1_000_000)):
            request = f"GET /endless?size={size} HTTP/1.1\r\nHost: x\r\n\r\n"
            client.sendall(request.encode())
        server.find("app: waiting", 2)
        assert reading.recv(100)
        assert server.stop() == 0
    assert "shut down" in server.log


def client_of(server: ServerProcess, certificate: Path, tls: bool) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    if not tls:
        return sock
    import ssl

    context = ssl.create_default_context(cafile=str(certificate))
    return context.wrap_socket(sock, server_hostname="localhost")


def test_during_the_drain_delay_it_still_answers_and_the_app_knows(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--drain-delay", "60")
    url = server.find_url()
    assert "'exiting': False" in get(url).text
    with connect(server, "/until_exit") as client:
        server.find("app: waiting")
        server.send_signal()
        assert b"it stops" in read_until(client, b"it stops")
    assert "'exiting': True" in get(url).text
    assert server.stop() == 0, "a second signal ends the delay"


def test_a_second_signal_ends_the_graceful_time(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--graceful-timeout", "60")
    server.find_url()
    with connect(server, "/never"), connect(server, "/until_exit") as told:
        server.find("app: waiting", 2)
        server.send_signal(signal.SIGINT)
        assert b"it stops" in read_until(told, b"it stops")
        assert server.stop(signal.SIGINT) == 0
    assert "shut down" in server.log


def test_a_signal_during_start_up_ends_it(kui_run: KuiRun) -> None:
    server = kui_run("tests.servers.apps:never_starts()")
    server.find("app: starting")
    assert server.stop() == 0
    assert "Listening" not in server.log and "Traceback" not in server.log
    assert "Stopping before the app has started up" in server.log


def test_a_blocked_event_loop_is_ended_when_the_last_time_is_over(
    backend: str, launch: Launch
) -> None:
    code = "import kui.serving.process; kui.serving.process.LAST = 0.1; import sys, kui.cli; sys.exit(kui.cli.main())"
    flags = ["--backend", backend, "--bind", "127.0.0.1:0", "--graceful-timeout", "0"]
    server = launch([sys.executable, "-c", code, "run", APP, *flags])
    server.find_url()
    with connect(server, "/block"):
        server.find("app: waiting")
        assert server.stop() == 1
    assert "not everything has ended in time" in server.log


def test_a_thread_that_never_ends_does_not_hold_the_exit_back(backend: str, launch: Launch) -> None:
    code = "import kui.serving.process; kui.serving.process.LAST = 2.0; import sys, kui.cli; sys.exit(kui.cli.main())"
    flags = ["--backend", backend, "--bind", "127.0.0.1:0", "--graceful-timeout", "0"]
    server = launch([sys.executable, "-c", code, "run", APP, *flags])
    assert get(server.find_url() + "/thread").text == "started"
    assert server.stop() == 1
    assert "app: shut down" in server.log


def test_websockets_are_pinged(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--websocket-ping-interval", "0.01")
    server.find_url()
    key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.sendall(f"GET /echo HTTP/1.1\r\nHost: x\r\n{key}\r\n".encode())
        empty_ping = b"\x89\x00"
        assert empty_ping in read_until(client, empty_ping)


def test_a_factory_makes_the_app(kui_run: KuiRun) -> None:
    server = kui_run("tests.servers.apps:create_app()")
    assert get(server.find_url()).status_code == 200
    assert server.log.count("app: created") == 1


def test_the_current_directory_can_be_imported_from(kui_run: KuiRun, tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text("from tests.servers.apps import app")
    server = kui_run("here", cwd=str(tmp_path))
    assert get(server.find_url()).status_code == 200


def test_the_root_path_is_in_the_scope(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--root-path", "/shop/")
    assert "'root_path': '/shop'" in get(server.find_url()).text


def test_several_addresses_and_a_unix_socket(kui_run: KuiRun, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    binds = ("127.0.0.1:0", "127.0.0.1:0", f"unix:{path}")
    server = kui_run(APP, *(word for bind in binds for word in ("--bind", bind)))
    urls = [match[1] for match in server.find(r"Listening on (\S+)", 3)]
    assert urls[0] != urls[1] and urls[2] == f"unix:{path}"
    for url in urls[:2]:
        assert get(url).status_code == 200
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), timeout=PATIENCE) as client:
        assert "'client': None" in client.get("http://x/").text
    assert server.stop() == 0
    assert not path.exists()


def test_a_unix_socket_that_was_left_behind_is_replaced(kui_run: KuiRun, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = kui_run(APP, "--bind", f"unix:{path}")
    server.find_url()
    assert server.stop() == 0


@pytest.mark.parametrize("trusted", ["", "127.0.0.0/8"])
def test_forwarded_headers_count_from_named_proxies_only(kui_run: KuiRun, trusted: str) -> None:
    server = kui_run(APP, "--forwarded-allow-ips", trusted, "--access-log")
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    text = get(server.find_url(), headers=headers).text
    assert ("('192.0.2.7', 0)" in text) is ("'https'" in text) is bool(trusted)
    assert server.stop() == 0
    assert ('192.0.2.7 "GET / HTTP/1.1" 200' in server.log) is bool(trusted)


def test_the_access_log_has_a_line_for_each_request(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--access-log")
    client = connect(server, '/pid?a%0Ab"') if server.find_url() else None
    assert client is not None and client.recv(1000)
    client.close()
    assert server.stop() == 0
    (line,) = [line for line in server.log.splitlines() if "kui.access" in line]
    assert '127.0.0.1 "GET /pid?a%0Ab%22 HTTP/1.1" 200 ' in line


def test_nothing_is_logged_for_a_request_otherwise(kui_run: KuiRun) -> None:
    server = kui_run(APP)
    get(server.find_url())
    assert server.stop() == 0
    assert "GET" not in server.log


def test_an_app_without_a_lifespan_is_served(kui_run: KuiRun) -> None:
    server = kui_run("tests.servers.apps:without_lifespan")
    assert get(server.find_url()).text == "no lifespan"
    assert server.stop() == 0


def test_what_a_lifespan_keeps_in_its_state_is_in_every_request(kui_run: KuiRun) -> None:
    server = kui_run("tests.servers.apps:with_state")
    assert get(server.find_url()).text == "{'database': 'open'}"
    assert server.stop() == 0
    assert "app: exiting" in server.log


def test_a_service_that_crashes_ends_the_process_with_status_1(kui_run: KuiRun) -> None:
    server = kui_run(APP)
    assert get(server.find_url() + "/crash").text == "started"
    assert server.wait() == 1
    assert server.log.count("LookupError: the feed is gone") == 1
    assert "shut down" in server.log


def test_so_does_the_lifespan_of_any_other_app(kui_run: KuiRun) -> None:
    server = kui_run("tests.servers.apps:lifespan_crashes")
    assert server.wait() == 1
    assert server.log.count("LookupError: the lifespan is gone") == 1


def test_a_start_up_that_fails_is_shown_once_and_ends_with_status_1(kui_run: KuiRun) -> None:
    server = kui_run("tests.servers.apps:fails_to_start()")
    assert server.wait() == 1
    assert server.log.count("Traceback") == 1
    assert server.log.count("LookupError: no database") == 1
    assert "shut down" not in server.log


def test_a_shutdown_that_fails_is_shown_once_and_ends_with_status_1(kui_run: KuiRun) -> None:
    server = kui_run("tests.servers.apps:fails_to_stop()")
    server.find_url()
    assert server.stop() == 1
    assert server.log.count("Traceback") == 1
    assert server.log.count("LookupError: cannot close") == 1
    assert "app: shut down" in server.log


def test_a_busy_port_is_one_line(kui_run: KuiRun) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        bind = f"127.0.0.1:{busy.getsockname()[1]}"
        server = kui_run(APP, "--bind", bind)
        assert server.wait() == 1
    assert server.log == f"kui: cannot listen on {bind}: Address already in use\n"


@pytest.mark.parametrize("tls", [False, True])
def test_the_socket_of_a_client_that_has_gone_is_closed_at_once(
    kui_run: KuiRun, certificate: Path, tls: bool
) -> None:
    flags = ("--certfile", str(certificate)) if tls else ()
    server = kui_run(APP, "--keep-alive-timeout", "3600", *flags)
    server.find_url()
    before = server.descriptors("socket:")
    for request in (b"", b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n"):
        with client_of(server, certificate, tls) as client:
            client.sendall(request)
            assert not request or b"200" in client.recv(100)
            server.wait_until(lambda: server.descriptors("socket:") > before)
    server.wait_until(lambda: server.descriptors("socket:") == before)


@pytest.mark.parametrize("path", ["/endless/async/work", "/endless/sync/work"])
def test_a_client_that_resets_an_endless_answer_is_not_worth_a_line(
    kui_run: KuiRun, path: str
) -> None:
    server = kui_run("tests.servers.flowing:app")
    server.find_url()
    client = connect(server, path)
    assert b"xxx" in read_until(client, b"xxx")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    server.find("app: work ended")
    assert server.stop() == 0
    lines = server.log.splitlines()
    assert [line for line in lines if "Listening" not in line] == ["app: work ended"]
