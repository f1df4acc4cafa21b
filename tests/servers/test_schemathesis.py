"""A fuzzer that reads the description finds no 5xx, and no answer that the description does not have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import KuiRun, backend, kui_run, launch  # noqa: F401 - fixtures

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("app", ["tests.openapi.shop:app", "examples.api:app"])
def test_every_answer_fits_its_description(
    kui_run: KuiRun,  # noqa: F811 - a fixture
    app: str,
    tmp_path: Path,
) -> None:
    url = kui_run(app).find_url()
    program = Path(sys.executable).with_name("schemathesis")
    limits = [
        "--max-examples",
        "5",
        "--phases",
        "examples,coverage,fuzzing",
        "--request-timeout",
        "30",
    ]
    endless = ["--exclude-path", "/ticks", "--exclude-path", "/lines"]
    quiet = ["--suppress-health-check", "all", "--generation-deterministic", "--no-color"]
    done = subprocess.run(
        [
            str(program),
            "run",
            f"{url}/docs/openapi.json",
            "--checks",
            ",".join(CHECKS),
            *limits,
            *endless,
            *quiet,
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "0 failures" in done.stdout or "failures" not in done.stdout
