"""The command line: what it says when something is wrong, and the table of routes."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kui import __version__
from kui.cli import main

APP = """
from kui.asgi import HttpView, Kui

app = Kui()

@app.router.http.get("/")
async def index():
    return "hello"

@app.router.http("/items/{id:int}", name="item")
class Item(HttpView):
    async def get(self):
        return "item"
    async def delete(self):
        return ""

@app.router.http.post("/nameless", name=None)
async def nameless():
    return ""

@app.router.websocket("/chat")
async def chat():
    pass

class inner:
    app = app
    number = 7

def create_app():
    return app

async def make_later():
    return app
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory with a module `cli_app`, and the import system as it was."""
    (tmp_path / "cli_app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    ours = logging.getLogger("kui")
    handlers, level = list(ours.handlers), ours.level
    yield tmp_path
    ours.handlers[:] = handlers
    ours.setLevel(level)
    for name in set(sys.modules) - known:
        if name.partition(".")[0] not in ("kui", "jinja2", "markupsafe"):
            del sys.modules[name]


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was written to stderr, and nothing to stdout."""
    written = capsys.readouterr()
    assert written.out == ""
    return written.err.splitlines()


@pytest.mark.parametrize("command", ["run", "routes"])
@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("nowhere:app", "kui: there is no module 'nowhere' to import from {here}"),
        ("nowhere.deeper:app", "kui: there is no module 'nowhere' to import from {here}"),
        ("cli_app.deeper:app", "kui: there is no module 'cli_app.deeper' to import from {here}"),
        ("cli_app:application", "kui: the module 'cli_app' has no 'application'"),
        ("cli_app:inner.nothing", "kui: the module 'cli_app' has no 'inner.nothing'"),
        ("cli_app:create()", "kui: the module 'cli_app' has no 'create'"),
        ("cli_app:inner.number", "kui: cli_app:inner.number is no app, but 7"),
        ("cli_app:inner.number()", "kui: cli_app:inner.number is no function that makes an app"),
        (
            "cli_app.py",
            "kui: there is no module 'cli_app.py' to import from {here}; a module is named without .py",
        ),
        (
            "cli_app:make_later()",
            "kui: cli_app:make_later() is an async def; a function that makes an app is a def",
        ),
        (
            "cli/app.py:app",
            "kui: 'cli/app.py:app' does not name an app: write module:app or module:create_app()",
        ),
    ],
)
def test_a_wrong_name_is_one_line_and_status_1(
    command: str, spec: str, line: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, spec]) == 1
    assert lines(capsys) == [line.format(here=here)]


@pytest.mark.parametrize("command", ["run", "routes"])
def test_a_function_that_makes_an_app_is_none(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "cli_app:create_app"]) == 1
    (line,) = lines(capsys)
    assert line.startswith("kui: cli_app:create_app is no ASGI app, but <function create_app")
    assert line.endswith(": write cli_app:create_app()")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            ["--bind", "nonsense:"],
            "kui: cannot listen on nonsense:: a port is a number up to 65535",
        ),
        (
            ["--certfile", "missing.pem"],
            "kui: cannot read missing.pem: No such file or directory",
        ),
        (["--keyfile", "missing.pem"], "kui: a key needs its certificate: give certfile too"),
        (["--workers", "0"], "kui: there is at least one worker, not 0"),
        (["--graceful-timeout", "-1"], "kui: graceful_timeout is a number of seconds, not -1.0"),
        (["--root-path", "shop"], "kui: root_path begins with a slash: 'shop' does not"),
        (
            ["--root-path-in-path"],
            "kui: root_path_in_path says where root_path is: give root_path too",
        ),
        (
            ["--bind", "127.0.0.1:0", "--port", "0"],
            "kui: --bind says where to listen, and so do --host and --port: give one of them",
        ),
        (
            ["--host", "[::1", "--port", "1"],
            "kui: cannot listen on '[::1:1': write HOST:PORT, [IPv6]:PORT or unix:PATH",
        ),
        (
            ["--forwarded-allow-ips", "proxy", "--bind", "127.0.0.1:0"],
            "kui: forwarded_allow_ips: 'proxy' is neither an address nor a network such as 10.0.0.0/8",
        ),
    ],
)
def test_an_option_that_cannot_be_is_one_line_and_status_1(
    flags: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "cli_app:app", *flags]) == 1
    assert lines(capsys) == [line]


def test_a_missing_uvloop_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["run", "cli_app:app", "--backend", "uvloop"]) == 1
    (line,) = lines(capsys)
    assert "pip install uvloop" in line


@pytest.mark.parametrize("command", ["run", "routes"])
@pytest.mark.parametrize(
    ("source", "last"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("app = (", "SyntaxError: '(' was never closed"),
    ],
)
def test_what_the_module_raises_is_shown_with_its_traceback(
    command: str, source: str, last: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "broken_app.py").write_text(source)
    assert main([command, "broken_app:app"]) == 1
    written = lines(capsys)
    assert written[0].startswith("Traceback") and written[-1] == last
    assert any("broken_app.py" in line for line in written)


def test_the_routes_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes", "cli_app:app"]) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert table[0] == ["METHODS", "PATH", "NAME", "ENDPOINT"]
    assert [row[1:3] for row in table[1:]] == [
        ["/", "index"],
        ["/items/{id:int}", "item"],
        ["/nameless", "-"],
        ["/chat", "chat"],
    ]
    assert [
        set(row[0].split(",")) & {"GET", "DELETE", "POST", "WEBSOCKET"} for row in table[1:]
    ] == [
        {"GET"},
        {"GET", "DELETE"},
        {"POST"},
        {"WEBSOCKET"},
    ]
    assert "Item" in table[2][3]


def test_a_mount_is_one_route_and_a_mounted_app_shows_its_own(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = """
from kui.asgi import Kui, Mount

async def other(scope, receive, send): pass

def middleware(endpoint):
    return endpoint

from cli_app import app as inner
app = Kui(routes=[Mount("/in/{tenant}", inner) @ middleware, Mount("/other", other, name="other")])
"""
    (here / "outer_app.py").write_text(source)
    assert main(["routes", "outer_app:app"]) == 0
    table = [line.split()[:3] for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[1:] for row in table] == [
        ["/in/{tenant}/{path:any}", "-"],
        ["/in/{tenant}/", "index"],
        ["/in/{tenant}/items/{id:int}", "item"],
        ["/in/{tenant}/nameless", "-"],
        ["/in/{tenant}/chat", "chat"],
        ["/other/{path:any}", "other"],
    ]
    assert [row[0] for row in table if row[0] in ("MOUNT", "WEBSOCKET", "*")] == [
        "MOUNT",
        "WEBSOCKET",
        "MOUNT",
    ]


@pytest.mark.parametrize("command", ["routes", "openapi"])
def test_without_a_name_the_app_is_looked_for(
    here: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 1
    assert "there is neither app.py nor main.py" in capsys.readouterr().err
    (here / "main.py").write_text(
        "from kui.asgi import Kui\nfrom kui.openapi import OpenAPI\napp = Kui(openapi=OpenAPI(title='Shop'))\n"
    )
    assert main([command]) == 0
    assert ("/docs" if command == "routes" else "Shop") in capsys.readouterr().out


@pytest.mark.parametrize("spec", ["cli_app", "cli_app:create_app()", "cli_app:inner.app"])
def test_an_app_may_be_named_in_several_ways(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes", spec]) == 0
    assert "/items/{id:int}" in capsys.readouterr().out


def test_only_a_kui_app_has_routes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bare_app.py").write_text("async def app(scope, receive, send): pass")
    assert main(["routes", "bare_app"]) == 1
    (line,) = lines(capsys)
    assert line.startswith("kui: bare_app is no Kui application")


def test_a_reader_that_has_enough_is_no_error(here: Path) -> None:
    running = subprocess.run(
        f"{sys.executable} -m kui routes cli_app:app | true",
        shell=True,
        capture_output=True,
        text=True,
        cwd=here,
        timeout=30,
    )
    assert running.stderr == ""


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"kui {__version__}\n"


def test_python_m_kui_is_the_same_command(here: Path) -> None:
    running = subprocess.run(
        [sys.executable, "-m", "kui", "routes", "cli_app:app"],
        capture_output=True,
        text=True,
        cwd=here,
        timeout=30,
    )
    assert running.returncode == 0
    assert "/items/{id:int}" in running.stdout


def test_a_program_that_calls_the_command_goes_on(here: Path) -> None:
    code = (
        "import sys, threading, kui.cli\n"
        "kui.cli.LAST = 0\n"
        "assert kui.cli.main(sys.argv[1:]) == 1\n"
        "for thread in threading.enumerate()[1:]: thread.join()\n"
        "print('goes on')\n"
    )
    running = subprocess.run(
        [sys.executable, "-c", code, "run", "nowhere:app"],
        capture_output=True,
        text=True,
        cwd=here,
        timeout=30,
    )
    assert running.stdout == "goes on\n"
