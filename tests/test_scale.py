"""`benchmarks/scale.py` runs, and each of its looks has seen what it is for. How much it is, no test says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import scale

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's /proc"),
]


def test_it_measures_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = "--frameworks kui --servers hypercorn-trio --counts 10 --pings 0.25 --seconds 1"
    found = tmp_path / "results.json"
    more = "--rounds 1 --requests 200 --only idle where flat --json"
    scale.main([*chosen.split(), *more.split(), str(found)])
    results = json.loads(found.read_text())

    events, sockets = results["idle"]
    assert events["kind"] == "events" and events["pings"] >= events["count"] == 10
    assert sockets["kind"] == "sockets" and sockets["pings"] == 0
    assert all(each["tasks each"] >= 1 for each in results["where"])
    assert all(each["bytes each"]["kui"] > 0 for each in results["where"])
    (flat,) = results["flat"]
    assert len(flat["memory"]) == 10 and min(flat["memory"]) > 0
    printed = capsys.readouterr().out
    assert "| 10 events, hypercorn-trio, pings every 0.25 s |" in printed
    assert "| Kui, hypercorn-trio |" in printed


def test_it_times_imports() -> None:
    assert {name for name, took in scale.imports(1)} >= {"anyio", "kui.asgi"}


def test_it_says_so_when_too_few_files_may_be_open() -> None:
    with pytest.raises(SystemExit, match="open files are needed"):
        scale.main(["--counts", "1000000000"])
