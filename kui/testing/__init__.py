"""`kui.testing`: an ASGI app under test, in process, on either loop. Names are loaded when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import AsyncTestClient as AsyncTestClient
    from .errors import ContractError as ContractError
    from .errors import DeadlineExceeded as DeadlineExceeded
    from .errors import Disconnected as Disconnected
    from .errors import LifespanFailed as LifespanFailed
    from .errors import NotAnEventStream as NotAnEventStream
    from .errors import WebSocketClosed as WebSocketClosed
    from .errors import WebSocketDenied as WebSocketDenied
    from .transport import ASGITransport as ASGITransport

_HOMES = {
    "ASGITransport": "transport",
    "AsyncTestClient": "client",
    "ContractError": "errors",
    "DeadlineExceeded": "errors",
    "Disconnected": "errors",
    "LifespanFailed": "errors",
    "NotAnEventStream": "errors",
    "WebSocketClosed": "errors",
    "WebSocketDenied": "errors",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
