"""`kui run --workers` and `--reload`: processes that share the sockets, and one that is started anew."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.process import ServerProcess, connect, get, read_until

from .conftest import KuiRun, Launch

APP = "tests.servers.apps:app"


def pids(server: ServerProcess, word: str, count: int) -> set[int]:
    """The workers that have said `word`, once there are so many."""
    return {int(match[1]) for match in server.find(rf"app: {word} (\d+)", count)}


def test_workers_share_the_address_and_a_signal_ends_all(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--workers", "3")
    url = server.find_url()
    workers = pids(server, "started", 3)
    assert len(workers) == 3 and server.pid not in workers
    server.find(r"Listening on", 3)
    assert int(get(url + "/pid").text) in workers
    assert server.stop() == 0
    assert pids(server, "shut down", 3) == workers


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
def test_the_signal_of_a_terminal_reaches_the_workers_once(
    kui_run: KuiRun, signum: signal.Signals
) -> None:
    server = kui_run(APP, "--workers", "2", "--graceful-timeout", "60")
    server.find_url()
    pids(server, "started", 2)
    with (
        connect(server, "/until_exit") as told,
        connect(server, "/body", "Content-Length: 1") as body,
    ):
        server.find("app: waiting", 2)
        os.killpg(server.pid, signum)
        assert b"it stops" in read_until(told, b"it stops")
        body.sendall(b"x")
        assert b"thank you" in read_until(body, b"thank you"), "a second signal would have ended it"
        assert server.wait() == 0
    assert server.log.count("app: shut down") == 2


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nohup_keeps_it_from_the_end_of_its_terminal(
    backend: str, launch: Launch, workers: str
) -> None:
    flags = ["--backend", backend, "--bind", "127.0.0.1:0", "--workers", workers]
    server = launch(["nohup", sys.executable, "-m", "kui", "run", APP, *flags])
    url = server.find_url()
    pids(server, "started", int(workers))
    os.killpg(server.pid, signal.SIGHUP)
    assert get(url + "/pid").text
    assert server.stop() == 0
    assert server.log.count("app: shut down") == int(workers)


def test_a_worker_that_dies_is_replaced(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--workers", "2")
    url = server.find_url()
    victim, survivor = pids(server, "started", 2)
    server.find(r"Listening on", 2)
    os.kill(victim, signal.SIGKILL)
    workers = pids(server, "started", 3)
    server.find(r"Listening on", 3)
    assert int(get(url + "/pid").text) in workers - {victim}
    assert f"Worker {victim} was killed by signal 9; another takes its place" in server.log
    assert server.stop() == 0
    assert pids(server, "shut down", 2) == workers - {victim}
    assert survivor in workers


def test_a_worker_whose_service_crashes_is_replaced(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--workers", "2")
    url = server.find_url()
    pids(server, "started", 2)
    assert get(url + "/crash").text == "started"
    pids(server, "started", 3)
    assert "ended with status 1; another takes its place" in server.log
    assert server.stop() == 0


def test_workers_end_when_their_parent_is_killed(kui_run: KuiRun) -> None:
    server = kui_run(APP, "--workers", "2")
    server.find_url()
    workers = pids(server, "started", 2)
    server.find(r"Listening on", 2)
    server.process.kill()
    assert pids(server, "shut down", 2) == workers


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("tests.servers.apps:nothing", "kui: the module 'tests.servers.apps' has no 'nothing'"),
        ("tests.servers.apps:fails_to_start()", "LookupError: no database"),
        ("tests.servers.apps:broken_factory()", "LookupError: nothing to build it from"),
    ],
)
def test_what_is_wrong_with_the_app_is_said_once(kui_run: KuiRun, spec: str, line: str) -> None:
    server = kui_run(spec, "--workers", "3")
    assert server.wait() == 1
    assert server.log.count(line) == 1


def test_a_worker_that_does_not_end_is_killed(backend: str, launch: Launch) -> None:
    code = "import kui.serving.process; kui.serving.process.LAST = 2.0; import sys, kui.cli; sys.exit(kui.cli.main())"
    flags = ["--backend", backend, "--bind", "127.0.0.1:0", "--workers", "2"]
    server = launch([sys.executable, "-c", code, "run", APP, *flags, "--graceful-timeout", "0"])
    server.find_url()
    pids(server, "started", 2)
    with connect(server, "/block"):
        server.find("app: waiting")
        assert server.stop() == 1
    assert server.log.count("not everything has ended in time") == 1


SOURCE = """
from tests.servers.apps import answer, say

say("imported")

async def app(scope, receive, send):
    if scope["type"] == "http":
        await answer(send, {text!r})
    else:
        raise RuntimeError("no lifespan")
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module that answers "one"."""
    path = tmp_path / "changing.py"
    path.write_text(SOURCE.format(text="one"))
    return path


def change(module: Path, source: str) -> None:
    """Put a new file in the module's place at once, with a time that no clock's coarseness hides."""
    new = module.with_suffix(".new")
    new.write_text(source)
    if module.exists():
        time = module.stat().st_mtime + 10
        os.utime(new, (time, time))
    new.replace(module)


def test_a_changed_file_starts_the_app_anew(kui_run: KuiRun, module: Path) -> None:
    server = kui_run("changing:app", "--reload", cwd=str(module.parent))
    url = server.find_url()
    assert get(url).text == "one"
    change(module, SOURCE.format(text="two"))
    server.find("Listening on", 2)
    assert get(url).text == "two"
    assert server.stop() == 0


@pytest.mark.parametrize("broken", ["app = (", "1 / 0", "import nowhere_to_be_found", "other = 1"])
def test_a_broken_file_is_told_and_waited_for(kui_run: KuiRun, module: Path, broken: str) -> None:
    server = kui_run("changing:app", "--reload", cwd=str(module.parent))
    url = server.find_url()
    change(module, broken)
    server.find("kui: waiting for a change")
    change(module, SOURCE.format(text="mended"))
    server.find("Listening on", 2)
    assert get(url).text == "mended"
    assert server.stop() == 0


def test_a_module_that_is_missing_may_be_written(kui_run: KuiRun, module: Path) -> None:
    module.write_text("from written_later import app")
    server = kui_run("changing:app", "--reload", cwd=str(module.parent))
    server.find("kui: waiting for a change")
    change(module.with_name("written_later.py"), SOURCE.format(text="written"))
    assert get(server.find_url()).text == "written"
    assert server.stop() == 0


PAGES = """
from kui.asgi import FileRoutes, Kui

app = Kui(routes=FileRoutes("pages"))
"""


@pytest.mark.parametrize("name", ["about.py", "about/__init__.py"])
def test_a_new_module_of_a_package_is_a_change(kui_run: KuiRun, module: Path, name: str) -> None:
    pages = module.with_name("pages")
    pages.mkdir()
    pages.joinpath("__init__.py").touch()
    module.write_text(PAGES)
    server = kui_run("changing:app", "--reload", cwd=str(module.parent))
    url = server.find_url()
    assert get(url + "/about").status_code == 404
    module = pages.joinpath(name)
    module.parent.mkdir(exist_ok=True)
    module.with_name("new").write_text("async def get():\n    return 'here'\n")
    module.with_name("new").rename(module)
    server.find("Listening on", 2)
    assert get(url + "/about").text == "here"
    assert server.stop() == 0


def test_of_several_workers_one_says_that_it_is_broken(kui_run: KuiRun, module: Path) -> None:
    change(module, "1 / 0")
    server = kui_run("changing:app", "--reload", "--workers", "2", cwd=str(module.parent))
    server.find("kui: waiting for a change")
    change(module, SOURCE.format(text="mended"))
    url = server.find_url()
    server.find("Listening on", 2)
    assert get(url).text == "mended"
    assert server.stop() == 0
    assert server.log.count("ZeroDivisionError") == 1


def test_it_may_be_broken_from_the_start(kui_run: KuiRun, module: Path) -> None:
    change(module, "app = (")
    server = kui_run("changing:app", "--reload", cwd=str(module.parent))
    server.find("kui: waiting for a change")
    change(module, SOURCE.format(text="mended"))
    assert get(server.find_url()).text == "mended"
    assert server.stop() == 0


def test_while_it_waits_for_a_change_a_signal_ends_it(kui_run: KuiRun, module: Path) -> None:
    change(module, "app = (")
    server = kui_run("changing:app", "--reload", cwd=str(module.parent))
    server.find("kui: waiting for a change")
    assert server.stop(signal.SIGINT) == 0
