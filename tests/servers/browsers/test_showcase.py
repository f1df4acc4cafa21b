"""The showcase in a real browser, under `kui run` on both loops."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.servers.conftest import KuiRun

from .conftest import OpenWindow

pytestmark = pytest.mark.timeout(180)

COUNT = "document.getElementById('count').textContent"
ENDED = "document.getElementById('ended').textContent"


def text(name: str) -> str:
    return f"document.getElementById({name!r}).textContent"


def click(selector: str) -> str:
    return f"document.querySelector({selector!r}).click()"


def test_the_list_shrinks_when_a_second_tab_is_closed(
    kui_run: KuiRun, open_window: OpenWindow
) -> None:
    url = kui_run("examples.showcase:app").find_url()
    window = open_window(url)
    window.wait_for(f"{COUNT} === '1'")
    second = open_window(url)
    window.wait_for(f"{COUNT} === '2'")
    second.kill()
    window.wait_for(f"{COUNT} === '1' && {ENDED}.includes('cancelled')")


def test_everything_on_the_page_works_in_two_tabs_at_once(
    kui_run: KuiRun, open_window: OpenWindow, backend: str
) -> None:
    url = kui_run("examples.showcase:app").find_url()
    windows = [open_window(url), open_window(url)]
    for window in windows:
        window.wait_for(f"{text('badge')}.startsWith({backend!r})")
        window.wait_for(f"{text('latest')}.includes('late')")
        window.evaluate(
            f"document.getElementById('below').value = '5000000'; {click('#compute button')}"
        )
        window.evaluate(click("#sample"))
        window.evaluate("document.getElementById('name').value = 'ann'")
        window.evaluate(click("#join button"))
    for window in windows:
        window.evaluate(click("#ask button"))
        window.wait_for(f"{text('answer')}.length > 20 && ({click('#stop')}, true)")
        window.wait_for(f"{text('answer')}.includes('stopped')")
        window.wait_for(f"{text('upload-result')}.includes('sha256')")
        window.wait_for(f"{text('members')} === 'There: ann, ann'")
        window.evaluate(click("#compute-stop"))
        window.wait_for(f"{text('compute-result')}.includes('Cancelled')")
        window.wait_for(f"!{text('running')}.includes('computation · primes')")
    window.type("#text", "hello <i>you</i>")
    windows[0].wait_for(f"{text('messages')} === 'ann hello <i>you</i>'")
    window.evaluate(click("#cut"))
    window.wait_for(f"{text('resumed')}.includes('caught up')")
    window.evaluate(click("#download"))
    window.wait_for(f"{text('download-result')}.includes('Whole')")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_the_page_fits_both_widths_in_both_themes(
    kui_run: KuiRun, open_window: OpenWindow, tmp_path: Path, backend: str, width: int, dark: bool
) -> None:
    """With KUI_SCREENSHOTS set to a directory, the pictures are left there to be looked at."""
    window = open_window(kui_run("examples.showcase:app").find_url())
    window.look(width=width, dark=dark)
    window.evaluate(click("#ask button"))
    window.evaluate(click("#compute button"))
    window.wait_for(f"Number({COUNT}) > 2 && {text('answer')}.length > 200")
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    ground = window.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 22, 26)") is dark
    folder = Path(os.environ.get("KUI_SCREENSHOTS", tmp_path))
    picture = folder / f"showcase-{backend}-{width}-{'dark' if dark else 'light'}.png"
    window.screenshot(picture)
    assert picture.stat().st_size > 10_000
