"""Kui: a web framework with structured concurrency, for asyncio and trio.

It has the names of `kui.asgi`, and `run` and `serve`. Each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asgi import *  # noqa: F403 - `kui` has all names of `kui.asgi`
    from .serving.process import run as run
    from .serving.server import serve as serve

__version__ = "0.1.0"

_SERVING = {"run": "kui.serving.process", "serve": "kui.serving.server"}


def __getattr__(name: str) -> Any:
    if name in _SERVING:
        return getattr(import_module(_SERVING[name]), name)
    if not name.startswith("_"):
        asgi = import_module("kui.asgi")
        if name in asgi.__all__:
            return getattr(asgi, name)
    raise AttributeError(f"module 'kui' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SERVING, *import_module("kui.asgi").__all__})
