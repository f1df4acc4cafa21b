"""A browser's own `EventSource`, whose connection is lost half-way, under `kui run` on both loops."""

from __future__ import annotations

import httpx2
import pytest

from tests.servers.conftest import KuiRun
from tests.support.chromium import Window

from .conftest import OpenWindow
from .events import COUNT, NAMES, make_event
from .wire import Wire

pytestmark = pytest.mark.timeout(180)

APP = "tests.servers.browsers.events:app"
LOST = 41
"""How many events the page has heard when it loses its connection."""


def heard(number: int) -> list[str]:
    """What the page says of an event: its lines end with LF, all of them are there."""
    text = make_event(number)["data"].replace("\r\n", "\n")
    return [str(number), NAMES[number % len(NAMES)], text]


def hears_the_rest(window: Window) -> None:
    """All events, in order, none twice, although the connection was lost after the 41st."""
    window.wait_for(f"heard.length >= {COUNT}")
    assert window.evaluate("heard") == [heard(number) for number in range(1, COUNT + 1)]
    assert window.evaluate("lost") == [[LOST, 0]], "once, and it was connecting again"


def test_it_misses_no_event_when_the_wire_is_cut_within_one(
    kui_run: KuiRun, open_window: OpenWindow
) -> None:
    server = kui_run(APP)
    server.find_url()
    with Wire(server.port, f"data: event {LOST + 1}\n".encode()) as wire:
        window = open_window(f"{wire.url}/")
        window.wait_for(f"heard.length == {LOST}")
        wire.cut()
        hears_the_rest(window)
    resumed = [match[1] for match in server.find(r"resumes after (\S+)", 2)]
    assert resumed == ["None", str(LOST)]
    assert "Traceback" not in server.log


def test_it_misses_no_event_when_the_source_fails_between_two(
    kui_run: KuiRun, open_window: OpenWindow
) -> None:
    server = kui_run(APP)
    window = open_window(f"{server.find_url()}/?fail_after={LOST}")
    window.wait_for(f"heard.length == {LOST}")
    assert httpx2.post(f"{server.url}/fail").status_code == 200
    hears_the_rest(window)
    resumed = [match[1] for match in server.find(r"resumes after (\S+)", 2)]
    assert resumed == ["None", str(LOST)]
    assert server.log.count("LookupError: the source of the events is gone") == 1
