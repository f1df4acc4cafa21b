"""What is done with a checkout: `python3 tasks.py serve` looks at it, `python3 tasks.py test` tests it.

Needs CPython 3.11 or later, and nothing else. Each task makes an environment beside this file, installs what
the task needs into it, as `constraints.txt` pins it, and runs there.
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
INSTALLED = VENV / "installed"


def install(extras: str) -> None:
    """Make the environment, or bring it up to date when a pin, a dependency, the Python or the task has changed.

    An environment that holds the development tools serves every task.
    """
    pinned = (ROOT / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes()
    digest = hashlib.sha256(pinned + sys.version.encode()).hexdigest()
    installed = INSTALLED.read_text() if INSTALLED.exists() else ""
    if installed in (f"{digest} {extras}", f"{digest} dev", digest):
        return
    print(
        f"Installing Kui and what this task needs into {VENV.name}; once, it takes a while.",
        flush=True,
    )
    venv.EnvBuilder(with_pip=True, clear=True).create(VENV)
    subprocess.run(
        [str(PYTHON), "-m", "pip", "install", "--quiet", "--editable", f"{ROOT}[{extras}]"],
        env={
            **os.environ,
            "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
        check=True,
    )
    INSTALLED.write_text(f"{digest} {extras}")


def run(*command: str) -> None:
    print("$", *command, flush=True)
    status = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT).returncode
    if status:
        sys.exit(status)


def serve(arguments: list[str]) -> None:
    """Serve examples/showcase, on trio; arguments such as `--backend asyncio` go to `kui run`."""
    install("uvloop")
    print("Starting the showcase. Open the address below in a browser; Ctrl-C ends it.", flush=True)
    if os.name == "posix":  # no process stands between a signal and the server
        os.chdir(ROOT)
        os.execv(BIN / "kui", ["kui", "run", "examples.showcase:app", *arguments])
    run("kui", "run", "examples.showcase:app", *arguments)


def test(arguments: list[str]) -> None:
    """Check style and types, then run every test; arguments go to pytest."""
    install("dev")
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")
    run("mypy")
    run("pytest", "-n", "4", *arguments)


def docs(arguments: list[str]) -> None:
    """Build the pages into docs/_build/html; a warning is an error. Arguments go to sphinx-build."""
    install("docs")
    run(
        "sphinx-build",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        *arguments,
        "docs",
        "docs/_build/html",
    )
    print("The pages are in docs/_build/html/index.html")


TASKS = {"serve": serve, "test": test, "docs": docs}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TASKS:
        sys.exit(f"usage: python3 tasks.py {'|'.join(TASKS)} [arguments]")
    TASKS[sys.argv[1]](sys.argv[2:])
