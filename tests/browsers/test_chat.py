"""The chat of `examples/chat` in real browsers, under `kui run` on both loops."""

from __future__ import annotations

import pytest

from tests.servers.conftest import KuiRun

from .chromium import Window
from .conftest import OpenWindow

pytestmark = pytest.mark.timeout(180)

MEMBERS = "document.getElementById('members').textContent"
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
