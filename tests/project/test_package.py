"""What holds for the package as a whole: what an import loads, and who may know an event loop."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import jinja2
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


PUBLIC = [getattr(kui.asgi, name) for name in kui.asgi.__all__]


@pytest.mark.parametrize(
    "public",
    [one for one in PUBLIC if inspect.isclass(one) or inspect.isfunction(one)],
    ids=lambda one: one.__name__,
)
def test_the_type_hints_of_public_names_can_be_evaluated(public: Any) -> None:
    get_type_hints(public)
    members = vars(public).values() if inspect.isclass(public) else ()
    for member in members:
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function):
            # Jinja2 is imported with the first templates only, because it need not be installed.
            get_type_hints(function, localns={"jinja2": jinja2})


@pytest.mark.parametrize("name", ["kui", "kui.asgi"])
def test_an_import_loads_nothing_that_is_not_used(name: str) -> None:
    heavy = [
        *("jinja2", "pydantic", "hypercorn", "httpx2", "trio", "msgspec"),
        *("httptools", "h2", "websockets"),
        *(
            "kui.testing",
            "kui.channels",
            "kui.asgi_apps.wsgi",
            "kui.forms.collector",
            "kui.websockets.session",
        ),
        *(
            "kui.middlewares.cors",
            "kui.parameters.planning",
            "kui.responses.file",
            "kui.responses.stream",
        ),
        *("ctypes", "html", "mimetypes", "pkgutil"),
    ]
    code = f"import sys, {name}; print([m for m in {heavy!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def names_on_demand(module: ast.Module) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What a module imports below `if TYPE_CHECKING:`, and what `on_demand` gets in its `else:`."""
    (choice,) = [node for node in module.body if isinstance(node, ast.If) and node.orelse]
    for_types = {
        "." * node.level + (node.module or ""): [alias.name for alias in node.names]
        for node in choice.body
        if isinstance(node, ast.ImportFrom)
    }
    (homes,) = [node for node in ast.walk(choice.orelse[0]) if isinstance(node, ast.Dict)]
    return for_types, ast.literal_eval(homes)


def calls_on_demand(module: Path) -> bool:
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func) == "on_demand"
        for node in ast.walk(ast.parse(module.read_text()))
    )


ON_DEMAND = [path for path in MODULES if calls_on_demand(path)]


@pytest.mark.parametrize("module", ON_DEMAND, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_imported_on_demand_is_what_type_checkers_see(module: Path) -> None:
    for_types, at_run_time = names_on_demand(ast.parse(module.read_text()))
    assert for_types == at_run_time
    assert for_types


def test_a_name_is_loaded_when_it_is_used() -> None:
    code = (
        "import sys, kui.asgi; before = 'kui.asgi_apps.wsgi' in sys.modules; kui.asgi.WSGI;"
        " print(before, 'kui.asgi_apps.wsgi' in sys.modules, 'WSGI' in vars(kui.asgi))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "True", "True"]


def test_a_name_that_is_nowhere_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'kui\.asgi' has no attribute 'nonsense'"):
        kui.asgi.nonsense  # noqa: B018 - the access is what is tested
    with pytest.raises(ImportError):
        exec("from kui.asgi import nonsense")


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
