"""Tests of kui.concurrency run on both loops, in virtual time: an hour of pings takes no time."""

from __future__ import annotations

from tests.support.clocks import anyio_backend  # noqa: F401 - a fixture
from tests.support.signals import servers  # noqa: F401 - a fixture
