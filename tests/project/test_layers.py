"""Imports run one way, those for types included: `LAYERS` says which."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import kui

ROOT = Path(kui.__file__).parent

LAYERS = (
    {
        "argument_checks",
        "concurrency",
        "distribution",
        "endpoints",
        "habits",
        "http",
        "limits",
        "on_demand",
    },
    {"connections", "forms", "lifespan", "lifetime"},
    {"current", "exceptions", "parameters", "requests", "responses", "templating", "websockets"},
    {"middlewares", "overrides", "request_cycle", "routing", "views"},
    {"applications"},
    {"asgi_apps", "channels", "openapi", "security", "serving", "testing"},
    {"asgi", "kui"},
    {"__main__", "cli", "new_project"},
)
"""The units of `kui`, modules and packages, from the lowest. A unit imports from its own layer and from lower ones."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {name_of(path): path for path in ROOT.rglob("*.py")}


def imports_of(module: str) -> Iterator[str]:
    """The modules of Kui that a module imports anywhere: at its top, in a function, or for types only."""
    path = PATHS[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in PATHS)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                above = parts[: len(parts) - node.level + 1]
                base = ".".join([*above, node.module] if node.module else above)
            for alias in node.names:
                if f"{base}.{alias.name}" in PATHS:
                    yield f"{base}.{alias.name}"
                elif base in PATHS:
                    yield base


GRAPH = {module: set(imports_of(module)) - {module} for module in PATHS}


def unit(module: str) -> str:
    """The module or package directly below `kui` that a module belongs to."""
    return module.split(".")[1] if "." in module else module


def layer(module: str) -> int:
    found = [at for at, units in enumerate(LAYERS) if unit(module) in units]
    assert found, f"{module} belongs to no layer: add {unit(module)!r} to LAYERS"
    return found[0]


def test_no_module_imports_itself_by_way_of_others() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", sorted(GRAPH))
def test_a_module_imports_nothing_from_above_its_layer(module: str) -> None:
    above = [each for each in GRAPH[module] if layer(each) > layer(module)]
    assert not above


FIRST = """
import importlib, sys
for module in sys.argv[1:]:
    for loaded in [name for name in sys.modules if name.partition(".")[0] == "kui"]:
        del sys.modules[loaded]
    importlib.import_module(module)
"""


def test_each_module_and_package_can_be_imported_first() -> None:
    modules = [name for name in sorted(GRAPH) if name.count(".") == 1 and name != "kui.__main__"]
    subprocess.run([sys.executable, "-W", "error", "-c", FIRST, *modules], check=True)
