"""Tests of WebSockets in process: on both loops with a virtual clock, and with a server like either kind."""

from __future__ import annotations

import pytest

from tests.support.clocks import anyio_backend  # noqa: F401 - a fixture
from tests.support.websocket_server import Kind


@pytest.fixture(params=["hypercorn", "uvicorn"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Which server the fake one is like."""
    kind: Kind = request.param
    return kind
