"""The page of an API in a real browser, under `kui run` on both loops."""

from __future__ import annotations

import os
from pathlib import Path

import httpx2
import pytest

from tests.servers.conftest import KuiRun
from tests.support.chromium import Window

from .conftest import OpenWindow

pytestmark = pytest.mark.timeout(180)


def answer_of(operation: str) -> str:
    return f"document.querySelector('#{operation} .answer').textContent"


def open_operation(window: Window, operation: str) -> None:
    window.wait_for(f"document.querySelector('#{operation}')")
    window.evaluate(f"document.querySelector('#{operation} > summary').click()")
    window.wait_for(f"document.querySelector('#{operation} form')")


def fill(window: Window, operation: str, label: str, value: str) -> None:
    window.evaluate(
        f"[...document.querySelectorAll('#{operation} label')].find(one =>"
        f" one.textContent.startsWith({label!r})).querySelector('input').value = {value!r}"
    )


def send(window: Window, operation: str) -> None:
    window.evaluate(f"document.querySelector('#{operation} button[type=submit]').click()")


def stop(window: Window, operation: str) -> None:
    window.evaluate(f"document.querySelector('#{operation} .stop').click()")


def test_an_operation_is_read_tried_and_refused(kui_run: KuiRun, open_window: OpenWindow) -> None:
    window = open_window(kui_run("tests.openapi.shop:app").find_url() + "/docs")
    open_operation(window, "read_item")
    assert "It has a price." in window.evaluate("document.querySelector('#read_item').textContent")
    fill(window, "read_item", "id", "1")
    send(window, "read_item")
    window.wait_for(f"{answer_of('read_item')}.includes('tea')")
    open_operation(window, "create")
    window.evaluate("document.querySelector('#create textarea').value = '{\"id\": -1}'")
    send(window, "create")
    window.wait_for(f"{answer_of('create')}.includes('422')")
    window.evaluate(
        "[...document.querySelectorAll('#create button')].find(one => one.textContent === 'curl').click()"
    )
    assert "curl -N -X POST" in window.evaluate("document.querySelector('#create').textContent")


def test_a_login_is_kept_in_memory(kui_run: KuiRun, open_window: OpenWindow) -> None:
    window = open_window(kui_run("tests.openapi.shop:app").find_url() + "/docs")
    open_operation(window, "me")
    send(window, "me")
    window.wait_for(f"{answer_of('me')}.includes('401')")
    window.evaluate("document.getElementById('credentials').click()")
    window.evaluate(
        "(() => { const [name, password] = document.querySelectorAll('#schemes div:has(button) input');"
        " name.value = 'ada'; password.value = 'lovelace';"
        " document.querySelector('#schemes button').click(); })()"
    )
    window.wait_for("document.getElementById('schemes').textContent.includes('Logged in.')")
    send(window, "me")
    window.wait_for(f"{answer_of('me')}.includes('ada')")
    assert window.evaluate("localStorage.length + sessionStorage.length") == 0


def test_a_file_is_uploaded(kui_run: KuiRun, open_window: OpenWindow) -> None:
    window = open_window(kui_run("tests.openapi.shop:app").find_url() + "/docs")
    open_operation(window, "photos")
    fill(window, "photos", "title", "a cat")
    window.evaluate(
        "(() => { const transfer = new DataTransfer(); transfer.items.add(new File(['12345'], 'cat.png'));"
        " document.querySelector('#photos input[type=file]').files = transfer.files; })()"
    )
    send(window, "photos")
    window.wait_for(f"{answer_of('photos')}.includes('\"size\": 5')")


@pytest.mark.parametrize(("operation", "piece"), [("ticks", '{"count":2}'), ("lines", "line 2")])
def test_a_long_answer_is_shown_as_it_arrives_and_stopped_on_the_server(
    kui_run: KuiRun, open_window: OpenWindow, operation: str, piece: str
) -> None:
    url = kui_run("tests.openapi.shop:app").find_url()
    window = open_window(f"{url}/docs")
    open_operation(window, operation)
    send(window, operation)
    window.wait_for(f"{answer_of(operation)}.includes({piece!r})")
    assert httpx2.get(f"{url}/cancelled").json() == []
    stop(window, operation)
    window.wait_for(f"{answer_of(operation)}.includes('Stopped')")
    window.evaluate(
        "(async () => { while (!(await (await fetch('/cancelled')).json()).length); })()"
    )
    assert httpx2.get(f"{url}/cancelled").json() == [operation]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_the_page_fits(
    kui_run: KuiRun, open_window: OpenWindow, tmp_path: Path, backend: str, width: int, dark: bool
) -> None:
    """With KUI_SCREENSHOTS set to a directory, the pictures are left there to be looked at."""
    window = open_window(kui_run("tests.openapi.shop:app").find_url() + "/docs")
    window.look(width=width, dark=dark)
    open_operation(window, "create")
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    folder = Path(os.environ.get("KUI_SCREENSHOTS", tmp_path))
    window.screenshot(folder / f"api-{backend}-{width}-{'dark' if dark else 'light'}.png")
