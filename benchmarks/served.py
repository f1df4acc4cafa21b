"""The app that is served over a socket, as `benchmarks.served:app`: the one that `APP` names."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

APP = "BENCHMARKS_APP"
"""The environment variable: a key of APPS."""
BARE = {
    "/plain": "plain",
    "/json": "json-in-1k",
    "/files/100k.bin": "file-100k",
    "/stream/100": "stream-100",
    "/echo": "websocket",
}
"""Which case is asked for by which path."""


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The bare functions, by the path; there is no other routing. It knows of the lifespan, too."""
    if scope["type"] != "lifespan":
        await _bare_of(scope["path"])(scope, receive, send)
        return
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


@cache
def _bare_of(path: str) -> Any:
    from benchmarks.frameworks.bare_ import APPS as functions

    return functions[BARE[path]]


def site(framework: str) -> Any:
    return import_module(f"benchmarks.frameworks.{framework}_").build("main")


def cancelling() -> Any:
    """Kui, whose handler is cancelled when the client leaves."""
    from benchmarks.frameworks.kui_ import plain
    from kui.asgi import HttpRoute, Kui, cancel_on_disconnect

    return Kui(routes=[HttpRoute("/plain", cancel_on_disconnect(plain))])


APPS: dict[str, Callable[[], Any]] = {
    "bare": lambda: bare,
    "starlette": lambda: site("starlette"),
    "kui": lambda: site("kui"),
    "cancelling": cancelling,
}
app = APPS[os.environ.get(APP, "bare")]()
