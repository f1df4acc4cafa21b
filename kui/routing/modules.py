"""Routes from the modules of a package: a module's place is its path, and its functions are the methods.

Modules are imported once, by `import`. Errors name the file, because no line of code registers the route.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Final

from .around import Middlewares
from .groups import MultimethodRoutes
from .routes import HttpRoute, SocketRoute

__all__ = ["FileRoutes"]

METHODS: Final = ("get", "post", "put", "patch", "delete", "head", "options", "trace")

_parameter = re.compile(r"_([^\W_]\w*?)(?:__(\w*?[^\W_]))?_")


class FileRoutes(MultimethodRoutes):
    """The routes of a package, with one path for each module.

    ==============================  ================================
    ``pages/index.py``              ``/``
    ``pages/about.py``              ``/about``
    ``pages/users/__init__.py``     ``/users``
    ``pages/users/index.py``        ``/users/``
    ``pages/users/_id__int_.py``    ``/users/{id:int}``
    ``pages/files/_path__any_.py``  ``/files/{path:any}``
    ``pages/_helpers.py``           none
    ==============================  ================================

    A module or package name between underscores is a parameter (`_id_`), with its converter after two more
    underscores (`_id__int_`). Other names that begin with an underscore are ignored. A module defines:

    - functions `get`, `post`, `put`, `patch`, `delete`, `head`, `options` and `trace` for these methods;
    - `handler`, a function or an HttpView, for all other methods;
    - `socket`, a function or a SocketView, for WebSockets;
    - `MIDDLEWARES`, a list of middlewares around these, if it needs some;
    - `NAME`, the name for `url_for`; the default is the module's path with dots (`users.id`, `users.index`).

    :param package: the package, or its name.
    :param namespace: as for Routes; so are `http_middlewares` and `socket_middlewares`.
    :raises ImportError: a module cannot be imported; the message names the file.
    :raises ValueError: a module defines no handler, or its routes are wrong; the message names the file. TypeError if
        a handler or a middleware is wrong.

    Example::

        app = Kui(routes="/admin" // FileRoutes("shop.admin_pages", namespace="admin"))
    """

    def __init__(
        self,
        package: str | ModuleType,
        *,
        namespace: str = "",
        http_middlewares: Middlewares = (),
        socket_middlewares: Middlewares = (),
    ) -> None:
        super().__init__(
            namespace=namespace,
            http_middlewares=http_middlewares,
            socket_middlewares=socket_middlewares,
        )
        root = import_module(package) if isinstance(package, str) else package
        if not hasattr(root, "__path__"):
            raise ValueError(
                f"{root.__file__} is a module, not a package: put the modules into a directory "
                f"with an __init__.py"
            )
        for module, path, name, needed in _modules(root, "", ""):
            try:
                self._add(module, path, name, needed)
            except (TypeError, ValueError) as exc:
                kind = TypeError if isinstance(exc, TypeError) else ValueError
                raise kind(f"{module.__file__}: {exc}") from exc

    def _add(self, module: ModuleType, path: str, default: str, needed: bool) -> None:
        """Add the routes of one module, which must have some if they are `needed`."""
        names = vars(module)
        middlewares = names.get("MIDDLEWARES", ())
        # All routes of a module have the same path, so only one of them gets the name.
        name: str | None = names.get("NAME", default)
        for method in (*METHODS, "handler"):
            if method in names:
                methods = None if method == "handler" else (method,)
                self.append(HttpRoute(path, names[method], name, methods, middlewares))
                name = None
                needed = False
        if "socket" in names:
            self.append(SocketRoute(path, names["socket"], name, middlewares))
            needed = False
        if needed:
            raise ValueError(
                "no handler is here: define get, post, ..., handler or socket, or begin the "
                "file's name with an underscore"
            )


def _modules(
    package: ModuleType, path: str, name: str
) -> Iterator[tuple[ModuleType, str, str, bool]]:
    """Yield each module, its path, the name of its route, and True if it must have handlers."""
    yield package, path, name.removesuffix("."), False
    for info in sorted(iter_modules(package.__path__), key=lambda info: info.name):
        parameter = _parameter.fullmatch(info.name)
        if info.name.startswith("_") and parameter is None:
            continue
        full_name = f"{package.__name__}.{info.name}"
        try:
            module = import_module(full_name)
        except Exception as exc:
            spec = find_spec(full_name)
            where = full_name if spec is None else spec.origin
            raise ImportError(f"{where} could not be imported: {exc!r}") from exc
        if parameter is None:
            below = f"{path}/{info.name}"
        elif parameter[2] is None:
            below = f"{path}/{{{parameter[1]}}}"
        else:
            below = f"{path}/{{{parameter[1]}:{parameter[2]}}}"
        own_name = name + (info.name if parameter is None else parameter[1])
        if info.ispkg:
            yield from _modules(module, below, f"{own_name}.")
        elif info.name == "index":
            yield module, f"{path}/", own_name, True
        else:
            yield module, below, own_name, True
