"""Notice that a source file of the program has changed, by looking at all imported modules twice a second."""

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
    """Watches the files of all imported modules, and that of `module` even if it is not imported.

    The folders of packages in the current directory are watched, too: `FileRoutes` imports a module that is written
    into one. A file is compared with its state when it was first seen.
    """

    def __init__(self, module: str) -> None:
        self.changed = False
        self._more: set[str] = set()
        self._here = importable_here()
        self._seen: dict[str, object] = {self._here: _state(self._here)}
        # For a module in a package only the package is found, because finding more would import it.
        found = importlib.util.find_spec(module.partition(".")[0])
        if found is not None and found.origin is not None:
            self._more.add(found.origin)
        self._look()

    def add(self, error: BaseException) -> None:
        """Also watch the files that `error` names, because a module that cannot be imported is in no list.

        After an ImportError also watch their folders and the current one, where the missing module may be written.
        """
        files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
        self._more.update(files)
        if isinstance(error, ImportError):
            self._more.update([self._here, *map(os.path.dirname, files)])
        if isinstance(error, SyntaxError) and error.filename:
            self._more.add(error.filename)

    @contextmanager
    def watching(self, on_change: Callable[[], None]) -> Iterator[None]:
        """Watch in a thread during the block; call `on_change()` in that thread once a file has changed."""
        self._look()  # a change is one from now on, and not from the first look of the thread on
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
                folder, name = os.path.split(path)
                if name == "__init__.py" and folder.startswith(self._here):
                    paths.add(folder)
        for path in paths:
            try:
                state = _state(path)
            except (OSError, ValueError):
                continue  # no file, or missing for a moment: editors write a new file and rename it
            if self._seen.setdefault(path, state) != state:
                self.changed = True
        return self.changed


def _state(path: str) -> object:
    """Return what changes with a file: its time; or with a folder: the names of its modules and packages."""
    if not os.path.isdir(path):
        return os.stat(path).st_mtime
    with os.scandir(path) as entries:
        return {entry.name for entry in entries if entry.name.endswith(".py") or _is_package(entry)}


def _is_package(entry: os.DirEntry[str]) -> bool:
    """Return True for a folder with a module in it."""
    if not entry.name.isidentifier() or not entry.is_dir():
        return False
    return any(name.endswith(".py") for name in os.listdir(entry))
