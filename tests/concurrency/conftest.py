"""Tests of kui.concurrency run on both loops, in virtual time: an hour of pings takes no time."""

from __future__ import annotations

from typing import Any

import pytest

from kui.testing import virtual_clock


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_clock(request.param)
