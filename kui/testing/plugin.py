"""The entry point of the pytest plugin. It imports nothing of Kui, and offers no fixtures if httpx2 is missing.

`fixtures.py` is imported when pytest is configured, and so after plugins that must be loaded before the code that they
observe, such as those that measure coverage.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "kui_deadline",
        "seconds of real time that an async test with kui_client or kui_backend may take; 0: any",
        default="30",
    )


def pytest_configure(config: pytest.Config) -> None:
    if find_spec("httpx2") is not None:
        config.pluginmanager.register(import_module("kui.testing.fixtures"), "kui.testing.fixtures")
