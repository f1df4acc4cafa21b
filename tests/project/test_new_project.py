"""`kui new`, `kui run` without an argument, `kui --version`."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from kui import __version__
from kui.cli import main
from kui.distribution import other_distributions
from kui.new_project import FILES
from kui.serving.binding import CannotServe
from kui.serving.importing import find_app
from tests.servers.conftest import backend, launch  # noqa: F401 - fixtures
from tests.support.process import ServerProcess


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["new", str(tmp_path / "service")]) == 0
    assert str(tmp_path / "service" / "app.py") in capsys.readouterr().out
    return tmp_path / "service"


@pytest.mark.timeout(600)
def test_a_new_project_passes_its_own_tests_and_the_type_checker(project: Path) -> None:
    pytest_run = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:asyncio",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
    ]
    for command in (
        pytest_run,
        [sys.executable, "-m", "mypy", "--strict", "app.py", "test_app.py"],
    ):
        done = subprocess.run(command, cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_project_is_served_without_naming_its_app(
    project: Path,
    backend: str,  # noqa: F811 - a fixture
    launch: Callable[..., ServerProcess],  # noqa: F811
) -> None:
    command = [sys.executable, "-m", "kui", "run", "--backend", backend, "--bind", "127.0.0.1:0"]
    server = launch(command, cwd=project)
    url = server.find_url()
    assert "kui: serving app:app" in server.log
    with urllib.request.urlopen(f"{url}/hello/Ada", timeout=30) as response:
        assert response.read() == b'{"message":"Hello, Ada!"}'


def test_nothing_is_overwritten(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "test_app.py").write_text("mine")
    (project / "app.py").unlink()
    assert main(["new", str(project)]) == 1
    assert "test_app.py exists already" in capsys.readouterr().err
    assert (project / "test_app.py").read_text() == "mine"
    assert not (project / "app.py").exists()


def test_a_directory_that_cannot_be_made_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["new", str(tmp_path / "file" / "service")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("files", "spec"),
    [
        (["app.py", "main.py"], "app:app"),
        (["main.py"], "main:app"),
        (["main/__init__.py"], "main:app"),
    ],
)
def test_the_app_of_the_current_directory_is_found(
    files: list[str], spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    assert find_app() == spec


def test_where_there_is_no_app_the_command_says_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CannotServe, match="name the app, as module:app"):
        find_app()


def test_the_version_warns_of_another_distribution_of_that_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(other_distributions()) == []
    monkeypatch.setattr(metadata, "packages_distributions", lambda: {"kui": ["kui-anyio", "kui"]})
    monkeypatch.setattr(metadata, "version", lambda name: "1.15.0")
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    told = capsys.readouterr()
    assert told.out == f"kui {__version__}\n"
    assert "kui 1.15.0 is another package" in told.err


def test_the_container_runs_what_the_project_has() -> None:
    assert "COPY app.py ." in FILES["Containerfile"]
    assert '"app:app"' in FILES["Containerfile"]


@pytest.mark.timeout(600)
def test_a_wheel_made_of_the_sdist_runs_the_examples_in_an_empty_environment(
    tmp_path: Path,
    launch: Callable[..., ServerProcess],  # noqa: F811
) -> None:
    root = Path(__file__).parents[2]
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(root)]
    subprocess.run(build, check=True, capture_output=True)  # an sdist, and a wheel made of it
    (wheel,) = tmp_path.glob("kui_anyio-*.whl")
    assert list(tmp_path.glob("kui_anyio-*.tar.gz"))
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraints = {**os.environ, "PIP_CONSTRAINT": str(root / "constraints.txt")}
    subprocess.run([*pip, str(wheel)], check=True, env=constraints, capture_output=True)
    typed = "import kui, pathlib; print(pathlib.Path(kui.__file__).with_name('py.typed').exists())"
    (tmp_path / "examples").symlink_to(root / "examples")
    done = subprocess.run([str(python), "-c", typed], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "True\n"
    for example in ("showcase", "chat", "layout"):
        command = [str(environment / "bin" / "kui"), "run", f"examples.{example}:app"]
        server = launch([*command, "--bind", "127.0.0.1:0"], cwd=tmp_path, PYTHONPATH="")
        with urllib.request.urlopen(f"{server.find_url()}/", timeout=30) as response:
            assert response.status == 200
