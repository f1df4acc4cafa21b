"""Run several processes on the same listening sockets, and restart one when a file has changed. POSIX only.

The parent only forks, waits and passes signals on; the app runs in its children.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeAlias

__all__ = ["RELOAD", "Work", "supervise"]

Work: TypeAlias = Callable[[Callable[[], None]], int]
"""The work of a worker: it serves, calls its argument once it listens, and returns the exit status."""

RELOAD: Final = 75
"""The exit status of a worker that must be restarted."""
RESTART_PAUSE: Final = 1.0
"""Seconds from the start of a worker until it may be replaced by another."""

_STOP: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

logger = logging.getLogger("kui.server")


@dataclass
class _Worker:
    pid: int
    pipe: int
    """The descriptor from which one byte can be read once the worker listens."""
    born: float = field(default_factory=time.monotonic)
    ready: bool = False


def supervise(work: Work, count: int, limit: float) -> int:
    """Run `work` in `count` processes until SIGTERM, SIGINT or SIGHUP; return the exit status.

    A worker that ends is replaced. The first worker is started alone, so that an error of the app is printed once; if
    it ends before it has listened, the status is 1. On a signal all workers get SIGTERM, and after `limit` seconds
    SIGKILL; the status is 0 if all have ended well. The workers end if this process is killed.

    :param limit: seconds from the signal to SIGKILL.
    """
    with _wakeup() as wakeup:
        return _Supervisor(work, count, limit, wakeup).run()


class _Supervisor:
    def __init__(self, work: Work, count: int, limit: float, wakeup: socket.socket) -> None:
        self.work = work
        self.count = count
        self.limit = limit
        self.wakeup = wakeup
        self.workers: dict[int, _Worker] = {}
        self.proven = False
        """True if a worker has ever listened."""
        self.status = 0
        self.kill_at: float | None = None
        """The time of SIGKILL; None before a signal."""
        self.not_before = 0.0
        self.life_read, self.life_write = os.pipe()

    def run(self) -> int:
        try:
            while self.kill_at is None or self.workers:
                timeout = self._act(time.monotonic())
                pipes = {worker.pipe: worker for worker in self.workers.values() if worker.pipe > 0}
                wakeup = self.wakeup.fileno()
                readable, _, _ = select.select([wakeup, *pipes], [], [], timeout)
                for source in readable:
                    if source == wakeup:
                        self._signalled(set(self.wakeup.recv(4096)))
                    else:
                        self._note_ready(pipes[source])
                self._reap()
            return self.status
        finally:
            os.close(self.life_read)
            os.close(self.life_write)

    def _act(self, now: float) -> float | None:
        """Start and kill the workers that are due; return the seconds until the next is due."""
        if self.kill_at is not None:
            if now >= self.kill_at:
                self._send(signal.SIGKILL)
                self.status = 1
                return RESTART_PAUSE
            return self.kill_at - now
        missing = (self.count if self.proven else 1) - len(self.workers)
        if missing > 0 and now < self.not_before:
            return self.not_before - now
        for _ in range(missing):
            self._fork()
        return None

    def _signalled(self, signals: set[int]) -> None:
        if signals.isdisjoint(_STOP):
            return
        self._stop()

    def _stop(self) -> None:
        if self.kill_at is None:
            self.kill_at = time.monotonic() + self.limit
        self._send(signal.SIGTERM)

    def _send(self, signum: signal.Signals) -> None:
        for pid in self.workers:
            os.kill(pid, signum)

    def _note_ready(self, worker: _Worker) -> None:
        if os.read(worker.pipe, 1):
            worker.ready = self.proven = True
        os.close(worker.pipe)
        worker.pipe = -1

    def _reap(self) -> None:
        for worker in list(self.workers.values()):
            pid, result = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                del self.workers[pid]
                if worker.pipe > 0:
                    self._note_ready(worker)
                self._ended(worker, os.waitstatus_to_exitcode(result))

    def _ended(self, worker: _Worker, code: int) -> None:
        if self.kill_at is not None:
            if code not in (0, RELOAD, -signal.SIGTERM):
                self.status = 1
        elif code == RELOAD:
            logger.info("Starting anew")
        elif not self.proven:
            self.status = 1
            self._stop()
        else:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            logger.warning("Worker %d %s; another takes its place", worker.pid, how)
            self.not_before = worker.born + RESTART_PAUSE

    def _fork(self) -> None:
        ready_read, ready_write = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # No signal must arrive between the fork and the child's own handlers.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # A terminal sends these to all processes; the parent passes them on as SIGTERM.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(self.life_write)
            os.close(ready_read)
            for worker in self.workers.values():
                if worker.pipe > 0:
                    os.close(worker.pipe)
            _be_worker(self.work, ready_write, self.life_read)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(ready_write)
        self.workers[pid] = _Worker(pid, ready_read)


def _be_worker(work: Work, ready: int, life: int) -> NoReturn:
    """Run the child from the fork to its end."""
    status = 1
    try:
        threading.Thread(target=_end_with_parent, args=(life,), daemon=True).start()
        status = work(lambda: os.close(ready) if os.write(ready, b"1") else None)
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # the process ends here, so the traceback must be printed
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _end_with_parent(life: int) -> None:
    """Wait until the parent closes its end of the pipe, then send SIGTERM to this process."""
    os.read(life, 1)
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _wakeup() -> Iterator[socket.socket]:
    """Give a socket from which the numbers of signals that have arrived can be read."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        previous = {
            signum: signal.signal(signum, lambda *_: None)
            for signum in (*_STOP, signal.SIGCHLD)
            if signum != signal.SIGHUP or signal.getsignal(signum) is not signal.SIG_IGN  # nohup
        }
        old = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(old)
            for signum, handler in previous.items():
                signal.signal(signum, handler)
