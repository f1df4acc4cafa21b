"""Import the ASGI app that `module:app` on a command line names, or say in one sentence what is wrong."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import cast

from baize.typing import ASGIApp

from kui.argument_checks import takes

from .binding import CannotServe

__all__ = ["find_app", "importable_here", "load_app"]

USUAL_MODULES = ("app", "main")
"""The modules that are looked for if no app is named."""


def importable_here() -> str:
    """Let modules be imported from the current directory; return it."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    return here


def find_app() -> str:
    """Return the name of the app in the current directory: `app:app`, or else `main:app`.

    :raises CannotServe: there is neither a module nor a package `app` or `main`.
    """
    here = Path.cwd()
    for name in USUAL_MODULES:
        if here.joinpath(f"{name}.py").is_file() or here.joinpath(name, "__init__.py").is_file():
            return f"{name}:app"
    raise CannotServe(f"there is neither app.py nor main.py in {here}; name the app, as module:app")


def load_app(spec: str) -> ASGIApp:
    """Import and return the app that `spec` names. Modules in the current directory can be imported.

    :param spec: `package.module:attribute`. The attribute may be dotted, is `app` by default, and ends with `()` if it
        is a function that makes the app.
    :raises CannotServe: there is no such module or attribute, or it is no app.
    :raises Exception: what the module or the function raises.

    Example: `load_app("shop.main:create_app()")`.
    """
    module_name, _, attribute = spec.partition(":")
    attribute = attribute or "app"
    path = attribute.removesuffix("()")
    if not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise CannotServe(f"{spec!r} does not name an app: write module:app or module:create_app()")
    here = importable_here()
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            hint = "; a module is named without .py" if module_name.endswith(".py") else ""
            raise CannotServe(
                f"there is no module {error.name!r} to import from {here}{hint}"
            ) from None
        raise
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise CannotServe(f"the module {module_name!r} has no {path!r}") from None
    if path != attribute:
        if not callable(found):
            raise CannotServe(f"{module_name}:{path} is no function that makes an app")
        found = found()
    if inspect.iscoroutine(found):
        found.close()
        raise CannotServe(f"{spec} is an async def; a function that makes an app is a def")
    if not callable(found):
        raise CannotServe(f"{spec} is no app, but {found!r}")
    if not takes(found, 3):
        advice = f": write {module_name}:{path}()" if path == attribute and takes(found, 0) else ""
        raise CannotServe(f"{spec} is no ASGI app, but {found!r}{advice}")
    return cast(ASGIApp, found)
