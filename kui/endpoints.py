"""What routes, middlewares and dependencies hand on to one another: an endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

__all__ = ["Endpoint"]

Endpoint: TypeAlias = Callable[[], Awaitable[Any]]
"""An async function without arguments that returns what the handler of the current request returns."""
