"""`kui run --debug`: for the developer, on this machine alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from kui.serving.binding import CannotServe, bound
from kui.serving.debug import check_debug
from kui.serving.runner import Options
from tests.support.process import get

from .conftest import KuiRun

APP = "tests.servers.logged:app"


def test_it_says_so_and_shows_the_traceback(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--debug")
    response = get(server.find_url() + "/fail/ann")
    assert response.status_code == 500
    assert "LookupError: no such order" in response.text
    assert server.stop() == 0
    assert server.log.count("WARNING kui.server: Debugging:") == 1


def test_without_it_nothing_is_shown(kui_run: KuiRun) -> None:
    server = kui_run(APP)
    assert "LookupError" not in get(server.find_url() + "/fail/ann").text
    assert server.stop() == 0
    assert "Debugging" not in server.log


def test_an_address_that_others_can_reach_is_refused(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--debug", "--bind", "0.0.0.0:0")
    assert server.wait() == 1
    assert (
        "kui: debug is for this machine alone, and others can reach http://0.0.0.0:" in server.log
    )


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "unix"])
def test_so_is_one_that_a_proxy_can_offer_to_others(bind: str, tmp_path: Path) -> None:
    bind = f"unix:{tmp_path / 'socket'}" if bind == "unix" else bind
    with bound([bind]) as sockets, pytest.raises(CannotServe, match="this machine alone"):
        check_debug(sockets)


def test_proxies_and_debugging_exclude_one_another() -> None:
    with pytest.raises(CannotServe, match="proxy"):
        Options(debug=True, forwarded_allow_ips="127.0.0.1")
