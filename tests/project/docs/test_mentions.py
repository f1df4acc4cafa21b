"""The files and sections that code and pages mention exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("kui", "tests", "docs", "examples", "benchmarks")
FILE = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})(?:/[\w.-]+)*/[\w-]+\.(?:py|md)\b")
SECTION = re.compile(r'(docs/[\w/-]+\.md),\s+"([^"\n]+(?:\n[^"\n]+)?)"')
BREAK = re.compile(r"\s*\n[\s#]*")
"""A line break in a mention, with the indentation and the `#` of a comment behind it."""


def texts() -> Iterator[tuple[Path, str]]:
    pages = [*ROOT.glob("*.md")]
    for folder in FOLDERS:
        pages += [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.md")]
    for path in sorted(pages):
        # What is made by a build, or copied by a test, is not of this project.
        if not {"_build", "node_modules"} & {*path.parts}:
            yield path.relative_to(ROOT), path.read_text()


def test_every_file_that_is_mentioned_exists() -> None:
    mentions = {(path, file) for path, text in texts() for file in FILE.findall(text)}
    assert len(mentions) > 50
    missing = {(str(path), file) for path, file in mentions if not (ROOT / file).exists()}
    assert not missing


def test_every_section_that_is_mentioned_exists() -> None:
    mentions = {
        (path, page, BREAK.sub(" ", section))
        for path, text in texts()
        for page, section in SECTION.findall(text)
    }
    assert len(mentions) > 10
    for path, page, section in mentions:
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.M)
        assert section in headings, f"{path} mentions a section that {page} has not: {section}"
