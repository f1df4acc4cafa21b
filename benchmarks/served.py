"""The app that is served over a socket, as `benchmarks.served:app`: the one that `APP` names."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

APP = "BENCHMARKS_APP"
"""The environment variable: a key of APPS."""


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The bare function for plain text, which knows of the lifespan, too."""
    if scope["type"] == "http":
        from benchmarks.frameworks.bare_ import plain

        await plain(scope, receive, send)
        return
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


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
