"""The fixtures of tests of trio alone."""

from __future__ import annotations

from tests.support.signals import servers  # noqa: F401 - a fixture
