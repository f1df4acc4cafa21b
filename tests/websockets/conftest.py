"""Tests of WebSockets in process: on both loops with a virtual clock, and with a server like either kind."""

from __future__ import annotations

from typing import Any

import pytest

from kui.testing import virtual_clock
from tests.support.websocket_server import Kind


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_clock(request.param)


@pytest.fixture(params=["hypercorn", "uvicorn"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Which server the fake one is like."""
    kind: Kind = request.param
    return kind
