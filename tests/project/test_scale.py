"""`benchmarks/scale.py` runs, and each of its looks has seen what it is for. How much it is, no test says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scale

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's /proc"),
]


def looked(what: str, kind: str, found: Path, server: str = "hypercorn-trio") -> Any:
    """The results of a short look at ten connections to Kui alone."""
    little = "--counts 10 --pings 0.25 --seconds 1 --rounds 1 --requests 200"
    chosen = f"--only {what} --kinds {kind} --frameworks kui --servers {server} {little}"
    scale.main([*chosen.split(), "--json", str(found)])
    return json.loads(found.read_text())


def test_it_looks_at_idle_streams_and_at_a_worker_that_is_busy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = looked("idle flat", "events", tmp_path / "results")
    (events,) = results["idle"]
    assert events["pings"] >= events["count"] == 10
    (flat,) = results["flat"]
    assert len(flat["memory"]) == 10 and min(flat["memory"]) > 0
    printed = capsys.readouterr().out
    assert "| 10 events, hypercorn-trio, pings every 0.25 s |" in printed
    assert "| 200 requests, hypercorn-trio, Kui |" in printed


@pytest.mark.parametrize("server", ["kui-trio", "kui-asyncio"])
def test_it_looks_at_the_streams_of_a_channel(tmp_path: Path, server: str) -> None:
    (news,) = looked("idle", "channels", tmp_path / "results", server)["idle"]
    assert news["pings"] >= news["count"] == 10


def test_it_says_whose_memory_a_websocket_is(tmp_path: Path) -> None:
    (found,) = looked("where", "sockets", tmp_path / "results")["where"]
    assert found["tasks each"] >= 1
    assert found["bytes each"]["kui"] > 0


def test_it_times_imports() -> None:
    assert [code for code, took in scale.imports(1)] == list(scale.IMPORTS)


def test_it_says_so_when_too_few_files_may_be_open() -> None:
    with pytest.raises(SystemExit, match="open files are needed"):
        scale.main(["--counts", "1000000000"])
