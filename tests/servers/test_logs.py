"""What `kui run` logs, and where: docs/guides/logging.md."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from kui.serving.binding import CannotServe
from kui.serving.logs import set_up_logging
from tests.support.process import get

from .conftest import KuiRun

APP = "tests.servers.logged:app"

JSON = {
    "version": 1,
    "formatters": {"short": {"format": "SHORT %(levelname)s %(name)s %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "short"}},
    "root": {"handlers": ["out"], "level": "DEBUG"},
}
TOML = """
version = 1

[formatters.short]
format = "SHORT %(levelname)s %(name)s %(message)s"

[handlers.out]
class = "logging.StreamHandler"
formatter = "short"

[root]
handlers = ["out"]
level = "DEBUG"
"""

FORMATTER = """
import logging
from kui.asgi import Kui

app = Kui()

class Formatter(logging.Formatter):
    def format(self, record):
        return "MINE " + record.getMessage()
"""


def test_a_request_that_fails_is_logged_once_with_its_method_and_path(kui_run: KuiRun) -> None:
    server = kui_run(APP)
    assert get(server.find_url() + "/fail/%0Aann?token=secret").status_code == 500
    server.wait_until(lambda: "LookupError: no such order" in server.log)
    assert server.stop() == 0
    assert server.log.count("Traceback") == 1
    assert server.log.count("LookupError: no such order") == 1
    assert "kui.error" in server.log
    assert "GET /fail/%0Aann" in server.log
    assert "secret" not in server.log


def test_records_of_the_app_are_printed_from_info_on(kui_run: KuiRun) -> None:
    server = kui_run(APP)
    server.find_url()
    assert server.stop() == 0
    assert server.log.count("INFO shop.orders: the shop is open") == 1
    assert "nobody knows" not in server.log


def test_an_app_that_configures_logging_decides(kui_run: KuiRun) -> None:
    server = kui_run("tests.servers.logged:configured")
    server.find_url()
    assert server.stop() == 0
    assert server.log.count("the shop is open") == 1
    assert "MINE shop.orders the shop is open" in server.log
    assert "MINE kui.server Listening on" in server.log


@pytest.mark.parametrize(("name", "text"), [("log.json", json.dumps(JSON)), ("log.toml", TOML)])
def test_a_file_may_configure_it(kui_run: KuiRun, tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    server = kui_run(APP, "--log-config", str(path))
    server.find_url()
    assert server.stop() == 0
    assert server.log.count("SHORT INFO shop.orders the shop is open") == 1
    assert server.log.count("SHORT DEBUG shop.orders and nobody knows") == 1
    assert "SHORT INFO kui.server Listening on" in server.log


@pytest.mark.parametrize("flags", [[], ["--workers", "2"], ["--reload"]])
def test_it_may_name_a_class_of_the_project(
    kui_run: KuiRun, tmp_path: Path, flags: list[str]
) -> None:
    (tmp_path / "mine.py").write_text(FORMATTER)
    config = {**JSON, "formatters": {"short": {"()": "mine.Formatter"}}}
    (tmp_path / "log.json").write_text(json.dumps(config))
    server = kui_run("mine:app", "--log-config", "log.json", *flags, cwd=str(tmp_path))
    server.find_url()
    assert server.stop() == 0
    assert "MINE Listening on" in server.log


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.toml", "version = "),
        ("log.json", "[]"),
        ("log.json", "{"),
        ("log.json", '{"version": 2}'),
        ("log.json", '{"version": 1, "handlers": {"a": {"class": "no.such.Handler"}}}'),
        ("log.json", '{"version": 1, "root": {"handlers": ["none"]}}'),
    ],
)
def test_what_cannot_be_a_configuration_is_one_line(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(CannotServe, match=rf"the log configuration .*{name} is wrong: ."):
        set_up_logging(path)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="cannot be read: No such file or directory"):
        set_up_logging(tmp_path / "none.toml")


def test_what_is_configured_already_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.NullHandler()])
    monkeypatch.setattr(logging, "lastResort", None)
    level = root.level
    set_up_logging()
    assert root.level == level
    assert len(root.handlers) == 1
