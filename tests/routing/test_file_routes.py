"""A package of modules as a tree of routes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from kui.routing import RouteTable
from kui.routing.modules import FileRoutes

MakePackage: TypeAlias = Callable[[dict[str, str]], str]

GET = "async def get(): return __name__\n"
_numbers = count()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePackage]:
    """Makes a package of files, given as path -> source, and tells its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def make(files: dict[str, str]) -> str:
        name = f"pages_{next(_numbers)}"
        made.append(name)
        for path, source in {"__init__.py": "", **files}.items():
            file = tmp_path / name / path
            for directory in (file.parent, *file.parent.parents):
                if tmp_path in directory.parents:
                    directory.mkdir(parents=True, exist_ok=True)
                    (directory / "__init__.py").touch()
            file.write_text(source)
        return name

    yield make
    for module in list(sys.modules):
        if module.partition(".")[0] in made:
            del sys.modules[module]


@pytest.mark.parametrize(
    ("file", "path", "name"),
    [
        ("index.py", "/", "index"),
        ("about.py", "/about", "about"),
        ("users/__init__.py", "/users", "users"),
        ("users/index.py", "/users/", "users.index"),
        ("users/new_one.py", "/users/new_one", "users.new_one"),
        ("_name_.py", "/{name}", "name"),
        ("_user_id_.py", "/{user_id}", "user_id"),
        ("users/_id__int_.py", "/users/{id:int}", "users.id"),
        ("users/_id__int_/__init__.py", "/users/{id:int}", "users.id"),
        ("users/_id__int_/posts.py", "/users/{id:int}/posts", "users.id.posts"),
        ("files/_path__any_.py", "/files/{path:any}", "files.path"),
    ],
)
def test_the_place_of_a_module_is_its_path_and_its_name(
    package: MakePackage, file: str, path: str, name: str
) -> None:
    routes = FileRoutes(package({file: GET}))
    assert [(route.path, route.name) for route in routes] == [(path, name)]


@pytest.mark.anyio
async def test_the_functions_of_a_module_are_its_methods(package: MakePackage, ask: Any) -> None:
    source = "".join(f"async def {name}(): return '{name}'\n" for name in ("get", "put", "handler"))
    router = RouteTable("/p" // FileRoutes(package({"x.py": source}), namespace="n"))
    assert await ask(router, "HEAD", "/p/x") == "get"
    assert await ask(router, "PUT", "/p/x") == "put"
    assert await ask(router, "PATCH", "/p/x") == "handler"
    assert router.url_for("n:x") == "/p/x"


@pytest.mark.anyio
async def test_a_handler_may_be_a_view(package: MakePackage, ask: Any) -> None:
    source = (
        "from kui.views import HttpView\n"
        "class handler(HttpView):\n"
        "    async def post(self): return 'view'\n"
    )
    router = RouteTable(FileRoutes(package({"x.py": source})))
    assert await ask(router, "POST", "/x") == "view"
    assert await ask(router, "GET", "/x") == (405, "OPTIONS, POST")


def test_a_module_may_have_a_socket(package: MakePackage) -> None:
    router = RouteTable(FileRoutes(package({"x.py": GET + "async def socket(): ...\n"})))
    assert router.socket_routes.search("/x") is not None
    assert router.http_routes.search("/x", "GET") is not None
    assert router.url_for("x") == "/x"


@pytest.mark.anyio
async def test_a_module_has_a_name_and_middlewares_of_its_own(
    package: MakePackage, ask: Any
) -> None:
    source = (
        "def shout(endpoint):\n"
        "    async def shouting(): return (await endpoint()).upper()\n"
        "    return shouting\n"
        "MIDDLEWARES = [shout]\n"
        "NAME = 'own'\n"
        "def get(): return 'get'\n"
        "def post(): return 'post'\n"
    )
    router = RouteTable(FileRoutes(package({"x.py": source})))
    assert await ask(router, "GET", "/x") == "GET"
    assert await ask(router, "POST", "/x") == "POST"
    assert router.url_for("own") == "/x"


def test_names_that_begin_with_an_underscore_are_left_alone(package: MakePackage) -> None:
    broken = "raise LookupError\n"
    files = {"_helpers.py": broken, "__main__.py": broken, "_x/y.py": broken, "a.py": GET}
    assert [route.path for route in FileRoutes(package(files))] == ["/a"]


def test_modules_are_imported_once(package: MakePackage) -> None:
    name = package(
        {"x.py": "import sys\nsys.imported_x = getattr(sys, 'imported_x', 0) + 1\n" + GET}
    )
    try:
        first = FileRoutes(name)
        second = FileRoutes(sys.modules[name])
        assert first == second
        assert sys.imported_x == 1
    finally:
        del sys.imported_x


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({"a/x.py": "import nothing_of_this_name\n"}, ImportError, "nothing_of_this_name"),
        ({"a/x.py": "def get(:\n"}, ImportError, "SyntaxError"),
        ({"a/x.py": "1 / 0\n"}, ImportError, "ZeroDivisionError"),
        ({"a/x.py": ""}, ValueError, "no handler is here: define get"),
        ({"a/x.py": "get = 5\n"}, TypeError, "5 is not callable"),
        ({"a/_x__nope_.py": GET}, ValueError, "no converter 'nope'"),
        ({"a/_x__any_/y.py": GET}, ValueError, "move it to the end"),
        ({"a/_x_/_x_.py": GET}, ValueError, "parameter 'x' twice"),
        ({"a/_x_.py": GET, "a/_y_.py": GET}, ValueError, "answer GET there"),
    ],
)
def test_an_error_names_the_file(
    package: MakePackage, files: dict[str, str], error: type[Exception], message: str
) -> None:
    name = package(files)
    with pytest.raises(error, match=message) as raised:
        FileRoutes(name)
    assert str(Path(name) / list(files)[-1]) in str(raised.value)


def test_a_module_is_no_package(package: MakePackage) -> None:
    name = package({"x.py": GET})
    with pytest.raises(ValueError, match=r"x\.py is a module, not a package"):
        FileRoutes(f"{name}.x")
    with pytest.raises(ImportError):
        FileRoutes(f"{name}.nothing")
