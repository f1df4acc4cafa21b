"""Every Python block of the pages and of the README runs, and what it tests passes, on both loops.

The Python blocks below one heading of the second level make one module. A block of any language whose first line is
a comment with a file's name, such as `# shop.py`, is that file. Functions `test_*` are run by pytest.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import find_postgres, postgres

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[3]
CONFTEST = """
import pytest


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request):
    return request.param


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.anyio)
"""
"""Written beside the blocks of a page. As a file in this folder it would count for all tests of the project."""
# Pages whose blocks have tests of their own, beside what they describe, and directories of built pages.
LEFT_OUT = {"lookup.md", "mounting.md", "streams.md", "testing.md", "websockets.md"}
BUILT = {"_build", "generated"}
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.name not in LEFT_OUT and BUILT.isdisjoint(page.parts)
]
BLOCK = re.compile(
    r"^(?:## (?P<heading>[^\n]*)|```(?P<language>\w+)\n(?P<code>.*?)^```$)", re.M | re.S
)
FILE = re.compile(r"(?:#|<!--|/\*|//) ([\w/-]+\.\w+)(?: -->| \*/)?\n")


def files_of(page: Path) -> dict[str, str]:
    """Return the files that the blocks of a page make, by their names."""
    files: dict[str, str] = {}
    sections: defaultdict[str, list[str]] = defaultdict(list)
    heading = "beginning"
    for match in BLOCK.finditer(page.read_text()):
        if match["code"] is None:
            heading = match["heading"]
        elif (named := FILE.match(match["code"])) is not None:
            files[named[1]] = match["code"]
        elif match["language"] == "python":
            sections[heading].append(match["code"])
    for number, (heading, blocks) in enumerate(sections.items()):
        slug = re.sub(r"\W+", "_", heading).strip("_").lower()
        files[f"test_{number}_{slug}.py"] = "\n\n".join([*blocks, "def test_it_runs(): pass\n"])
    return files


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Postgres server, for the pages that speak of it; KUI_REQUIRE_POSTGRES makes its lack a failure."""
    programs = find_postgres()
    if programs is None:
        reason = "no Postgres is installed: apt-get install postgresql"
        if os.environ.get("KUI_REQUIRE_POSTGRES"):
            pytest.fail(reason)
        pytest.skip(reason)
    with postgres(programs) as conninfo:
        monkeypatch.setenv("DATABASE", conninfo)
        yield


def test_the_pages_are_found() -> None:
    assert len(PAGES) > 5


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if files_of(page)], ids=lambda page: page.stem
)
def test_the_blocks_of_a_page_run(
    page: Path, pytester: pytest.Pytester, request: pytest.FixtureRequest
) -> None:
    files = files_of(page)
    if any('os.environ["DATABASE"]' in source for source in files.values()):
        request.getfixturevalue("database")
    for name, source in {"conftest.py": CONFTEST, **files}.items():
        file = pytester.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    pytester.makeini("[pytest]\nfilterwarnings = error\ntimeout = 60\n")
    result = pytester.runpytest_subprocess(
        "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "--rootdir=."
    )
    assert set(result.parseoutcomes()) <= {"passed"}
    assert result.ret == 0, result.outlines
