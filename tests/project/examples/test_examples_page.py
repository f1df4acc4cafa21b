"""Every example is listed, and its command serves it."""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.conftest import launch  # noqa: F401 - a fixture
from tests.support.process import ServerProcess

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
LISTED = re.findall(r"^\| \[(\w+)\]\((\w+)\) ", (EXAMPLES / "README.md").read_text(), re.M)
NAMES = [name for name, _ in LISTED]


def test_every_example_is_listed() -> None:
    there = {file.parent.name for file in EXAMPLES.glob("*/__init__.py")}
    assert there == set(NAMES) == {folder for _, folder in LISTED}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_served(name: str, launch: Callable[..., ServerProcess]) -> None:  # noqa: F811
    command = [sys.executable, "-m", "kui", "run", f"examples.{name}:app"]
    url = launch([*command, "--bind", "127.0.0.1:0"]).find_url()
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            assert response.status == 200
    except urllib.error.HTTPError as error:
        assert error.code == 404  # an API without a page
