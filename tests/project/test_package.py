"""What holds for the package as a whole: what an import loads, and who may know an event loop."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kui
import kui.asgi

ROOT = Path(kui.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
KNOWS_THE_LOOPS = (ROOT / "concurrency", ROOT / "testing", ROOT / "serving")


def imported(module: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("name", ["kui", "kui.asgi"])
def test_an_import_loads_nothing_that_is_not_used(name: str) -> None:
    heavy = [
        *("jinja2", "pydantic", "hypercorn", "httpx2", "trio", "msgspec"),
        *("httptools", "h2", "websockets"),
        *("kui.testing", "kui.channels"),
    ]
    code = f"import sys, {name}; print([m for m in {heavy!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_channels_load_redis_only_for_a_url() -> None:
    code = (
        "import sys; from kui.channels import Channels; Channels(); print('coredis' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_concurrency_package_and_the_runner_know_an_event_loop(module: Path) -> None:
    if not any(place in (module, *module.parents) for place in KNOWS_THE_LOOPS):
        assert not imported(module) & {"asyncio", "trio"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_longer_than_one_can_hold_in_mind(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 450


def test_every_name_of_kui_asgi_is_one_of_kui() -> None:
    assert kui.__version__
    for name in kui.asgi.__all__:
        assert getattr(kui, name) is getattr(kui.asgi, name)
        assert name in dir(kui)
    with pytest.raises(AttributeError, match="nonsense"):
        kui.nonsense  # noqa: B018 - the access is what is tested


def test_every_public_name_says_what_it_is() -> None:
    undocumented = [
        name
        for name in kui.asgi.__all__
        if callable(getattr(kui.asgi, name))
        and getattr(kui.asgi, name).__module__.startswith("kui.")
        and not getattr(kui.asgi, name).__doc__
    ]
    assert undocumented == []
