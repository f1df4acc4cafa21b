"""A WebSocket client that others have written, against an app that does what it likes; and pings of `kui run`."""

from __future__ import annotations

import httpx2
import pytest
from httpx2.websockets import WebSocketDisconnect, WebSocketUpgradeError

from tests.servers.conftest import KuiRun
from tests.support.process import PATIENCE
from tests.support.websocket_client import Client

from .conftest import Site


def test_a_client_library_talks_to_every_server(site: Site) -> None:
    with httpx2.Client(timeout=PATIENCE) as client:
        url = f"ws://127.0.0.1:{site.port}"
        with client.websocket(f"{url}/echo", max_message_size_bytes=1_000_000) as ws:
            ws.send_text("hello")
            assert ws.receive_text() == "hello"
            ws.send_bytes(b"x" * 100_000)
            assert ws.receive_bytes() == b"x" * 100_000
        with client.websocket(f"{url}/json/text") as ws:
            ws.send_json([1])
            assert ws.receive_json() == {"you": [1]}
        with client.websocket(f"{url}/subprotocol", subprotocols=["v2", "v1"]) as ws:
            assert ws.subprotocol == "v1"
            with pytest.raises(WebSocketDisconnect) as gone:
                ws.receive_text()
            assert gone.value.code == 1000
        with pytest.raises(WebSocketUpgradeError) as denied:
            with client.websocket(f"{url}/deny/exception"):
                pass
        assert denied.value.response.status_code == 401


def test_kui_run_sends_pings_where_it_is_told_to(kui_run: KuiRun) -> None:
    process = kui_run("tests.servers.websockets.site:app", "--websocket-ping-interval", "0.1")
    process.find_url()
    with Client(process.port, "/deaf/60") as client:
        while client.pings < 3:
            client.read()


def test_kui_run_tells_the_close_code_behind_its_access_log_too(kui_run: KuiRun) -> None:
    process = kui_run("tests.servers.websockets.site:app", "--access-log")
    process.find_url()
    with Client(process.port, "/echo") as client:
        client.close(4000, "bye")
        client.until_closed()
    assert Site(process).ending("/echo") == "disconnect 4000 bye"
