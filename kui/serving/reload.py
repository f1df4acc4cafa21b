"""Notice that a source file has changed: the files of what is imported, looked at twice a second."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from .importing import importable_here

__all__ = ["Watcher"]

EVERY: Final = 0.5
"""Seconds between two looks."""


class Watcher:
    """Looks at the files of all imported modules, and at that of `module`, imported or not.

    A file counts as it was when it was first seen.
    """

    def __init__(self, module: str) -> None:
        self.changed = False
        self._more: set[str] = set()
        self._seen: dict[str, float] = {}
        importable_here()
        # Of a module in a package only the package is known: to find more would import it
        found = importlib.util.find_spec(module.partition(".")[0])
        if found is not None and found.origin is not None:
            self._more.add(found.origin)
        self._look()

    def add(self, error: BaseException) -> None:
        """Look also at the files that `error` names: what cannot be imported is in no list."""
        frames = traceback.extract_tb(error.__traceback__)
        self._more.update(frame.filename for frame in frames)
        if isinstance(error, SyntaxError) and error.filename:
            self._more.add(error.filename)

    @contextmanager
    def watching(self, on_change: Callable[[], None]) -> Iterator[None]:
        """Look from a thread during the block; call `on_change()` there once a file has changed."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(EVERY):
                if self._look():
                    on_change()
                    return

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wait(self) -> None:
        """Return when a file has changed."""
        while not self._look():
            time.sleep(EVERY)

    def _look(self) -> bool:
        paths = set(self._more)
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str):
                paths.add(path)
        for path in paths:
            try:
                modified = os.stat(path).st_mtime
            except (OSError, ValueError):
                continue  # no file, or gone for the moment: editors write anew and rename
            if self._seen.setdefault(path, modified) != modified:
                self.changed = True
        return self.changed
