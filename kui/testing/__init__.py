"""A kit for testing ASGI apps in process, on either loop. Names are loaded when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kui.concurrency.lifespan_driver import LifespanFailed as LifespanFailed

    from .bodies import RequestBody as RequestBody
    from .client import AsyncTestClient as AsyncTestClient
    from .clocks import VirtualClockLoop as VirtualClockLoop
    from .clocks import virtual_clock as virtual_clock
    from .clocks import virtual_trio_clock as virtual_trio_clock
    from .descriptions import check_description as check_description
    from .errors import ContractError as ContractError
    from .errors import DeadlineExceeded as DeadlineExceeded
    from .errors import Disconnected as Disconnected
    from .errors import NotAnEventStream as NotAnEventStream
    from .errors import WebSocketClosed as WebSocketClosed
    from .errors import WebSocketDenied as WebSocketDenied
    from .events import Event as Event
    from .events import EventStream as EventStream
    from .harness import every_checkpoint as every_checkpoint
    from .sockets import WebSocketSession as WebSocketSession
    from .sync import TestClient as TestClient
    from .transport import ASGITransport as ASGITransport

_HOMES = {
    "ASGITransport": ".transport",
    "AsyncTestClient": ".client",
    "ContractError": ".errors",
    "DeadlineExceeded": ".errors",
    "Disconnected": ".errors",
    "Event": ".events",
    "EventStream": ".events",
    "LifespanFailed": "kui.concurrency.lifespan_driver",
    "NotAnEventStream": ".errors",
    "RequestBody": ".bodies",
    "TestClient": ".sync",
    "VirtualClockLoop": ".clocks",
    "WebSocketClosed": ".errors",
    "WebSocketDenied": ".errors",
    "WebSocketSession": ".sockets",
    "check_description": ".descriptions",
    "every_checkpoint": ".harness",
    "virtual_clock": ".clocks",
    "virtual_trio_clock": ".clocks",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home, __name__), name)
