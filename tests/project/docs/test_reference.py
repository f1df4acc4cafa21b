"""What the reference lists, and what there is to be listed, are the same; the pages build without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import kui.asgi
import kui.channels
import kui.testing

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("asgi.md", kui.asgi.__all__),
        ("channels.md", kui.channels.__all__),
        ("testing.md", kui.testing.__all__),
    ],
    ids=["kui.asgi", "kui.channels", "kui.testing"],
)
def test_every_public_name_is_in_the_reference(page: str, names: list[str]) -> None:
    text = (DOCS / "reference" / page).read_text()
    assert set(re.findall(r"^\.\. auto\w+:: (\w+)$", text, re.M)) == set(names)


def test_every_command_is_in_the_reference() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "kui", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = set(re.findall(r"^    (\w+)  ", told, re.M))
    text = (DOCS / "reference" / "command-line.md").read_text()
    assert set(re.findall(r"^## kui (\w+)$", text, re.M)) == commands != set()


@pytest.mark.timeout(300)
def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*build, "-d", str(tmp_path / "trees"), str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "index.html").exists()
