"""Programs that others have written, as clients and as proxies of `kui run` on each loop.

Without a program its tests are skipped, unless KUI_REQUIRE_CLIENTS is set, as it is in CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.process import ServerProcess

SPEC = "tests.servers.clients.site:app"
PATIENCE = 50.0
Run = Callable[..., subprocess.CompletedProcess[str]]


def program(name: str) -> str:
    """Where a program is."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        if os.environ.get("KUI_REQUIRE_CLIENTS"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(scope="session", params=["trio", "asyncio", "uvloop"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def start(backend: str, *flags: str) -> ServerProcess:
    command = [sys.executable, "-m", "kui", "run", SPEC, "--backend", backend]
    process = ServerProcess([*command, "--bind", "127.0.0.1:0", *flags])
    process.find_url()
    return process


@pytest.fixture(scope="session")
def site(backend: str) -> Iterator[ServerProcess]:
    process = start(backend)
    yield process
    process.end()


@pytest.fixture(scope="session")
def secure_site(backend: str, certificate: Path) -> Iterator[ServerProcess]:
    process = start(backend, "--certfile", str(certificate))
    yield process
    process.end()


@pytest.fixture
def run() -> Run:
    """Run a program to its end; its output. It must succeed."""

    def run(
        name: str, *arguments: str, status: int = 0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [program(name), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            env={**os.environ, **more},
            check=False,
        )
        print(done.stdout[-2000:], done.stderr[-2000:])
        assert done.returncode == status, done.returncode
        return done

    return run
