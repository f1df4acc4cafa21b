"""From `module:app` on a command line to an ASGI app, or to one sentence that says what is wrong."""

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
"""The modules that are looked for where no app is named."""


def importable_here() -> str:
    """Let modules be imported from the current directory; return it."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    return here


def find_app() -> str:
    """Return the spec of the app in the current directory: `app:app`, or else `main:app`.

    :raises CannotServe: if there is neither `app.py` nor `main.py`, nor a package of that name.
    """
    here = Path.cwd()
    for name in USUAL_MODULES:
        if here.joinpath(f"{name}.py").is_file() or here.joinpath(name, "__init__.py").is_file():
            return f"{name}:app"
    raise CannotServe(
        f"there is neither app.py nor main.py in {here}; name the app: kui run module:app"
    )


def load_app(spec: str) -> ASGIApp:
    """Import the app that `spec` names; the current directory can be imported from.

    Parameters: `spec`, `package.module:attribute`, where the attribute may be dotted, `app` if it
    is left out, and ends with `()` if it is a function that makes the app.
    Raises CannotServe when there is no such module or attribute, or it is no app; what the module
    itself, or the function, raises is raised as it is.

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
