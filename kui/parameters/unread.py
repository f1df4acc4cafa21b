"""Warn of parameters that look like a part of the request, and are never read from it.

A parameter with a default, no marker and no path that names it keeps its default: the function is called without it.
Other frameworks would read such a parameter from the query.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from kui.argument_checks import describe

from .planning import identity
from .plans import Plan

__all__ = ["told_of_unread"]

logger = logging.getLogger("kui.error")


def told_of_unread(declared: Callable[[], Iterable[Plan]]) -> list[Plan]:
    """Return the plans of all handlers, and log a warning for each such parameter that no path of its handler names."""
    plans = list(declared())
    paths: Counter[Any] = Counter()
    unread: Counter[tuple[Any, str, str]] = Counter()
    for plan in plans:
        key = identity(plan.handler)
        paths[key] += 1
        unread.update((key, describe(plan.handler), name) for name in plan.unread)
    for (key, handler, name), count in unread.items():
        if count == paths[key]:
            logger.warning(
                "%s: %r always has its default, because no path names it; if it is of the query, "
                "write Annotated[..., Query()] before the default",
                handler,
                name,
            )
    return plans
