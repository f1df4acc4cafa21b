"""Import names of a module when they are first used (PEP 562).

So `import kui.asgi` does not load what most applications do not use: the first form loads `forms.collector`. For the
same reason some functions of modules that are always loaded import what only they need: the first WebSocket loads its
session. Type checkers read the imports below `if TYPE_CHECKING:`, and `on_demand` is called in its `else:`; a test
compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, TypeAlias

__all__ = ["on_demand"]

Hooks: TypeAlias = tuple[Callable[[str], Any], Callable[[], list[str]]]
"""A module's `__getattr__` and `__dir__`."""


def on_demand(module: str, homes: Mapping[str, Iterable[str]]) -> Hooks:
    """Return the `__getattr__` and the `__dir__` of a module that offers names of other modules.

    :param module: the name of the module, `__name__`.
    :param homes: a mapping from a module, as in `from .module import name`, to the names that it defines.

    Example::

        if TYPE_CHECKING:
            from .file import FileResponse
        else:
            __getattr__, __dir__ = on_demand(__name__, {".file": ["FileResponse"]})
    """
    namespace = vars(sys.modules[module])
    home_of = {name: home for home, names in homes.items() for name in names}

    def load(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home = import_module(home_of[name], namespace["__package__"])
        namespace[name] = getattr(home, name)
        return namespace[name]

    return load, lambda: sorted({*namespace, *home_of})
