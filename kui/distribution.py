"""The distributions that are installed beside this one and claim the name `kui`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Final

__all__ = ["NAME", "other_distributions"]

NAME: Final = "kui-anyio"
"""The name of the distribution; the package that is imported is `kui`."""


def other_distributions() -> Iterator[str]:
    """Yield a sentence for every other installed distribution that has files in the package `kui`.

    Two of them overwrite each other's modules, and none of them works for sure.

    Example: `list(other_distributions())` is empty where all is well.
    """
    for name in sorted(set(metadata.packages_distributions().get("kui", ()))):
        if name.lower() not in (NAME, NAME.replace("-", "_")):
            version = metadata.version(name)
            yield (
                f"the distribution {name} {version} is another package that is imported as kui;"
                f" uninstall it, and install {NAME} anew: pip uninstall {name}"
            )
