"""The two things one does with a fresh checkout: `python3 tasks.py serve` and `python3 tasks.py test`.

Needs CPython 3.11 or later, and nothing else: it makes `.venv` beside this file, installs
Kui and its tools into it as `constraints.txt` pins them, and runs the task there.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")


def install() -> None:
    """Make the environment, or bring it up to date when a pin or a dependency has changed."""
    wanted = hashlib.sha256(
        (ROOT / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes()
    ).hexdigest()
    stamp = VENV / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    venv.EnvBuilder(with_pip=True, clear=True).create(VENV)
    subprocess.run(
        [str(PYTHON), "-m", "pip", "install", "--quiet", "--editable", f"{ROOT}[dev]"],
        env={**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")},
        check=True,
    )
    stamp.write_text(wanted)


def run(*command: str) -> None:
    print("$", *command, flush=True)
    status = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT).returncode
    if status:
        sys.exit(status)


def serve(arguments: list[str]) -> None:
    """Serve examples/showcase on trio; then look at http://127.0.0.1:8000/."""
    print("The showcase is at http://127.0.0.1:8000/ - Ctrl-C stops it.", flush=True)
    if os.name == "posix":  # nothing stands between a signal and the server, which takes its time
        os.chdir(ROOT)
        os.execv(BIN / "kui", ["kui", "run", "examples.showcase:app", *arguments])
    run("kui", "run", "examples.showcase:app", *arguments)


def test(arguments: list[str]) -> None:
    """Check style and types, then run every test; arguments go to pytest."""
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")
    run("mypy")
    run("pytest", "-n", "4", *arguments)


if __name__ == "__main__":
    tasks = {"serve": serve, "test": test}
    if len(sys.argv) < 2 or sys.argv[1] not in tasks:
        sys.exit(f"usage: python3 tasks.py {'|'.join(tasks)}")
    install()
    tasks[sys.argv[1]](sys.argv[2:])
