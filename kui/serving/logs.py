"""Set up logging for `kui run`: records from INFO on go to stderr, or to where a configuration sends them.

docs/guides/logging.md lists the loggers and their levels.
"""

from __future__ import annotations

import json
import logging
import logging.config
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from .binding import CannotServe

__all__ = ["LogConfig", "set_up_logging"]

LogConfig: TypeAlias = str | Path | Mapping[str, Any] | None

FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"


def set_up_logging(config: LogConfig = None) -> None:
    """Configure logging.

    :param config: a dictionary for `logging.config`, or a file that holds one. By default records from INFO on are
        printed to stderr, unless the program configures logging itself: this is a handler of last resort, and
        `logging.basicConfig` still works.
    :raises CannotServe: the file cannot be read, or `logging.config` refuses the dictionary.
    """
    if config is not None:
        _configure(config)
        return
    root = logging.getLogger()
    ours = logging.getLogger("kui")
    if ours.level == logging.NOTSET:
        ours.setLevel(logging.INFO)
    if not root.handlers and root.level == logging.WARNING:  # the program has not configured it
        root.setLevel(logging.INFO)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.lastResort = handler


def _configure(config: str | Path | Mapping[str, Any]) -> None:
    name = "log_config" if isinstance(config, Mapping) else f"the log configuration {config}"
    try:
        # By default existing loggers, such as those of Kui and of the app's modules, would be disabled.
        found = {"disable_existing_loggers": False, **_loaded(config)}
        logging.config.dictConfig(found)
    except OSError as error:
        raise CannotServe(f"{name} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise CannotServe(f"{name} is wrong: {error}{cause}") from error


def _loaded(config: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(config, Mapping):
        return config
    path = Path(config)
    text = path.read_text(encoding="utf-8")
    try:
        found: Any = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"write JSON, or TOML in a file *.toml: {error}") from None
    if not isinstance(found, dict):
        raise TypeError("it holds no dictionary")
    return found
