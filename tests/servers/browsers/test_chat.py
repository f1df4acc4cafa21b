"""The chat of `examples/chat` in real browsers, under `kui run` on both loops."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.servers.conftest import KuiRun
from tests.support.chromium import Window
from tests.support.redis_server import RedisServer, needs_redis

from .conftest import OpenWindow

pytestmark = pytest.mark.timeout(180)

MEMBERS = "document.getElementById('members').textContent"
CONNECTED = "document.getElementById('state').textContent.startsWith('connected')"
MESSAGES = "[...document.querySelectorAll('#messages li')].map(each => each.textContent)"


def hears(window: Window, author: str, text: str) -> None:
    window.wait_for(f"{MESSAGES}.some(each => each.endsWith({author + ': ' + text!r}))")


def sees(window: Window, *names: str) -> None:
    window.wait_for(f"{MEMBERS} === {', '.join(names)!r}")


def test_two_windows_talk_and_one_that_is_killed_disappears(
    kui_run: KuiRun, open_window: OpenWindow
) -> None:
    url = kui_run("examples.chat:app").find_url()
    ann = open_window(f"{url}/?room=garden&name=ann")
    sees(ann, "ann")
    ann.type("#text", "anybody here?")
    hears(ann, "ann", "anybody here?")

    bob = open_window(f"{url}/?room=garden&name=bob")
    sees(bob, "ann", "bob")
    sees(ann, "ann", "bob")
    hears(bob, "ann", "anybody here?")

    bob.type("#text", "hello <b>ann</b>")
    hears(ann, "bob", "hello <b>ann</b>")
    hears(bob, "bob", "hello <b>ann</b>")
    ann.type("#text", "hello bob")
    hears(bob, "ann", "hello bob")

    bob.kill()
    sees(ann, "ann")
    ann.type("#text", "gone?")
    hears(ann, "ann", "gone?")


def test_windows_at_two_workers_talk_while_workers_are_killed(
    kui_run: KuiRun, open_window: OpenWindow, tmp_path: Path
) -> None:
    if reason := needs_redis():
        pytest.skip(reason)
    with RedisServer(tmp_path) as redis:
        server = kui_run("examples.chat:app", "--workers", "2", REDIS_URL=redis.url)
        url = server.find_url()
        server.find(r"Listening on", 2)
        ann = open_window(f"{url}/?room=garden&name=ann")
        bob = open_window(f"{url}/?room=garden&name=bob")
        sees(ann, "ann", "bob")
        sees(bob, "ann", "bob")
        for number in range(2):
            ann.type("#text", f"before {number}")
            hears(bob, "ann", f"before {number}")
            victim = server.find(r" (\d+) INFO kui.server: Listening", number + 2)[-1][1]
            os.kill(int(victim), signal.SIGKILL)
            server.find(r"Listening on", number + 3)
            ann.wait_for(CONNECTED)
            bob.wait_for(CONNECTED)
            bob.type("#text", f"after {number}")
            hears(ann, "bob", f"after {number}")
            hears(bob, "bob", f"after {number}")
        expected = [f"{who} {n}" for n in range(2) for who in ("ann: before", "bob: after")]
        for window in (ann, bob):
            window.wait_for(f"{MESSAGES}.length === {len(expected)}")
            for place, text in enumerate(expected):
                window.wait_for(f"{MESSAGES}[{place}].endsWith({text!r})")
        assert server.stop() == 0
