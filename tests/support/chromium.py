"""Debian's chromium, headless, driven over the DevTools protocol: one browser is one window.

Tests take it from the fixture `open_window` of `conftest.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

from .process import ServerProcess
from .websocket_client import Client

__all__ = ["Window", "find_chromium"]

PATIENCE = 60.0
"""Seconds that a browser may take for anything on a busy machine."""

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-port=0",
)
WAIT = """new Promise((resolve, reject) => {
  const end = Date.now() + %d;
  (function look() {
    const value = (() => %s)();
    if (value) resolve(value);
    else if (Date.now() > end) reject("never true");
    else setTimeout(look, 20);
  })();
})"""


def find_chromium() -> str | None:
    """Where chromium is; None where it is not installed."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path is not None:
            return path
    return None


class Window:
    """A browser of its own, with one page.

    ::

        with Window(chromium, "http://127.0.0.1:8000/") as window:
            window.wait_for("document.title === 'Chat'")
    """

    def __init__(self, chromium: str, url: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="kui-", ignore_cleanup_errors=True)
        profile = f"--user-data-dir={self._profile.name}"
        self._process = ServerProcess([chromium, *FLAGS, profile, "about:blank"])
        self._devtools: Client | None = None
        self._calls = 0
        self._session: str | None = None
        try:
            (found,) = self._process.find(
                r"DevTools listening on ws://[^:]+:(\d+)(/\S+)", seconds=PATIENCE
            )
            self._devtools = Client(int(found[1]), found[2])
            self._devtools.sock.settimeout(PATIENCE)
            targets = self._call("Target.getTargets")["targetInfos"]
            (page,) = [each["targetId"] for each in targets if each["type"] == "page"]
            attached = self._call("Target.attachToTarget", targetId=page, flatten=True)
            self._session = attached["sessionId"]
            self._call("Page.enable")
            self.open(url)
        except BaseException:
            self.kill()
            raise

    def _call(self, method: str, **params: object) -> Any:
        """Call a method of the DevTools; its result."""
        assert self._devtools is not None
        self._calls += 1
        message: dict[str, object] = {"id": self._calls, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._devtools.send(json.dumps(message))
        answer = self._until("id", self._calls)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _until(self, key: str, value: object) -> Any:
        assert self._devtools is not None
        while True:
            message = json.loads(self._devtools.receive())
            if message.get(key) == value:
                return message

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is loaded."""
        result = self._call("Page.navigate", url=url)
        assert "errorText" not in result, result["errorText"]
        self._until("method", "Page.loadEventFired")

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Wait until a JavaScript expression is true; its value."""
        return self.evaluate(WAIT % (1000 * (PATIENCE - 5), script))

    def type(self, selector: str, text: str) -> None:
        """Type a text into an element, and press Enter, as a person does."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self._call("Input.insertText", text=text)
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self._call("Input.dispatchKeyEvent", type="keyDown", text="\r", **enter)
        self._call("Input.dispatchKeyEvent", type="keyUp", **enter)

    def look(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show the page in a window of this size, in CSS pixels, in the light or the dark theme."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[theme])

    def screenshot(self, file: Path, *, whole: bool = True) -> None:
        """Write a PNG of the page, the part below the window's edge included if `whole`."""
        answer = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(b64decode(answer["data"]))

    def kill(self) -> None:
        """Kill the browser, all of its processes at once. It says no goodbye."""
        if self._devtools is not None:
            self._devtools.sock.close()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.end()
        self._profile.cleanup()

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *args: object) -> None:
        self.kill()
