"""Servers in processes of their own: started on a free port, watched, and ended by the test that started them."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

__all__ = [
    "PATIENCE",
    "ServerProcess",
    "connect",
    "foreign",
    "get",
    "killed_with_us",
    "listening_socket",
    "read_until",
]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
"""Seconds that anything may take on a busy machine."""
MEMORY = 4 << 30
"""Bytes that a process may hold: one that grows without end fails alone, and takes no other test with it."""


def listening_socket() -> socket.socket:
    """A socket that listens on a port of 127.0.0.1 which no other socket has."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


def killed_with_us(command: Sequence[str]) -> list[str]:
    """The command of a process that a test run takes with it, if it is killed and cannot clean up (Linux)."""
    return [*(["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []), *command]


class ServerProcess:
    """A server's process and its output, both streams in one.

    `url` is where it listens: the socket that it was given, or what `find_url` has read.
    """

    def __init__(
        self, command: Sequence[str], *, sock: socket.socket | None = None, **more: str
    ) -> None:
        self.command = list(command)
        self.url = ""
        if sock is not None:
            self.url = "http://{}:{}".format(*sock.getsockname())
        self._text = ""
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            killed_with_us(self.command),
            cwd=more.pop("cwd", ROOT),
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=() if sock is None else (sock.fileno(),),
            start_new_session=True,
        )
        if sys.platform == "linux":
            resource.prlimit(self.pid, resource.RLIMIT_DATA, (MEMORY, MEMORY))
        if sock is not None:
            sock.close()  # so that no client waits in its queue once the process has ended
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        """What the process has written so far."""
        with self._changed:
            return self._text

    def find(
        self, pattern: str, count: int = 1, *, seconds: float = PATIENCE
    ) -> list[re.Match[str]]:
        """Wait until the output has `count` matches of a pattern; fail if the process ends before."""
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                found = list(re.finditer(pattern, self._text))
                if len(found) >= count:
                    return found
                left = end - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(f"no {pattern!r} in the output of {self.command}")
                self._changed.wait(min(left, 1))

    def find_url(self) -> str:
        """Wait until a `kui run` process says where it listens."""
        self.url = self.find(r"Listening on (\S+)")[0][1]
        return self.url

    def descriptors(self, kind: str) -> int:
        """How many descriptors the process has open of what is called `kind`: a path, or `socket:`."""
        found = 0
        for number in os.listdir(f"/proc/{self.pid}/fd"):
            with suppress(FileNotFoundError):  # closed meanwhile
                found += os.readlink(f"/proc/{self.pid}/fd/{number}").startswith(kind)
        return found

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Look again and again, for what a process does not say."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "it has never become so"
            time.sleep(0.01)

    def send_signal(self, signum: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(signum)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for the process to end by itself, and for the last of its output; its exit status."""
        status = self.process.wait(seconds)
        self._reader.join(seconds)
        return status

    def stop(self, signum: signal.Signals = signal.SIGTERM, seconds: float = PATIENCE) -> int:
        """Send a signal and wait; the exit status."""
        self.send_signal(signum)
        return self.wait(seconds)

    def end(self) -> None:
        """Whatever became of it: end the process, and with it the session that it was started in."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while chunk := os.read(self.process.stdout.fileno(), 65536):
            with self._changed:
                self._text += chunk.decode("utf-8", "replace")
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def foreign(kind: str, spec: str, sock: socket.socket, graceful_timeout: float) -> list[str]:
    """The command that serves `spec` with a server that is not ours on a listening socket."""
    script = str(Path(__file__).with_name("run_server.py"))
    return [sys.executable, script, kind, spec, str(sock.fileno()), str(graceful_timeout)]


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port of 127.0.0.1 for a server that can only be told a number, and shares it (SO_REUSEPORT)."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def until_it_listens(port: int) -> None:
    """Connect again and again, for a server that does not say when it is ready."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < end


def connect(server: ServerProcess, target: str, *headers: str) -> socket.socket:
    """Send the head of a request by hand, and leave the rest to the test."""
    client = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    lines = [f"GET {target} HTTP/1.1", "Host: x", *headers, "", ""]
    client.sendall("\r\n".join(lines).encode())
    return client


def read_until(client: socket.socket, end: bytes | None = None) -> bytes:
    """What comes up to `end`, or up to the end of the connection.

    A server that hangs up before it has read all that was sent resets the connection: an end too.
    """
    data = b""
    with suppress(ConnectionResetError):
        while (end is None or end not in data) and (chunk := client.recv(65536)):
            data += chunk
    return data


def get(url: str, **more: Any) -> httpx2.Response:
    """Ask with a client of its own, which is patient, and spends no time on certificates."""
    return httpx2.get(url, timeout=PATIENCE, verify=False, **more)
