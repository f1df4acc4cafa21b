"""Find other installed distributions that also have a package `kui`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Final

__all__ = ["NAME", "other_distributions"]

NAME: Final = "kui-anyio"
"""The name of the distribution; the package that is imported is `kui`."""


def other_distributions() -> Iterator[str]:
    """Yield a sentence for each other installed distribution that has files in the package `kui`.

    Two such distributions overwrite each other's modules, so that neither may work.

    Example: `list(other_distributions())` is empty if there is no conflict.
    """
    for name in sorted(set(metadata.packages_distributions().get("kui", ()))):
        if name.lower() not in (NAME, NAME.replace("-", "_")):
            version = metadata.version(name)
            yield (
                f"the distribution {name} {version} is another package that is imported as kui;"
                f" uninstall it, and install {NAME} anew: pip uninstall {name}"
            )
