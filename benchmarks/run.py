"""`python3 benchmarks/run.py`: how fast Kui is, beside a bare ASGI function and its peers.

`python3 benchmarks/run.py scale`: what thousands of open connections cost it (`scale.py`).
`python3 benchmarks/run.py declared`: declared parameters and dependencies beside the others' own (`declared.py`).
`python3 benchmarks/run.py soak`: what is left of a million requests, and of cut connections (`soak.py`).
`python3 benchmarks/run.py channels`: how many messages reach 1,000 subscribers (`channels.py`).

Needs CPython 3.11 or later, and nothing else. It makes `.venv-benchmarks` beside this folder,
installs Kui and the peers into it as `constraints.txt` pins them, and goes on there, in
`__main__.py`; `--help` tells what can be chosen.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VENV = ROOT / ".venv-benchmarks"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PACKAGES = [
    "broadcaster",
    "coredis",
    "redis<6",  # broadcaster 0.3 hears nothing with later ones
    "starlette",
    "sse-starlette",
    "multipart",
    "python-multipart",
    "fastapi",
    "litestar[jinja]",
    "blacksheep",
    "quart",
    "quart-trio",
    "trustme",
    "uvicorn",
    "httptools",
    "uvloop; platform_system != 'Windows'",
]


def install() -> None:
    """Make the environment, or make it anew when a pin or a dependency has changed."""
    pins = HERE / "constraints.txt"
    wanted = hashlib.sha256(
        (ROOT / "pyproject.toml").read_bytes() + pins.read_bytes() + repr(PACKAGES).encode()
    ).hexdigest()
    stamp = VENV / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    venv.EnvBuilder(with_pip=True, clear=True).create(VENV)
    subprocess.run(
        [str(PYTHON), "-m", "pip", "install", "--quiet", "--editable", str(ROOT), *PACKAGES],
        env={**os.environ, "PIP_CONSTRAINT": str(pins)},
        check=True,
    )
    stamp.write_text(wanted)


if __name__ == "__main__":
    install()
    others = {"scale", "declared", "channels", "soak"}
    other = sys.argv[1] if others.intersection(sys.argv[1:2]) else None
    module = f"benchmarks.{other}" if other else "benchmarks"
    command = [str(PYTHON), "-m", module, *sys.argv[2 if other else 1 :]]
    if os.name == "posix":  # nothing stands between a signal and the benchmark
        os.chdir(ROOT)
        os.execv(PYTHON, command)
    sys.exit(subprocess.run(command, cwd=ROOT).returncode)
