"""`kui.run`: serve an app in one or several processes until a signal. The end of a process has a deadline."""

from __future__ import annotations

import importlib.util
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socket
from ssl import SSLContext
from types import FrameType
from typing import Any, Final, Unpack

import anyio
from baize.typing import ASGIApp

from kui import lifespan
from kui.concurrency.loops import Loop

from .binding import CannotServe, bound, tls_context
from .debug import check_debug
from .importing import importable_here, load_app
from .listening import serve_on
from .logs import LogConfig, set_up_logging
from .reload import Watcher
from .runner import LAST, Options, Runner, ServeOptions, ShutdownFailed, StartupFailed
from .workers import RELOAD, supervise

__all__ = ["BACKENDS", "ProcessDeadline", "complain", "run", "run_process"]

BACKENDS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "trio": ("trio", {}),
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
}

_STOP: Final = [
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
]

logger = logging.getLogger("kui.server")


def run(
    app: ASGIApp | str,
    *,
    backend: str = "trio",
    workers: int = 1,
    reload: bool = False,
    log_config: LogConfig = None,
    **options: Unpack[ServeOptions],
) -> None:
    """Serve an app until SIGTERM, Ctrl-C or SIGHUP (a terminal was closed), and return after a clean shutdown.

    On the signal `app.should_exit` becomes True. After `drain_delay` seconds no more connections are accepted. Requests
    then have `graceful_timeout` seconds to end, and the app is shut down. A second signal ends this waiting. Ten
    seconds after the graceful time the process ends with status 1 in any case.

    :param app: an ASGI app, or `"module:app"`, or `"module:create_app()"`.
    :param backend: the event loop: `trio`, `asyncio` or `uvloop`.
    :param workers: how many processes share the listening sockets; one that ends is replaced.
    :param reload: True to restart when a file of the program changes; `app` must be a str then.
    :param log_config: a dictionary for `logging.config.dictConfig`, or a file of TOML or JSON that holds one.
        Without it, records from INFO on are printed to stderr, unless the program configures logging itself.
    :param options: those of `kui.serve`.
    :raises SystemExit: with status 1, if the app cannot be served (with one line on stderr), if a service has crashed
        (which is logged), or if the start-up or the shutdown has failed (with its traceback on stderr).

    ::

        if __name__ == "__main__":
            kui.run(app, bind="0.0.0.0:8000")
    """
    deadline = ProcessDeadline()
    try:
        status = run_process(
            app,
            deadline,
            backend=backend,
            workers=workers,
            reload=reload,
            log_config=log_config,
            **options,
        )
    finally:
        deadline.stop()
    if status:
        sys.exit(status)


def run_process(
    app: ASGIApp | str,
    deadline: ProcessDeadline,
    *,
    backend: str,
    workers: int,
    reload: bool,
    log_config: LogConfig = None,
    **options: Unpack[ServeOptions],
) -> int:
    """Do what `run` does, and return the exit status.

    :param deadline: started at the signal, and still running when this returns.
    """
    try:
        chosen = Options(**options)
        _check(app, backend, workers, reload)
        tls = tls_context(chosen.certfile, chosen.keyfile)
        limit = chosen.drain_delay + chosen.graceful_timeout + LAST
        single = workers == 1 and not reload
        if isinstance(app, str):
            if single:
                app = load_app(app)
            else:  # the workers load it; the log configuration may name classes of its modules
                importable_here()
        with bound(chosen.binds, chosen.stall_timeout) as sockets:
            set_up_logging(log_config)
            if chosen.debug:
                check_debug(sockets)
            process = _Process(app, chosen, sockets, tls, backend, reload, limit)
            if single:
                return process.serve(deadline, lambda: None)
            lifespan.workers.set(workers)
            return supervise(process.work, workers, limit + 1)
    except CannotServe as error:
        return complain(error)


def complain(error: CannotServe) -> int:
    """Print one line that says why the app is not served; return the exit status."""
    print(f"kui: {error}", file=sys.stderr)
    return 1


class ProcessDeadline:
    """Ends the process some time after `start`, from a thread, even if other threads hang.

    `start` may be called in a signal handler.
    """

    def __init__(self) -> None:
        self.status = 1
        self._begun = False
        self._times: queue.SimpleQueue[float | None] = queue.SimpleQueue()

    def arm(self) -> None:
        """Create the waiting thread, so that `start` only has to put a number into a queue."""
        if not self._begun:
            self._begun = True
            threading.Thread(target=self._wait, daemon=True).start()

    def start(self, seconds: float) -> None:
        """End the process `seconds` from now. Only the first call counts."""
        self._times.put(seconds)

    def stop(self) -> None:
        """Cancel the deadline."""
        self._times.put(None)

    def _wait(self) -> None:
        seconds = self._times.get()
        if seconds is None:
            return
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                if self._times.get(timeout=left) is None:
                    return
            except queue.Empty:
                break
        os.write(2, b"kui: not everything has ended in time; the process ends now\n")
        os._exit(self.status)


class _Process:
    """Serves the app in this process."""

    def __init__(
        self,
        app: ASGIApp | str,
        options: Options,
        sockets: list[socket],
        tls: SSLContext | None,
        backend: str,
        reload: bool,
        limit: float,
    ) -> None:
        self.app = app
        self.options = options
        self.sockets = sockets
        self.tls = tls
        self.backend = backend
        self.reload = reload
        self.limit = limit

    def serve(self, deadline: ProcessDeadline, ready: Callable[[], None]) -> int:
        """Serve until a signal; return the exit status."""
        app = self.app
        assert not isinstance(app, str)

        async def main() -> Runner:
            runner = Runner(app, self.options, on_listening=ready)
            with _signals(runner, deadline, self.limit):
                await serve_on(runner, self.sockets, self.tls)
            return runner

        deadline.arm()
        name, backend_options = BACKENDS[self.backend]
        return _report(anyio.run(main, backend=name, backend_options=backend_options))

    def work(self, ready: Callable[[], None]) -> int:
        """Serve as a worker, and watch the program's files if `reload` is set."""
        deadline = ProcessDeadline()
        if not self.reload:
            try:
                self.app = load_app(self.app) if isinstance(self.app, str) else self.app
            except CannotServe as error:
                return complain(error)
            return self.serve(deadline, ready)
        assert isinstance(self.app, str)
        watcher = Watcher(self.app.partition(":")[0])
        try:
            self.app = load_app(self.app)
            deadline.status = RELOAD
            with watcher.watching(lambda: os.kill(os.getpid(), signal.SIGTERM)):
                status = self.serve(deadline, ready)
        except CannotServe as error:
            status = complain(error)
        except Exception as error:
            traceback.print_exc()
            watcher.add(error)
            status = 1
        if status and not watcher.changed:
            print("kui: waiting for a change", file=sys.stderr)
            watcher.wait()
        return RELOAD if watcher.changed else status


def _check(app: ASGIApp | str, backend: str, workers: int, reload: bool) -> None:
    if backend not in BACKENDS:
        raise CannotServe(f"the backend is one of {', '.join(BACKENDS)}, not {backend!r}")
    if backend == "uvloop" and importlib.util.find_spec("uvloop") is None:
        raise CannotServe("the backend uvloop needs the package uvloop: pip install uvloop")
    if workers < 1:
        raise CannotServe(f"there is at least one worker, not {workers}")
    if (workers > 1 or reload) and not hasattr(os, "fork"):
        raise CannotServe("several workers, and reloading, need a POSIX system")
    if reload and not isinstance(app, str):
        raise CannotServe("to reload it, the app has to be given as a text: 'module:app'")


def _report(runner: Runner) -> int:
    error = runner.error
    if error is None:
        return 0
    if isinstance(error, StartupFailed) and error.detail:
        print(error.detail, file=sys.stderr)
    if isinstance(error, CannotServe | ShutdownFailed):
        print(f"kui: {error}", file=sys.stderr)
    elif not runner.crashed:  # a crash has been logged already
        traceback.print_exception(error)
    return 1


@contextmanager
def _signals(runner: Runner, deadline: ProcessDeadline, limit: float) -> Iterator[None]:
    """Interrupt the runner on SIGTERM, Ctrl-C and SIGHUP, and start the deadline."""
    loop = Loop()

    def interrupt(signum: int, frame: FrameType | None) -> None:
        deadline.start(limit)
        loop.soon(runner.interrupt)

    previous = {}
    if threading.current_thread() is threading.main_thread():
        for signum in _STOP:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                previous[signum] = signal.signal(signum, interrupt)
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
