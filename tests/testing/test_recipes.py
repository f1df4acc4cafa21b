"""The examples of docs/guides/testing.md, run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "guides" / "testing.md"
BLOCKS = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S))
RECIPES = [name for name in BLOCKS if name.startswith("test_")]


def test_there_are_five_recipes_and_two_examples() -> None:
    headings = re.findall(r"^## Recipe: (.*)$", DOCUMENT.read_text(), re.M)
    assert headings == [
        "a JSON API",
        "an upload",
        "an event stream",
        "a chat",
        "a shutdown",
    ]
    assert len(RECIPES) == 8


@pytest.mark.parametrize("name", RECIPES)
def test_it_works_as_it_is_printed(pytester: pytest.Pytester, name: str) -> None:
    app = name.removeprefix("test_")
    files = {part: BLOCKS[part] for part in (app, name) if part in BLOCKS}
    pytester.makepyfile(**files)
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
    outcome = result.parseoutcomes()
    assert set(outcome) == {"passed"}
    assert outcome["passed"] == 2 * files[name].count("\nasync def test_") + 6 * (
        files[name].count("@pytest.mark.parametrize")
    )
