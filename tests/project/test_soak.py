"""`benchmarks/soak.py`: a tenth of its requests and of the connections that it cuts leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import soak

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's /proc"),
]


@pytest.mark.parametrize("loop", soak.LOOPS)
def test_neither_requests_nor_connections_that_are_cut_leave_anything(loop: str) -> None:
    for found in soak.soak(loop, soak.REQUESTS // 10, soak.RESETS // 10):
        assert found.sound, found


@pytest.mark.parametrize("what", ["nothing said", "half a head"])
@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_clients_that_say_nothing_are_closed_and_cost_little(loop: str, what: str) -> None:
    found = soak.silence(loop, 500, what, deadline=3)
    assert found.after.descriptors <= found.before.descriptors
    assert 2 < found.first and found.last < 20
    assert found.bytes_each < 16 * 1024
