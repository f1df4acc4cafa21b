"""The table of differences is about tests that exist."""

from __future__ import annotations

from . import (
    test_connections,
    test_framing,
    test_handshakes,
    test_leaving,
    test_misframed,
    test_refusals,
    test_shutdown,
    test_websockets,
)
from .differences import DIFFERENCES

MODULES = (
    test_connections,
    test_framing,
    test_handshakes,
    test_leaving,
    test_misframed,
    test_refusals,
    test_shutdown,
    test_websockets,
)


def test_each_difference_names_a_test() -> None:
    tests = {name.removeprefix("test_") for module in MODULES for name in vars(module)}
    for table in DIFFERENCES.values():
        for difference in table:
            for test in difference.tests:
                assert test.partition("[")[0] in tests, test
