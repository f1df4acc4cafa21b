"""The fixture of tests in virtual time: import `anyio_backend` into a module, or into a folder's `conftest.py`."""

from __future__ import annotations

from typing import Any

import pytest

from kui.testing import virtual_clock


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run a test once on each loop; a wait of an hour takes no time."""
    return virtual_clock(request.param)
