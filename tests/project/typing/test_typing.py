"""mypy and pyright over a typical app: no false positive, and the usual mistakes are found.

pyright comes from PyPI; its part of the npm registry is fetched when it runs for the first time.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[3]

Check = Callable[[Path], list[tuple[int, str]]]


def mypy(path: Path) -> list[tuple[int, str]]:
    """What `mypy --strict` says of a file: lines, and messages."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--hide-error-context",
    ]
    done = subprocess.run(
        [*command, "--config-file=", str(path)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.findall(r"^.*?:(\d+): (?:error|warning): (.*)$", done.stdout, re.MULTILINE)
    return [(int(line), message) for line, message in found]


def pyright(path: Path) -> list[tuple[int, str]]:
    """What pyright in its basic mode says of a file, warnings among it."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, cwd=HERE)
    assert done.returncode in (0, 1) and done.stdout, done.stdout + done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert found["summary"]["filesAnalyzed"] == 1
    return [
        (each["range"]["start"]["line"] + 1, each["message"])
        for each in found["generalDiagnostics"]
    ]


pytestmark = [
    pytest.mark.timeout(300),  # pyright may have to be fetched
    pytest.mark.parametrize("check", [mypy, pyright]),
]


def test_nothing_is_wrong_with_a_typical_app(check: Check) -> None:
    assert check(HERE / "site.py") == []


def test_mistakes_are_found(check: Check) -> None:
    path = HERE / "mistakes.py"
    lines = path.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if "  # wrong" in line}
    assert wrong and {line for line, _ in check(path)} == wrong
