"""`benchmarks/channels.py` runs, and each subscriber has got each message. How fast that is, no test says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import channels
from tests.support.redis_server import needs_redis

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("store", channels.STORES)
def test_it_measures_kui_on_both_loops(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if store == "redis" and (reason := needs_redis()):
        pytest.skip(reason)
    little = f"--stores {store} --subscribers 40 --messages 20 --rounds 1"
    found = tmp_path / "found"
    chosen = [*little.split(), "--contenders", "kui", "kui on trio", "--json", str(found)]
    channels.main(chosen)
    results = json.loads(found.read_text())
    assert [each["contender"] for each in results] == ["kui", "kui on trio"]
    assert all(each["rate"] > 0 for each in results)
    assert f"| {store}, kui on trio |" in capsys.readouterr().out
