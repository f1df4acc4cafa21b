"""The servers that are asked, each in a process of its own."""

from __future__ import annotations

import os
import re
import sys

from tests.support.process import ServerProcess, foreign, listening_socket
from tests.support.wire import Wire

__all__ = ["FOREIGN", "OURS", "Site", "chosen", "start"]

SPEC = "tests.servers.conformance.site:app"
FOREIGN = ("uvicorn", "hypercorn-asyncio", "hypercorn-trio")
OURS = ("kui-trio", "kui-asyncio", "kui-uvloop")


def chosen() -> tuple[str, ...]:
    """The servers of this run: all, or those named in CONFORMANCE, separated by commas."""
    named = os.environ.get("CONFORMANCE")
    return tuple(named.split(",")) if named else FOREIGN + OURS


def start(kind: str, *, hasty: bool = False, **environment: str) -> ServerProcess:
    """Start a server of this kind; a hasty one waits for half a second where others wait for long."""
    sock = listening_socket()
    if hasty:
        environment["KEEP_ALIVE"] = environment["HEAD_TIMEOUT"] = "0.5"
    if kind not in OURS:
        command = foreign(kind, SPEC, sock, 1.0)
        return ServerProcess(
            command, sock=sock, UVICORN="httptools,websockets-sansio", **environment
        )
    backend = kind.removeprefix("kui-")
    command = [sys.executable, "-m", "kui", "run", SPEC, "--backend", backend]
    command += ["--bind", f"fd://{sock.fileno()}", "--graceful-timeout", "1"]
    if hasty:
        command += ["--keep-alive-timeout", "0.5", "--head-timeout", "0.5", "--body-timeout", "0.5"]
    return ServerProcess(command, sock=sock, **environment)


class Site:
    """A server as one test sees it."""

    def __init__(self, process: ServerProcess, name: str, patience: float) -> None:
        self.process = process
        self.port = process.port
        self.name = name
        """What the test calls its request; the app prints it with all that happens."""
        self.patience = patience

    def connect(self, **buffers: int) -> Wire:
        return Wire(self.port, patience=self.patience, **buffers)

    def hears(self, what: str) -> re.Match[str]:
        """Wait until the app says something that this matches."""
        pattern = rf"(?m)^{re.escape(self.name)}: {what}$"
        return self.process.find(pattern, seconds=self.patience)[0]

    def heard(self, what: str) -> list[str]:
        """What the app has said so far of this kind."""
        pattern = rf"(?m)^{re.escape(self.name)}: ({what})$"
        return re.findall(pattern, self.process.log)

    def release(self, name: str | None = None) -> None:
        """Let a handler that holds go on."""
        with self.connect() as wire:
            assert wire.get(f"/release/{name or self.name}").body == b"ok"

    def is_well(self) -> None:
        """Fails if the server does not answer others."""
        with self.connect() as wire:
            assert wire.get("/early/other").body == b"early"
