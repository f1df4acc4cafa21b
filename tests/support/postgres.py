"""A Postgres server of a test's own, on a Unix socket in a directory of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["find_postgres", "postgres"]


def find_postgres() -> Path | None:
    """Return the directory of the server's programs; None if it is not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return installed[-1] if installed else None


@contextmanager
def postgres(programs: Path) -> Iterator[str]:
    """Run a server while the block lasts; its conninfo. Root runs it as `nobody`, for it refuses root."""
    directory = tempfile.mkdtemp(prefix="kui-pg-")
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(directory, user)
    data = f"{directory}/data"
    server = None
    try:
        initdb = [str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "kui", "-N"]
        subprocess.run(initdb, check=True, capture_output=True, user=user, cwd=directory)
        start = [str(programs / "pg_ctl"), "-D", data, "-w", "-t", "60", "-l", f"{directory}/log"]
        options = f"-k {directory} -c listen_addresses='' -c fsync=off"
        command = [*start, "-o", options, "start"]
        server = subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, user=user, cwd=directory
        )
        yield f"host={directory} user=kui dbname=postgres"
    finally:
        if server is not None:
            stop = [str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop"]
            subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, user=user, cwd=directory)
        shutil.rmtree(directory, ignore_errors=True)
