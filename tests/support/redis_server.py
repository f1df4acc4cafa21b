"""A real `redis-server`, started by the tests on a port that is free, and ended by them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from .process import PATIENCE, killed_with_us

__all__ = ["RedisServer", "needs_redis"]


def needs_redis() -> str | None:
    """Why there can be no server here, or None. Where KUI_REQUIRE_REDIS is set, there has to be one."""
    if shutil.which("redis-server") or os.environ.get("KUI_REQUIRE_REDIS"):
        return None
    return "redis-server is not installed (Debian: apt-get install redis-server)"


class RedisServer:
    """A server and its folder. `persistent`: it keeps every write, and has it again after a restart.

    ::

        with RedisServer(folder) as server:
            Channels(server.url)
    """

    def __init__(self, folder: Path, *, persistent: bool = False) -> None:
        self.folder = folder
        self.persistent = persistent
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> RedisServer:
        for _ in range(10):
            self.port = _free_port()
            if self.start():
                return self
        raise AssertionError(f"no redis-server came up: {self.log}")

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        return (self.folder / "redis.log").read_text()

    def start(self) -> bool:
        """Start on the port; return False if another process has it."""
        log = self.folder / "redis.log"
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "save": "",
            "appendonly": "yes" if self.persistent else "no",
            "appendfsync": "always",
            "logfile": log,
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        command = killed_with_us(["redis-server", *arguments])
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while self._process.poll() is None:
            try:
                if b"process_id:%d\r" % self._process.pid in self.command("INFO", "server"):
                    return True
            except OSError:
                pass
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.01)
        return False

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def restart(self) -> None:
        """Kill it, and start it on the same port."""
        self.kill()
        assert self.start(), self.log

    def stop(self) -> None:
        """Have it answer nothing, with its connections open, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def command(self, *words: Any) -> bytes:
        """Send a command by hand; the first bytes of its answer."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
            parts = [str(word).encode() for word in words]
            text = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
            client.sendall(b"*%d\r\n%s" % (len(parts), text))
            return client.recv(65536)

    def kill_connections(self) -> None:
        """End the connections of all clients, those that listen too."""
        for kind in ("normal", "pubsub"):
            self.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def _free_port() -> int:
    """A port that is free, of those that the system does not give away by itself: only a number that is asked for meets it."""
    limits = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(limits.read_text().split()[0]) if limits.exists() else 32768
    while True:
        port = random.randrange(max(1024, lowest - 16384), lowest)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
